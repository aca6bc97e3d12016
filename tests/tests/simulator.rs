//! The simulator from outside: the real process, its sockets, its data directory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail the test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_mins(1);
const PROLOG: &str = "<?xml version='1.0' encoding='utf-8'?>";
const DESK: &str = "Front desk 1";

struct Simulator {
    child: Child,
    stdin: Option<ChildStdin>,
    addresses: Value,
}

impl Simulator {
    fn start(data: &Path, flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lockbridge-sim"))
            .args(["salto-space", "--data"])
            .arg(data)
            .args(["--exit-with-stdin", "--non-standard"])
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        let (sender, ready) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).unwrap();
            sender.send(line)
        });
        let line = ready.recv_timeout(DEADLINE).expect("the ready line");
        Self { child, stdin, addresses: serde_json::from_str(&line).unwrap() }
    }

    fn connect(&self, port: &str) -> TcpStream {
        let address: SocketAddr = self.addresses[port].as_str().unwrap().parse().unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// One request on a connection of its own; the body of the answer.
    fn ask(&self, name: &str, params: &str) -> String {
        let mut stream = self.connect("stp");
        stream.write_all(&frame(name, params)).unwrap();
        read_body(&mut stream).expect("an answer")
    }

    fn control(&self, verb: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "{verb} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = http(self.connect("control"), head.as_bytes());
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap_or_else(|_| panic!("{verb} {path}: {answer}"))
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.control("POST", path, body)
    }

    fn get(&self, path: &str) -> Value {
        self.control("GET", path, &Value::Null)
    }

    fn count(&self, kind: &str) -> u64 {
        self.get("/effects")["by_kind"][kind].as_u64().unwrap_or(0)
    }

    fn put_card(&self) -> String {
        self.post("/encoders/put", &json!({ "encoder": DESK }))["serial"].as_str().unwrap().to_owned()
    }

    fn opens(&self, serial: &str, door: &str) -> bool {
        self.post("/doors/present", &json!({ "serial": serial, "door": door }))["opened"].as_bool().unwrap()
    }

    fn wait_until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !holds(self) {
            assert!(Instant::now() < end, "{what} did not come");
            std::thread::yield_now();
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn frame(name: &str, params: &str) -> Vec<u8> {
    let body = format!("<RequestCall><RequestName>{name}</RequestName><Params>{params}</Params></RequestCall>");
    format!("STP/00/{}/{body}", body.len()).into_bytes()
}

/// The body of one answer; `None` when the connection ends before the answer does.
fn read_body(stream: &mut TcpStream) -> Option<String> {
    let mut header = Vec::new();
    let mut slashes = 0;
    while slashes < 3 {
        let mut byte = [0];
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return None;
        }
        slashes += u8::from(byte[0] == b'/');
        header.push(byte[0]);
    }
    let header = String::from_utf8(header).unwrap();
    let length = header.split('/').nth(2).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(String::from_utf8(body).unwrap())
}

fn http(mut stream: TcpStream, request: &[u8]) -> String {
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    // A cut connection ends the text early, which is what some tests look for.
    match stream.read_to_end(&mut answer) {
        Ok(_) | Err(_) => String::from_utf8_lossy(&answer).into_owned(),
    }
}

fn refused(code: u16) -> String {
    format!("<Code>{code}</Code>")
}

fn make_ann(simulator: &Simulator, doors: &[&str]) {
    let item = |door: &&str| {
        ["<SaltoDB.AccessPermission.User_Door><ExtDoorID>", door, "</ExtDoorID></SaltoDB.AccessPermission.User_Door>"]
            .concat()
    };
    let doors = doors.iter().map(item).collect::<Vec<_>>().concat();
    let params = format!(
        "<SaltoDBUser><ExtUserID>ann</ExtUserID><FirstName>Ann</FirstName><LastName>Lee</LastName>\
         <SaltoDB.AccessPermissionList.User_Door>{doors}</SaltoDB.AccessPermissionList.User_Door></SaltoDBUser>"
    );
    let answer = simulator.ask("SaltoDBUser.InsertOrUpdate", &params);
    assert!(answer.ends_with("<Params><ExtUserID>ann</ExtUserID></Params></RequestResponse>"), "{answer}");
}

fn job(kind: &str, encoder: &str) -> (String, String) {
    let params = format!("<ExtUserID>ann</ExtUserID><EncoderID>{encoder}</EncoderID>");
    (format!("Encoder.SaltoDBUser.{kind}"), params)
}

fn encode(simulator: &Simulator, kind: &str) -> String {
    let (name, params) = job(kind, DESK);
    simulator.ask(&name, &params)
}

fn status(simulator: &Simulator) -> String {
    let params = "<MaxCount>1</MaxCount><StartingFromExtUserID>ann</StartingFromExtUserID>";
    let answer = simulator.ask("SaltoDBUserList.Read", params);
    let (_, rest) = answer.split_once("<CurrentKeyStatus>").unwrap();
    rest.split_once('<').unwrap().0.to_owned()
}

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
fn a_card_is_encoded_opens_its_door_and_follows_a_change_only_when_encoded_again() {
    let data = TempDir::new().unwrap();
    let simulator = Simulator::start(data.path(), &["--card-wait", "300"]);
    make_ann(&simulator, &["ROOM101"]);
    assert!(encode(&simulator, "AssignNewKey").contains(&refused(403)));
    assert!(encode(&simulator, "UpdateCurrentKey").contains(&refused(300)));
    let serial = simulator.put_card();
    let answer = encode(&simulator, "AssignNewKey");
    let expected = format!("<Params><ExtUserID>ann</ExtUserID><ROMCode>{serial}</ROMCode></Params></RequestResponse>");
    assert!(answer.ends_with(&expected), "{answer}");
    assert!(encode(&simulator, "AssignNewKey").contains(&refused(305)));
    assert!(simulator.opens(&serial, "Room 101") && !simulator.opens(&serial, "Room 102"));

    make_ann(&simulator, &["ROOM102"]);
    assert_eq!(status(&simulator), "3");
    assert!(simulator.opens(&serial, "Room 101") && !simulator.opens(&serial, "Room 102"));
    assert!(encode(&simulator, "UpdateCurrentKey").contains(&serial));
    assert!(!simulator.opens(&serial, "Room 101") && simulator.opens(&serial, "Room 102"));

    simulator.post("/encoders/lift", &json!({ "encoder": DESK }));
    simulator.put_card();
    assert!(encode(&simulator, "UpdateCurrentKey").contains(&refused(302)), "another card");
    let (name, params) = job("UpdateCurrentKey", "Nowhere");
    assert!(simulator.ask(&name, &params).contains(&refused(400)));
    simulator.post("/encoders/plug", &json!({ "encoder": DESK, "plugged": false }));
    assert!(encode(&simulator, "UpdateCurrentKey").contains(&refused(401)));
    let read = simulator.ask("Encoder.ReadKey", "<EncoderID>Front desk 2</EncoderID><ReturnROMCode>1</ReturnROMCode>");
    assert!(read.contains(&refused(403)), "{read}");
    assert_eq!((simulator.count("card_written"), simulator.count("card_updated")), (1, 1));
    assert_eq!(simulator.count("door_opened_by_card"), 3);
}

#[test]
fn one_job_per_encoder_and_a_card_that_is_lifted_is_spoilt() {
    let data = TempDir::new().unwrap();
    let simulator = Simulator::start(data.path(), &["--write-time", "60000"]);
    make_ann(&simulator, &["ROOM101"]);
    let (name, params) = job("AssignNewKey", DESK);
    let mut waiting = simulator.connect("stp");
    waiting.write_all(&frame(&name, &params)).unwrap();
    let busy = |simulator: &Simulator| simulator.get("/state")["encoders"][0]["busy"] == true;
    simulator.wait_until("the job", busy);
    assert!(simulator.ask("Encoder.ReadKey", "<EncoderID>Front desk 1</EncoderID>").contains(&refused(402)));
    let serial = simulator.put_card();
    // The record is taken while the card is written.
    let ban = "<SaltoDBUser><ExtUserID>ann</ExtUserID><IsBanned>1</IsBanned></SaltoDBUser>";
    simulator.wait_until("the write", |simulator| simulator.ask("SaltoDBUser.Update", ban).contains(&refused(201)));
    simulator.post("/encoders/lift", &json!({ "encoder": DESK }));
    assert!(read_body(&mut waiting).unwrap().contains(&refused(404)));
    assert_eq!(simulator.get(&format!("/cards/{serial}"))["state"], "partial");
    assert_eq!((simulator.count("card_partly_written"), simulator.count("card_written")), (1, 0));
    assert_eq!(status(&simulator), "0");
}

#[test]
fn a_restart_cuts_a_write_off_and_answers_nobody() {
    let data = TempDir::new().unwrap();
    let simulator = Simulator::start(data.path(), &["--write-time", "60000"]);
    make_ann(&simulator, &["ROOM101"]);
    let serial = simulator.put_card();
    let (name, params) = job("AssignNewKey", DESK);
    let mut writing = simulator.connect("stp");
    writing.write_all(&frame(&name, &params)).unwrap();
    let ban = "<SaltoDBUser><ExtUserID>ann</ExtUserID><IsBanned>1</IsBanned></SaltoDBUser>";
    simulator.wait_until("the write", |simulator| simulator.ask("SaltoDBUser.Update", ban).contains(&refused(201)));
    simulator.post("/restart", &json!({ "away_milliseconds": 1 }));
    assert_eq!(read_body(&mut writing), None);
    simulator.wait_until("the end of the job", |simulator| simulator.get("/state")["encoders"][0]["busy"] == false);
    assert_eq!(simulator.get(&format!("/cards/{serial}"))["state"], "partial");
    assert_eq!((simulator.count("card_partly_written"), simulator.count("card_written")), (1, 0));
}

#[test]
fn faults_hit_as_often_as_asked_for() {
    let data = TempDir::new().unwrap();
    let simulator = Simulator::start(data.path(), &[]);
    make_ann(&simulator, &["ROOM101"]);
    let fault = |value: Value| simulator.post("/faults", &value);
    let raw = |name: &str| {
        let mut stream = simulator.connect("stp");
        stream.write_all(&frame(name, "")).unwrap();
        read_body(&mut stream)
    };
    fault(json!({ "kind": "refuse", "code": 201, "request": "GetInfo", "times": 2 }));
    assert!(simulator.ask("SaltoDBDoorList.Read", "<MaxCount>1</MaxCount>").contains("SaltoDBDoor>"));
    assert!(raw("GetInfo").unwrap().contains(&refused(201)) && raw("GetInfo").unwrap().contains(&refused(201)));
    assert!(raw("GetInfo").unwrap().contains("SHIP"));
    fault(json!({ "kind": "garbage" }));
    assert!(raw("GetInfo").unwrap().contains("not an answer"));
    for kind in ["half_answer", "close_before_answer"] {
        fault(json!({ "kind": kind }));
        assert_eq!(raw("GetInfo"), None, "{kind}");
    }
    fault(json!({ "kind": "delay", "milliseconds": 300 }));
    let begun = Instant::now();
    raw("GetInfo").unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(300));

    // Done, and not answered.
    simulator.put_card();
    fault(json!({ "kind": "perform_then_close", "request": "Encoder.SaltoDBUser.AssignNewKey" }));
    let mut stream = simulator.connect("stp");
    let (name, params) = job("AssignNewKey", DESK);
    stream.write_all(&frame(&name, &params)).unwrap();
    assert_eq!(read_body(&mut stream), None);
    assert_eq!(simulator.count("card_written"), 1);
    assert_eq!(status(&simulator), "1");

    // Never answered, until the server is restarted.
    fault(json!({ "kind": "never_answer", "request": "GetInfo" }));
    let mut silent = simulator.connect("stp");
    silent.write_all(&frame("GetInfo", "")).unwrap();
    simulator.wait_until("the fault", |simulator| simulator.get("/faults")["faults"] == json!([]));
    simulator.post("/restart", &json!({ "away_milliseconds": 0 }));
    assert_eq!(read_body(&mut silent), None);
    simulator.wait_until("the new life", |simulator| {
        let address: SocketAddr = simulator.addresses["stp"].as_str().unwrap().parse().unwrap();
        // A connection in the queue of the old life is dropped; only an answer proves the new one.
        TcpStream::connect(address)
            .is_ok_and(|mut stream| stream.write_all(&frame("GetInfo", "")).is_ok() && read_body(&mut stream).is_some())
    });
    assert!(raw("GetInfo").unwrap().contains("SHIP"));
    simulator.post("/licence", &json!({ "ship": false }));
    assert!(raw("GetInfo").unwrap().contains(&refused(13)));
}

