//! The adapter over lines in memory, against the protocol's own server.

mod phones;
mod trails;

use std::collections::VecDeque;
use std::path::Path;

use lockbridge_protocol::line::Checksum;
use lockbridge_protocol::proto::tunnel::inventory_item::Kind;
use lockbridge_protocol::salto_pms::answer::Refusal;
use lockbridge_protocol::salto_pms::audit::DateOrder;
use lockbridge_protocol::salto_pms::card::{CardRead, CopyNumber, GuestCard};
use lockbridge_protocol::salto_pms::request::{KeyKind as PmsKind, Received};
use lockbridge_protocol::salto_pms::server::{Server, ServerAction};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinHandle;

use super::*;
use crate::config::{LockSystemKind, load};
use crate::link::{Limits, Line, LineError};
use crate::system::{Effect, KeyKind, Window};

/// 22 Nov 2026 15:00:42 in Vienna.
const START: i64 = 1_795_356_042_000;
const HOUR: i64 = 3_600_000;
const MARK: &str = "ABCD2345";
const LONG: Duration = Duration::from_secs(60);

const CONFIG: &str = r#"
[lock_system.hotel]
kind = "salto_pms"
time_zone = "Europe/Vienna"
host = "192.0.2.20"
port = 8090
rooms = ["101", { name = "102", entrance = "ROOM102", display_name = "Suite" }]
authorisations = [{ number = 1, name = "Gym" }, { number = 10, name = "Garage", entrance = "GARAGE" }]
encoders = ["1", "Bar"]
"#;

fn configured(more: &str) -> SaltoPmsConfig {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bridge.toml");
    std::fs::write(&file, format!("{CONFIG}{more}")).expect("written");
    let config = load(Path::new(&file)).expect("holds").config;
    let [system] = config.lock_systems.as_slice() else { panic!("one system") };
    let LockSystemKind::SaltoPms(pms) = &system.kind else { panic!("PMS") };
    pms.clone()
}

/// Gives the lines that it is handed, one after the other.
struct Lines(mpsc::Receiver<DuplexStream>, Arc<Statistics>);

impl Source for Lines {
    async fn open(&mut self) -> Result<Line, LineError> {
        match self.0.recv().await {
            Some(stream) => Ok(Line::over(stream, "the test", Limits::default(), Arc::clone(&self.1))),
            None => std::future::pending().await,
        }
    }
}

/// The adapter, and where its lines come from.
fn adapter(config: SaltoPmsConfig) -> (Arc<SaltoPms>, mpsc::Sender<DuplexStream>) {
    let site = Site {
        lock_system: "hotel".into(),
        display_name: "Hotel".into(),
        time_zone_name: "Europe/Vienna".into(),
        time_zone: TimeZone::get("Europe/Vienna").expect("a zone"),
        call_timeout: Duration::from_secs(15),
    };
    let adapter = Arc::new(SaltoPms::new(site, config));
    let (plug, lines) = mpsc::channel(4);
    let jobs = adapter.start(Lines(lines, Arc::clone(&adapter.statistics)));
    adapter.jobs.set(jobs).expect("not started yet");
    (adapter, plug)
}

/// What the server does with the next request.
enum Play {
    Answer(Answer),
    /// After a pause.
    Slow(Duration, Answer),
    /// Takes it up and falls silent.
    Silence,
    /// Takes it up and ends the line.
    Hangup,
}

fn done() -> Play {
    Play::Answer(Answer::Done { about: String::new(), more: vec![] })
}

fn no(code: &str) -> Play {
    Play::Answer(refusal(code))
}

fn refusal(code: &str) -> Answer {
    Answer::Refused(Refusal { code: code.into(), known: None, about: "1".into(), text: String::new() })
}

/// Serves one line by a script and gives back what was asked. Ends with the script, leaving the line open.
fn serve(plug: &mpsc::Sender<DuplexStream>, script: Vec<Play>) -> JoinHandle<(Vec<Request>, DuplexStream)> {
    let (ours, theirs) = tokio::io::duplex(4096);
    plug.try_send(ours).expect("room");
    tokio::spawn(play(theirs, script.into()))
}

