//! What goes over the wires, byte for byte: SHIP over TCP and over HTTP, to whom it is spoken, and the event stream.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::server::{DEADLINE, PROLOG, Simulator, frame, http, read_body};

#[test]
fn frames_are_those_of_a_real_server_byte_for_byte() {
    let data = TempDir::new().unwrap();
    let simulator = Simulator::start(data.path(), &[]);
    let mut stream = simulator.connect("stp");
    let request = b"STP/00/108/<?xml version=\"1.0\" encoding=\"UTF-8\"?><RequestCall><RequestName>GetInfo</RequestName><Params/></RequestCall>";
    stream.write_all(request).unwrap();
    let mut answer = vec![0; 280];
    stream.read_exact(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (before, rest) = answer.split_once("<DateTime>").unwrap();
    let (time, after) = rest.split_once("</DateTime>").unwrap();
    assert_eq!(
        before,
        format!(
            "STP/00/269/{PROLOG}<RequestResponse><RequestName>GetInfo</RequestName><Params><ProtocolID>SHIP</ProtocolID><ProtocolVersion>1.0</ProtocolVersion>"
        )
    );
    assert_eq!(after, "<DefaultLanguage>eng</DefaultLanguage></Params></RequestResponse>");
    let local: jiff::civil::DateTime = time.parse().unwrap();
    let zone = jiff::tz::TimeZone::get("Europe/Madrid").unwrap();
    let instant = zone.to_timestamp(local).unwrap();
    assert!((jiff::Timestamp::now().as_second() - instant.as_second()).abs() < 60, "{time}");

    // The same connection, the other version, an unknown request.
    let body = "<RequestCall><RequestName> TransferMoney </RequestName><Params/></RequestCall>";
    stream.write_all(format!("STP/01/{}/{body}", body.len()).as_bytes()).unwrap();
    let expected = format!(
        "STP/01/186/{PROLOG}<RequestResponse><RequestName>TransferMoney</RequestName><Exception><Code>502</Code><Message>Unknown request</Message></Exception></RequestResponse>"
    );
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), expected);

    stream.write_all(b"STP/00/5/HELLO").unwrap();
    let answer = read_body(&mut stream).unwrap();
    assert!(
        answer.starts_with(&format!("{PROLOG}<RequestResponse><RequestName/><Exception><Code>500</Code>")),
        "{answer}"
    );
    stream.write_all(b"STX/00/5/HELLO").unwrap();
    assert_eq!(read_body(&mut stream), None);
}

#[test]
fn http_wants_the_login_and_speaks_bare_xml() {
    let data = TempDir::new().unwrap();
    let login = data.path().join("login");
    std::fs::write(&login, "basic bridge:letters and blanks\n").unwrap();
    let directory = data.path().join("site");
    let simulator = Simulator::start(&directory, &["--http-login-file", login.to_str().unwrap()]);
    let body = "<RequestCall><RequestName>GetInfo</RequestName><Params/></RequestCall>";
    let post = |authorization: &str, content_type: &str| {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {content_type}\r\n{authorization}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        http(simulator.connect("http"), request.as_bytes())
    };
    let ship = "application/vnd.saltosystems.ship.v1+xml";
    assert!(post("", ship).starts_with("HTTP/1.1 401 "));
    assert!(post("Authorization: Basic bm9ib2R5OndydW5n\r\n", ship).starts_with("HTTP/1.1 401 "));
    let right = format!("Authorization: Basic {}\r\n", data_encoding::BASE64.encode(b"bridge:letters and blanks"));
    assert!(post(&right, "text/xml").starts_with("HTTP/1.1 415 "));
    let answer = post(&right, ship);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.split_once("\r\n\r\n").unwrap().1.starts_with(PROLOG), "{answer}");
    simulator.post("/faults", &json!({ "kind": "half_answer" }));
    assert!(!post(&right, ship).contains("</RequestResponse>"));
    simulator.post("/faults", &json!({ "kind": "close_before_answer" }));
    assert_eq!(post(&right, ship), "");
}

#[test]
fn a_stranger_is_cut_off() {
    let data = TempDir::new().unwrap();
    let simulator = Simulator::start(data.path(), &["--allow", "192.0.2.7"]);
    let mut stream = simulator.connect("stp");
    // The write may or may not be refused, depending on how fast the server closes; an answer must not come.
    if stream.write_all(&frame("GetInfo", "")).is_ok() {
        assert_eq!(read_body(&mut stream), None);
    }
}

#[test]
fn events_are_streamed_as_json_arrays() {
    let data = TempDir::new().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(DEADLINE)).unwrap();
    let target = format!("udp:{}", udp.local_addr().unwrap());
    let simulator = Simulator::start(data.path(), &["--events", &target]);
    let door = "<ExtDoorIDList><ExtDoorID>MAIN</ExtDoorID></ExtDoorIDList>";
    simulator.ask("OnlineDoor.Open", door);
    let mut datagram = vec![0; 65_535];
    let length = udp.recv(&mut datagram).unwrap();
    let events: Value = serde_json::from_slice(&datagram[..length]).unwrap();
    assert_eq!(events[0]["OperationID"], 28);
    assert_eq!(events[0]["DoorName"], "Main entrance");
    assert_eq!(events[0]["EventID"], "95000001");

    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    simulator.post("/stream", &json!({ "to": format!("tcp:{}", tcp.local_addr().unwrap()) }));
    simulator.ask("OnlineDoor.Open", door);
    let (stream, _) = tcp.accept().unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut values = serde_json::Deserializer::from_reader(stream).into_iter::<Value>();
    assert_eq!(values.next().unwrap().unwrap()[0]["EventID"], "95000002");
}