#[test]
fn encoder_faults_touch_nobody_else() {
    let data = TempDir::new().unwrap();
    let simulator = Simulator::start(data.path(), &["--card-wait", "200"]);
    make_ann(&simulator, &["ROOM101"]);
    simulator.post("/encoders/auto-feed", &json!({ "encoder": DESK, "on": true }));
    for (kind, code) in [
        ("encoder_busy", 402),
        ("encoder_unplugged", 401),
        ("no_card", 403),
        ("wrong_blank", 302),
        ("card_lifted", 404),
    ] {
        simulator.post("/faults", &json!({ "kind": kind, "encoder": DESK }));
        let answer = encode(&simulator, "AssignNewKey");
        assert!(answer.contains(&refused(code)), "{kind}: {answer}");
    }
    assert_eq!((simulator.count("card_partly_written"), simulator.count("card_written")), (1, 0));
    assert!(encode(&simulator, "AssignNewKey").contains("ROMCode"));
    make_ann(&simulator, &["ROOM102"]);
    assert!(encode(&simulator, "UpdateCurrentKey").contains("ROMCode"), "the attendant brings the present card");
    assert_eq!(simulator.get("/state")["encoders"][0]["card"], Value::Null);
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill() {
    let data = TempDir::new().unwrap();
    let mut simulator = Simulator::start(data.path(), &[]);
    make_ann(&simulator, &["ROOM101"]);
    let serial = simulator.put_card();
    assert!(encode(&simulator, "AssignNewKey").contains("ROMCode"));
    let door = "<ExtDoorIDList><ExtDoorID>MAIN</ExtDoorID></ExtDoorIDList>";
    for round in 1..=3_u64 {
        assert!(simulator.ask("OnlineDoor.Open", door).contains("<ErrorCode>0</ErrorCode>"));
        let note = format!("<SaltoDBUser><ExtUserID>ann</ExtUserID><GPF1>{round}</GPF1></SaltoDBUser>");
        assert!(simulator.ask("SaltoDBUser.Update", &note).contains("<Params>"));
        let cards = simulator.get("/cards");
        drop(simulator);
        let log = std::fs::read_to_string(data.path().join("effects.jsonl")).unwrap();
        let numbers: Vec<u64> =
            log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["number"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (1..=round + 1).collect::<Vec<_>>());
        simulator = Simulator::start(data.path(), &[]);
        assert_eq!(simulator.get("/cards"), cards);
        assert_eq!(simulator.get("/users/ann")["fields"]["GPF1"], round.to_string());
        assert_eq!(simulator.count("door_opened"), round);
        let effects = simulator.get("/effects");
        assert_eq!(effects["by_card"][&serial]["card_written"], 1);
        assert_eq!(effects["by_user"]["ann"]["card_written"], 1);
    }
    assert_eq!(status(&simulator), "1");
    assert!(simulator.opens(&serial, "ROOM101"));
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

#[test]
fn the_process_ends_with_its_parent_and_on_request() {
    let data = TempDir::new().unwrap();
    let mut simulator = Simulator::start(data.path(), &[]);
    drop(simulator.stdin.take());
    assert!(simulator.child.wait().unwrap().success());
    let mut simulator = Simulator::start(data.path(), &[]);
    simulator.post("/shutdown", &Value::Null);
    assert!(simulator.child.wait().unwrap().success());
}