async fn play(mut line: DuplexStream, mut script: VecDeque<Play>) -> (Vec<Request>, DuplexStream) {
    let mut server = Server::new(Checksum::CheckedUnlessMarked);
    let mut asked = Vec::new();
    let mut buffer = [0; 512];
    while !script.is_empty() {
        let count = line.read(&mut buffer).await.expect("open");
        let mut bytes = &buffer[..count];
        loop {
            let message = match server.read(&mut bytes) {
                None => break,
                Some(ServerAction::Control(control)) => {
                    line.write_all(&[control.byte()]).await.expect("open");
                    continue;
                }
                Some(ServerAction::Repeat(frame)) => {
                    let frame = frame.to_vec();
                    line.write_all(&frame).await.expect("open");
                    continue;
                }
                Some(ServerAction::Message(body)) => body.to_vec(),
            };
            let request = Received::read(Message::read(&message)).expect("a request").request;
            let acknowledged = server.accept().expect("offered");
            line.write_all(&[acknowledged.byte()]).await.expect("open");
            asked.push(request.clone());
            let answer = match script.pop_front() {
                Some(Play::Answer(answer)) => answer,
                Some(Play::Slow(pause, answer)) => {
                    sleep(pause).await;
                    answer
                }
                Some(Play::Hangup) => return (asked, tokio::io::duplex(1).0),
                Some(Play::Silence) | None => continue,
            };
            let body = answer.write(&request, DateOrder::default()).expect("fits");
            let frame = server.answer(&body).expect("fits").to_vec();
            line.write_all(&frame).await.expect("open");
        }
    }
    (asked, line)
}

fn key(kind: KeyKind) -> KeyTarget {
    KeyTarget {
        kind,
        rooms: vec!["101".into(), "ROOM102".into()],
        areas: vec!["Gym".into(), "GARAGE".into()],
        window: Some(Window { starts_at_ms: START, ends_at_ms: Some(START + 68 * HOUR) }),
        stay: String::new(),
        mark: MARK.into(),
    }
}

