//! Audit trails read over the line.

use jiff::ToSpan as _;
use jiff::civil::DateTime;
use lockbridge_protocol::proto::tunnel::AccessEvent;
use lockbridge_protocol::salto_pms::audit::{AuditCard, AuditRecord, Incident};
use lockbridge_protocol::salto_pms::request::AuditStep;

use super::*;

const DOORS: &str =
    "audit_doors = [\"102\", { name = \"Entrance\", entrance = \"MAIN\" }]\naudit_every_s = 5\nhold_s = 0\n";

fn record(door: &str, at: DateTime, room: &str) -> Answer {
    Answer::Audit(Box::new(AuditRecord {
        door: door.into(),
        month_day: Some((at.month(), at.day())),
        time: Some(at.time()),
        incident: Incident::Opened,
        is_exit: Some(false),
        card: AuditCard::Guest(room.into()),
        copy: "#0".into(),
        user: String::new(),
        extra: vec![],
    }))
}

fn end() -> Play {
    Play::Answer(Answer::AuditEnd)
}

fn steps(asked: &[Request]) -> Vec<String> {
    let step = |request: &Request| match request {
        Request::Audit { door, .. } => format!("{} {door}", request.command()),
        other => other.command().to_owned(),
    };
    asked.iter().map(step).collect()
}

/// Reads from this cursor until the line's script is over: what came, and the last cursor.
async fn read(
    adapter: &Arc<SaltoPms>,
    cursor: String,
    server: JoinHandle<(Vec<Request>, DuplexStream)>,
) -> (Vec<AccessEvent>, String, Vec<String>) {
    let (sender, mut pieces) = mpsc::channel(64);
    let reading = tokio::spawn({
        let adapter = Arc::clone(adapter);
        async move { adapter.events(cursor, sender).await }
    });
    let (asked, line) = server.await.expect("no panic");
    // The answer that ended the script is on its way.
    sleep(Duration::from_millis(100)).await;
    let (mut events, mut cursor) = (Vec::new(), String::new());
    while let Ok(piece) = pieces.try_recv() {
        let Intake::Events { events: some, cursor: newer } = piece else { panic!("events") };
        events.extend(some);
        cursor = newer;
    }
    reading.abort();
    drop(line);
    (events, cursor, steps(&asked))
}

#[tokio::test(start_paused = true)]
async fn each_door_is_read_to_its_end_and_told_once() {
    let (adapter, plug) = adapter(configured(DOORS));
    let now = adapter.words().local(jiff::Timestamp::now().as_millisecond());
    let old = record("102", now.checked_sub(3.hours()).expect("in range"), "101");
    let (first, second) = (record("102", now, "101"), record("Entrance", now, "102"));
    let all = |more: Vec<Play>| {
        let mut script = vec![Play::Answer(old.clone()), Play::Answer(first.clone())];
        script.extend(more);
        script.extend([end(), Play::Answer(second.clone()), end()]);
        script
    };
    let server = serve(&plug, all(vec![]));
    let (events, cursor, asked) = read(&adapter, String::new(), server).await;
    assert_eq!(asked, ["WF 102", "WN 102", "WN 102", "WF Entrance", "WN Entrance"]);
    let doors: Vec<_> = events.iter().map(|event| event.entrance_external_id.as_str()).collect();
    assert_eq!(doors, ["ROOM102", "MAIN"], "the past is not told");
    // Read anew, after a restart, from the first record on: only what is new.
    let server = serve(&plug, all(vec![Play::Answer(record("102", now, "staff room"))]));
    let (events, later, _) = read(&adapter, cursor.clone(), server).await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_ne!(later, cursor);
}

#[tokio::test(start_paused = true)]
async fn a_date_is_read_in_the_order_of_the_server() {
    let (adapter, plug) = adapter(configured(&format!("{DOORS}date_order = \"month_day\"\n")));
    let now = adapter.words().local(jiff::Timestamp::now().as_millisecond());
    let Answer::Audit(mut record) = record("102", now, "101") else { panic!("a record") };
    // The script writes the day first.
    record.month_day = Some((now.day(), now.month()));
    let server = serve(&plug, vec![Play::Answer(Answer::Audit(record)), end(), end()]);
    let (events, ..) = read(&adapter, String::new(), server).await;
    let expected = now.to_zoned(adapter.zone.clone()).expect("a moment").timestamp().as_millisecond();
    assert_eq!(events.iter().map(|event| event.occurred_at_ms).collect::<Vec<_>>(), [expected]);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_door_stops_no_other() {
    let (adapter, plug) = adapter(configured(DOORS));
    let server = serve(&plug, vec![no("WE"), end(), no("WE"), end()]);
    let (events, _, asked) = read(&adapter, String::new(), server).await;
    assert_eq!(asked, ["WF 102", "WF Entrance", "WF 102", "WF Entrance"]);
    assert_eq!(events, Vec::<AccessEvent>::new());
}

#[tokio::test(start_paused = true)]
async fn the_front_desk_goes_before_the_next_record() {
    let (adapter, plug) = adapter(configured(DOORS));
    let now = adapter.words().local(jiff::Timestamp::now().as_millisecond());
    let slow = Play::Slow(Duration::from_secs(2), record("102", now, "101"));
    let server = serve(&plug, vec![slow, done(), done(), end(), end()]);
    let (sender, pieces) = mpsc::channel(64);
    let reading = tokio::spawn({
        let adapter = Arc::clone(&adapter);
        async move { adapter.events(String::new(), sender).await }
    });
    sleep(Duration::from_millis(500)).await;
    let ask = |encoder: &'static str| {
        let adapter = Arc::clone(&adapter);
        tokio::spawn(async move { adapter.perform(encode(KeyKind::New, encoder), LONG).await })
    };
    let (first, second) = (ask("1"), ask("Bar"));
    for key in [first, second] {
        key.await.expect("no panic").expect("written");
    }
    let (asked, _line) = server.await.expect("no panic");
    assert_eq!(steps(&asked), ["WF 102", "CN", "CN", "WN 102", "WF Entrance"]);
    drop(pieces);
    reading.await.expect("no panic").expect("an end, because nobody listens");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_ends_the_reading_and_what_was_read_is_kept() {
    let (adapter, plug) = adapter(configured(DOORS));
    let now = adapter.words().local(jiff::Timestamp::now().as_millisecond());
    let server = serve(&plug, vec![Play::Answer(record("102", now, "101")), Play::Silence]);
    let (sender, mut pieces) = mpsc::channel(64);
    let error = adapter.events(String::new(), sender).await.expect_err("silence");
    assert_eq!((error.effect, error.retry), (Effect::None, Retry::Later));
    let mut told = 0;
    while let Some(Intake::Events { events, .. }) = pieces.recv().await {
        told += events.len();
    }
    assert_eq!(told, 1);
    server.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn without_doors_nothing_is_asked() {
    let (adapter, _plug) = adapter(configured(""));
    let (sender, pieces) = mpsc::channel(1);
    let reading = tokio::spawn({
        let adapter = Arc::clone(&adapter);
        async move { adapter.events(String::new(), sender).await }
    });
    sleep(Duration::from_secs(600)).await;
    assert!(!reading.is_finished() && adapter.line().expect("a line").sent_bytes == 0);
    drop(pieces);
    reading.await.expect("no panic").expect("an end");
    let step = Request::Audit { step: AuditStep::First, door: "102".into() };
    assert_eq!(step.encoder(), None);
}
