//! Faults that were asked for, kills, and the end of the process.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::server::{DESK, Simulator, encode, frame, job, make_ann, read_body, refused, status};

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
fn the_process_ends_with_its_parent_and_on_request() {
    let data = TempDir::new().unwrap();
    let mut simulator = Simulator::start(data.path(), &[]);
    drop(simulator.stdin.take());
    assert!(simulator.child.wait().unwrap().success());
    let mut simulator = Simulator::start(data.path(), &[]);
    simulator.post("/shutdown", &Value::Null);
    assert!(simulator.child.wait().unwrap().success());
}