fn encode(kind: KeyKind, encoder: &str) -> Operation {
    Operation::Encode { user_id: "u".into(), encoder: encoder.into(), key: key(kind) }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_asked_for_with_all_that_is_to_be_on_it() {
    let (adapter, plug) = adapter(configured(""));
    let server = serve(&plug, vec![done(), done()]);
    let performed = adapter.perform(encode(KeyKind::New, "1"), LONG).await.expect("written");
    assert_eq!(performed.key_valid_until_ms, Some(START + 68 * HOUR - 42_000), "whole minutes downwards");
    adapter.perform(encode(KeyKind::Copy, "Bar"), LONG).await.expect("written");
    let (asked, _line) = server.await.expect("no panic");
    let keys: Vec<_> = asked
        .iter()
        .map(|request| match request {
            Request::Card(card) => card.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((keys[0].kind, keys[0].encoder.as_str()), (PmsKind::CheckIn, "1"));
    assert_eq!((keys[1].kind, keys[1].encoder.as_str()), (PmsKind::Copy, "Bar"));
    let stay = &keys[0].stay;
    assert_eq!((stay.room.as_str(), stay.more_rooms.as_slice()), ("101", ["102".to_owned()].as_slice()));
    assert_eq!(stay.granted.numbers().collect::<Vec<_>>(), [1, 10]);
    assert_eq!(stay.start.map(|at| at.to_string()).as_deref(), Some("2026-11-22T15:00:00"));
    assert_eq!(stay.end.map(|at| at.to_string()).as_deref(), Some("2026-11-25T11:00:00"));
    assert_eq!(stay.operator, format!("LOCKBRIDGE {MARK}"));
}

#[tokio::test(start_paused = true)]
async fn a_card_that_is_read_tells_which_request_wrote_it() {
    let (adapter, plug) = adapter(configured(""));
    let words = adapter.words();
    let guest = GuestCard {
        room: "102".into(),
        checked_in: Some(true),
        copy: Some(CopyNumber::Original),
        granted: lockbridge_protocol::salto_pms::authorisation::Authorisations::from_numbers([10]).expect("a number"),
        start: Some(words.local(START)),
        end: Some(words.local(START + HOUR)),
        operator: format!("LOCKBRIDGE {MARK}"),
        ..GuestCard::default()
    };
    let by_hand = GuestCard { operator: "LOCKBRIDGE ABCD234".into(), ..guest.clone() };
    let read = |card| Play::Answer(Answer::Card { about: "1".into(), card });
    let script =
        vec![read(CardRead::Guest(Box::new(guest))), read(CardRead::Guest(Box::new(by_hand))), read(CardRead::Staff)];
    let server = serve(&plug, script);
    let scan = || adapter.perform(Operation::ReadCard { encoder: "1".into() }, LONG);
    let seen = scan().await.expect("read");
    let card = seen.card_on_encoder.expect("a card");
    assert_eq!(card.entrance_external_ids, ["ROOM102", "GARAGE"]);
    assert_eq!((card.key_class.as_str(), card.ends_at_ms), ("guest", START + HOUR - 42_000));
    let key = seen.key_seen.expect("a key");
    assert_eq!((key.mark.as_str(), key.is_original, key.is_current), (MARK, Some(true), Some(true)));
    assert_eq!(scan().await.expect("read").key_seen.expect("a key").mark, "", "no mark of ours");
    let staff = scan().await.expect("read");
    assert_eq!((staff.key_seen, staff.card_on_encoder.expect("a card").key_class.as_str()), (None, "staff"));
    server.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_busy_encoder_is_asked_again_and_no_other_error_is() {
    let (adapter, plug) = adapter(configured(""));
    let server = serve(&plug, vec![no("OV"), no("EO"), done(), no("ED"), no("EA")]);
    adapter.perform(encode(KeyKind::New, "1"), LONG).await.expect("written at last");
    let error = adapter.perform(encode(KeyKind::New, "1"), LONG).await.expect_err("no card");
    assert_eq!(
        (error.code, error.effect, error.vendor_code.as_str()),
        ("no_credential_on_encoder", Effect::None, "ED")
    );
    let error = adapter.perform(encode(KeyKind::Copy, "1"), LONG).await.expect_err("checked out");
    assert_eq!((error.code, error.retry), ("credential_cannot_be_reissued", Retry::Never));
    assert_eq!(server.await.expect("no panic").0.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_doubt_and_holds_the_line_against_a_mix_up() {
    let (adapter, plug) = adapter(configured(""));
    let server = serve(&plug, vec![Play::Silence]);
    let error = adapter.perform(encode(KeyKind::New, "1"), LONG).await.expect_err("silence");
    assert_eq!((error.code, error.effect), ("encoder_communication_timeout", Effect::Unknown));
    let (_, mut line) = server.await.expect("no panic");
    let error = adapter.perform(encode(KeyKind::New, "Bar"), LONG).await.expect_err("held");
    assert_eq!(error.effect, Effect::None);
    assert!(error.message.contains("earlier request is still missing"), "{error}");
    assert!(adapter.probe().await.is_ok(), "a held line is there");
    // The late answer frees the line and is nobody's answer.
    let late = Answer::Done { about: "1".into(), more: vec![] };
    let request = adapter.words().key(&key(KeyKind::New), "1").expect("words");
    let body = late.write(&request, DateOrder::default()).expect("fits");
    let frame = Server::new(Checksum::CheckedUnlessMarked).answer(&body).expect("fits").to_vec();
    line.write_all(&frame).await.expect("open");
    let next = tokio::spawn(play(line, vec![no("OS")].into()));
    let error = adapter.perform(encode(KeyKind::Copy, "Bar"), LONG).await.expect_err("its own answer");
    assert_eq!(error.vendor_code, "OS");
    assert_eq!(next.await.expect("no panic").0.len(), 1, "nothing was sent while the line was held");
}

#[tokio::test(start_paused = true)]
async fn a_line_that_ends_in_the_middle_is_doubt_and_the_next_one_is_used() {
    let (adapter, plug) = adapter(configured("late_answers_survive_reconnect = false\n"));
    let first = serve(&plug, vec![Play::Hangup]);
    let error = adapter.perform(encode(KeyKind::New, "1"), LONG).await.expect_err("cut");
    assert_eq!(error.effect, Effect::Unknown);
    first.await.expect("no panic");
    // While there is no line, nothing is sent, and that is certain.
    let error = adapter.perform(encode(KeyKind::New, "1"), LONG).await.expect_err("no line");
    assert_eq!((error.code, error.effect), ("bridge_disconnected", Effect::None));
    assert_eq!(adapter.probe().await.expect_err("no line").code, "bridge_disconnected");
    let second = serve(&plug, vec![done()]);
    adapter.perform(encode(KeyKind::New, "1"), LONG).await.expect("written");
    assert_eq!(second.await.expect("no panic").0.len(), 1, "the request of the first line is not repeated");
    assert_eq!(adapter.line().expect("a line").reconnects, 1);
}

#[tokio::test(start_paused = true)]
async fn requests_have_the_line_one_after_the_other_and_one_that_waits_too_long_never_begins() {
    let (adapter, plug) = adapter(configured(""));
    let slow = || Play::Slow(Duration::from_secs(12), Answer::Done { about: String::new(), more: vec![] });
    let server = serve(&plug, vec![slow(), slow()]);
    let ask = |encoder: &'static str| {
        let adapter = Arc::clone(&adapter);
        tokio::spawn(async move { adapter.perform(encode(KeyKind::New, encoder), LONG).await })
    };
    let first = ask("1");
    sleep(Duration::from_millis(10)).await;
    let second = ask("Bar");
    sleep(Duration::from_millis(10)).await;
    // The line is busy: it is there.
    assert!(adapter.probe().await.is_ok());
    let third = adapter.perform(encode(KeyKind::New, "third"), LONG).await.expect_err("its turn does not come");
    assert_eq!(third.effect, Effect::None);
    assert!(third.message.contains("other requests are on the line"), "{third}");
    first.await.expect("no panic").expect("written");
    second.await.expect("no panic").expect("written");
    assert_eq!(server.await.expect("no panic").0.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_away_takes_a_waiting_request_back() {
    let (adapter, plug) = adapter(configured(""));
    let slow = Play::Slow(Duration::from_secs(5), Answer::Done { about: String::new(), more: vec![] });
    let server = serve(&plug, vec![slow, done()]);
    let first = tokio::spawn({
        let adapter = Arc::clone(&adapter);
        async move { adapter.perform(encode(KeyKind::New, "1"), LONG).await }
    });
    sleep(Duration::from_millis(10)).await;
    drop(tokio::time::timeout(Duration::from_secs(1), adapter.perform(encode(KeyKind::New, "gone"), LONG)).await);
    first.await.expect("no panic").expect("written");
    adapter.perform(encode(KeyKind::Copy, "1"), LONG).await.expect("written");
    let encoders: Vec<_> =
        server.await.expect("no panic").0.iter().map(|request| request.encoder().map(str::to_owned)).collect();
    assert_eq!(encoders, [Some("1".to_owned()), Some("1".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn stays_are_checked_out_and_changed_by_room() {
    let (adapter, plug) = adapter(configured(""));
    let server = serve(&plug, vec![done(), no("EA"), done(), no("EA")]);
    let out = || adapter.perform(Operation::CheckOut { room: "ROOM102".into(), stay: "s".into() }, LONG);
    out().await.expect("checked out");
    out().await.expect("checked out already is checked out");
    let longer = || Operation::ChangeStay { room: "101".into(), stay: "s".into(), ends_at_ms: START + HOUR };
    adapter.perform(longer(), LONG).await.expect("changed");
    let error = adapter.perform(longer(), LONG).await.expect_err("no stay");
    assert_eq!((error.vendor_code.as_str(), error.effect), ("EA", Effect::None));
    let (asked, _line) = server.await.expect("no panic");
    assert_eq!(asked[0], Request::CheckOut { room: "102".into() });
    let Request::ModifyStay { room, end, .. } = &asked[2] else { panic!("{:?}", asked[2]) };
    assert_eq!((room.as_str(), end.map(|at| at.to_string()).as_deref()), ("101", Some("2026-11-22T16:00:00")));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_is_refused_before_anything_is_sent() {
    let (adapter, plug) = adapter(configured(""));
    let (_ours, theirs) = tokio::io::duplex(64);
    plug.try_send(theirs).expect("room");
    let strange = |change: &dyn Fn(&mut KeyTarget)| {
        let mut key = key(KeyKind::New);
        change(&mut key);
        Operation::Encode { user_id: "u".into(), encoder: "1".into(), key }
    };
    for (operation, named) in [
        (strange(&|key| key.rooms = vec!["999".into()]), "`999` is not a configured room"),
        (strange(&|key| key.areas = vec!["Pool".into()]), "`Pool` is not a configured authorisation"),
        (strange(&|key| key.window = None), "an end"),
        (strange(&|key| key.kind = KeyKind::Update), "new one or a copy"),
        (
            strange(&|key| {
                key.window = Some(Window { starts_at_ms: START, ends_at_ms: Some(START + 100 * 365 * 24 * HOUR) });
            }),
            "end is not valid",
        ),
        (Operation::Encode { user_id: "u".into(), encoder: "Pförtner".into(), key: key(KeyKind::New) }, "'ö'"),
        (Operation::CheckOut { room: "999".into(), stay: "s".into() }, "`999`"),
        (Operation::Unlock { entrance: "101".into() }, "opens no doors"),
    ] {
        let error = adapter.perform(operation, LONG).await.expect_err(named);
        assert_eq!((error.effect, error.retry), (Effect::None, Retry::Never), "{named}");
        assert!(error.message.contains(named), "{named}: {error}");
    }
    assert_eq!(adapter.line().expect("a line").sent_bytes, 0);
}

#[tokio::test]
async fn the_inventory_is_what_the_configuration_says() {
    let (adapter, _plug) = adapter(configured(""));
    let (sender, mut pieces) = mpsc::channel(4);
    adapter.scan(sender).await.expect("no line is needed");
    let Some(Intake::Observed(items)) = pieces.recv().await else { panic!("items") };
    let ids: Vec<&str> = items.iter().map(|item| item.external_id.as_str()).collect();
    assert_eq!(ids, ["101", "ROOM102", "Gym", "GARAGE", "1", "Bar"]);
    let rooms = items.iter().filter(|item| {
        matches!(&item.kind, Some(Kind::Entrance(seen)) if seen.can_belong_to_reservation && !seen.can_unlock_remotely)
    });
    assert_eq!(rooms.count(), 2);
    assert_eq!(pieces.recv().await, Some(Intake::ScanComplete));
    let keys = adapter.description().keys.clone().expect("keys");
    assert!(keys.rooms.contains("ROOM102") && keys.areas.contains("GARAGE") && !adapter.description().keeps_people);
}
