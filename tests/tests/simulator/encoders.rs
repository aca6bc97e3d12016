//! Cards on encoders: written once, spoilt when lifted or cut off, and refused one at a time.

use std::io::Write;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::server::{DESK, Simulator, encode, frame, job, make_ann, read_body, refused, status};

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
