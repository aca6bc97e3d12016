//! The adapter against a scripted key service on a stream in memory.

use std::sync::Mutex as StdMutex;

use lockbridge_protocol::line::CodePage;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;
use crate::config::{EncoderConfig, KeyOption, KeyRoom};
use crate::link::{Endpoint, Line, LineError};
use crate::system::{Effect, KeyKind, Window};

pub(super) fn config() -> FiasConfig {
    let room = |name: &str| KeyRoom { name: name.into(), entrance: format!("D{name}"), display_name: name.into() };
    let option =
        |position, name: &str| KeyOption { position, entrance: name.to_owned(), display_name: name.to_owned() };
    FiasConfig {
        endpoint: Endpoint::Dial { host: "192.0.2.1".into(), port: 5003 },
        acknowledges: false,
        checksum: false,
        code_page: CodePage::Cp1252,
        rooms: vec![room("101"), room("102")],
        options: vec![option(2, "POOL"), option(3, "GYM")],
        encoders: ["1", "2"].map(|name| EncoderConfig { name: name.into(), display_name: name.into() }).to_vec(),
        workstation: "LOCKBRIDGE".into(),
        answer_timeout: Duration::from_secs(50),
        hold: Duration::from_secs(60),
        acknowledge_timeout: Duration::from_secs(3),
        settle: Duration::from_millis(300),
        silence: Duration::from_secs(1),
        trust_encoder_errors: false,
        check_out: true,
        early_keys: false,
        on_line: false,
        link_key: None,
    }
}

pub(super) fn zone() -> TimeZone {
    TimeZone::get("Europe/Madrid").expect("a zone")
}

/// Gives out streams that the test made.
struct Streams(mpsc::Receiver<DuplexStream>, Arc<Statistics>);

impl Source for Streams {
    async fn open(&mut self) -> Result<Line, LineError> {
        match self.0.recv().await {
            Some(stream) => Ok(Line::over(stream, "a test", Limits::default(), Arc::clone(&self.1))),
            None => std::future::pending().await,
        }
    }
}

struct Bench {
    adapter: Arc<Fias>,
    streams: mpsc::Sender<DuplexStream>,
}

/// The vendor's end.
struct Peer(DuplexStream, StdMutex<Vec<u8>>);

impl Peer {
    async fn say(&mut self, record: &str) {
        self.0.write_all(format!("\x02{record}\x03").as_bytes()).await.expect("written");
    }

    /// The next record.
    async fn hear(&mut self) -> String {
        loop {
            {
                let mut read = self.1.lock().expect("no panic");
                if let Some(end) = read.iter().position(|byte| *byte == 3) {
                    let frame: Vec<u8> = read.drain(..=end).collect();
                    return String::from_utf8_lossy(&frame[1..frame.len() - 1]).into_owned();
                }
            }
            let mut buffer = [0; 512];
            let count = tokio::time::timeout(Duration::from_secs(300), self.0.read(&mut buffer));
            let count = count.await.expect("in time").expect("readable");
            assert!(count > 0, "the adapter closed the line");
            self.1.lock().expect("no panic").extend_from_slice(&buffer[..count]);
        }
    }

    async fn introduce(&mut self) {
        assert!(self.hear().await.starts_with("LS|"));
        for record in [
            "LD|DA261122|TI090001|V#2.0|IFDL|",
            "LR|RIKR|FLKCKTRNWSG#GAGDDTKOSIDATI|",
            "LR|RIKD|FLKCRNWSDATI|",
            "LR|RIKZ|FLKCWSRNASCTGDDT|",
            "LA|DA261122|TI090002|",
        ] {
            self.say(record).await;
        }
        assert!(self.hear().await.starts_with("LA|"));
    }
}

impl Bench {
    fn new(config: FiasConfig) -> Self {
        let system = LockSystemConfig {
            name: "hotel".into(),
            display_name: "Hotel".into(),
            time_zone_name: "Europe/Madrid".into(),
            time_zone: zone(),
            connections: 1,
            call_timeout: Duration::from_secs(15),
            encode_timeout: Duration::from_secs(60),
            card_removal: Duration::from_secs(3),
            probe_interval: Duration::from_secs(15),
            inventory_interval: Duration::from_secs(900),
            kind: crate::config::LockSystemKind::Fias(config.clone()),
        };
        let adapter = Arc::new(Fias::new(&system, config));
        let (streams, given) = mpsc::channel(4);
        let jobs = adapter.start(Streams(given, Arc::clone(&adapter.statistics)));
        adapter.jobs.set(jobs).expect("not begun yet");
        Self { adapter, streams }
    }

    async fn connect(&self) -> Peer {
        let (ours, theirs) = tokio::io::duplex(4096);
        self.streams.send(ours).await.expect("the owner runs");
        Peer(theirs, StdMutex::default())
    }

    async fn alive(&self) -> Peer {
        let mut peer = self.connect().await;
        peer.introduce().await;
        let probe = self.adapter.probe().await.expect("alive");
        assert_eq!(probe.version, "DL 2.0");
        peer
    }

    fn encode(&self, encoder: &str, kind: KeyKind) -> tokio::task::JoinHandle<Result<Performed, OperationError>> {
        let key = KeyTarget {
            kind,
            rooms: vec!["D101".into()],
            areas: vec![],
            window: Some(Window { starts_at_ms: 1_795_345_200_000, ends_at_ms: Some(1_795_431_600_000) }),
            stay: "R1".into(),
            mark: "AAAAAAAB".into(),
        };
        let operation = Operation::Encode { user_id: "u".into(), encoder: encoder.into(), key };
        let adapter = Arc::clone(&self.adapter);
        tokio::spawn(async move { adapter.perform(operation, Duration::from_secs(60)).await })
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_made_read_and_ended() {
    let bench = Bench::new(config());
    assert_eq!(bench.adapter.probe().await.expect_err("nobody is there").code, "bridge_disconnected");
    let mut peer = bench.alive().await;
    let first = bench.encode("1", KeyKind::New);
    let request = peer.hear().await;
    assert!(request.starts_with("KR|KC1|WSLOCKBRIDGE|RN101|KTN|G#1|GA261122|GD261123|DT12:00|KO 00|"), "{request}");
    // Another encoder does not wait for the first, and a padded number is the same encoder.
    let second = bench.encode("2", KeyKind::Copy);
    assert!(peer.hear().await.contains("|KTD|"));
    peer.say("KA|WSLOCKBRIDGE|KC02|ASOK|G#1|CTdone|").await;
    assert_eq!(second.await.expect("no panic").expect("written").detail, "the encoder wrote a duplicate");
    assert!(!first.is_finished());
    peer.say("KA|WSLOCKBRIDGE|KC1|ASOK|G#1|$2030FE159|").await;
    let done = first.await.expect("no panic").expect("written");
    assert_eq!((done.card_number.as_str(), done.key_valid_until_ms), ("030FE159", Some(1_795_431_600_000)));

    let adapter = Arc::clone(&bench.adapter);
    let read = Operation::ReadCard { encoder: "1".into() };
    let read = tokio::spawn(async move { adapter.perform(read, Duration::from_secs(60)).await });
    assert!(peer.hear().await.starts_with("KZ|KC1|WSLOCKBRIDGE|"));
    peer.say("KZ|KC1|WSLOCKBRIDGE|RN101|GD261123|DT12:00|ASOK|CTread|").await;
    let card = read.await.expect("no panic").expect("read").card_on_encoder.expect("a card");
    assert_eq!((card.entrance_external_ids, card.ends_at_ms), (vec!["D101".to_owned()], 1_795_431_600_000));

    let adapter = Arc::clone(&bench.adapter);
    let end = Operation::CheckOut { room: "D101".into(), stay: "R1".into() };
    let end = tokio::spawn(async move { adapter.perform(end, Duration::from_secs(15)).await });
    assert!(peer.hear().await.starts_with("KD|KC1|WSLOCKBRIDGE|RN101|"));
    peer.say("KA|WSLOCKBRIDGE|KC1|ASDE|CTgone before|").await;
    end.await.expect("no panic").expect("what was asked for is so");
}

#[tokio::test(start_paused = true)]
async fn silence_is_doubt_and_a_late_answer_is_nobody_else_s() {
    let bench = Bench::new(config());
    let mut peer = bench.alive().await;
    let lost = bench.encode("1", KeyKind::New);
    peer.hear().await;
    let error = lost.await.expect("no panic").expect_err("nobody answered");
    assert_eq!((error.code, error.effect), ("encoder_communication_timeout", Effect::Unknown));

    // The encoder is held: the late answer must not be taken for that of the next request.
    let next = bench.encode("1", KeyKind::Copy);
    sleep(Duration::from_secs(2)).await;
    peer.say("KA|WSLOCKBRIDGE|KC1|ASOK|CTlate|").await;
    let request = peer.hear().await;
    assert!(request.contains("|KTD|"), "{request}");
    peer.say("KA|WSLOCKBRIDGE|KC1|ASUR|CTno such room|").await;
    let error = next.await.expect("no panic").expect_err("refused");
    assert_eq!(
        (error.vendor_code.as_str(), error.vendor_text.as_str(), error.effect),
        ("UR", "no such room", Effect::None)
    );
}

#[tokio::test(start_paused = true)]
async fn a_line_that_breaks_leaves_doubt_and_repeats_nothing() {
    let bench = Bench::new(config());
    let mut peer = bench.alive().await;
    let lost = bench.encode("1", KeyKind::New);
    peer.hear().await;
    drop(peer);
    assert_eq!(lost.await.expect("no panic").expect_err("lost").effect, Effect::Unknown);
    let early = bench.encode("2", KeyKind::New).await.expect("no panic").expect_err("nobody is there");
    assert_eq!((early.code, early.effect), ("bridge_disconnected", Effect::None));

    let mut peer = bench.alive().await;
    let other = bench.encode("2", KeyKind::New);
    assert!(peer.hear().await.starts_with("KR|KC2|"), "the lost request is not said again");
    // The key service begins the link anew in the middle: what is open is unknown.
    peer.say("LD|DA261122|TI090001|V#2.0|IFDL|").await;
    assert_eq!(other.await.expect("no panic").expect_err("unknown").effect, Effect::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_busy_encoder_is_asked_again_and_one_that_fails_is_in_doubt_unless_the_site_vouches_for_it() {
    for trusted in [false, true] {
        let bench = Bench::new(FiasConfig { trust_encoder_errors: trusted, ..config() });
        let mut peer = bench.alive().await;
        let key = bench.encode("1", KeyKind::New);
        peer.hear().await;
        peer.say("KA|WSLOCKBRIDGE|KC1|ASBY|CTbusy|").await;
        peer.hear().await;
        peer.say("KA|WSLOCKBRIDGE|KC1|ASRY|CTno card|").await;
        let error = key.await.expect("no panic").expect_err("refused");
        let expected = if trusted { Effect::None } else { Effect::Unknown };
        assert_eq!((error.code, error.effect), ("no_credential_on_encoder", expected));
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_key_service_does_not_take_is_not_sent() {
    let bench = Bench::new(config());
    let mut peer = bench.connect().await;
    assert!(peer.hear().await.starts_with("LS|"));
    for record in ["LD|V#2.0|IFDL|", "LR|RIKD|FLKCRNWS|", "LA|"] {
        peer.say(record).await;
    }
    assert!(peer.hear().await.starts_with("LA|"));
    bench.adapter.probe().await.expect("alive");
    let error = bench.encode("1", KeyKind::New).await.expect("no panic").expect_err("not taken");
    assert_eq!((error.code, error.effect, error.retry), ("invalid_input", Effect::None, Retry::Never));
}

#[tokio::test(start_paused = true)]
async fn an_on_line_key_service_changes_and_ends_the_keys_of_one_stay() {
    let bench = Bench::new(FiasConfig { on_line: true, ..config() });
    let keys = bench.adapter.description().keys.clone().expect("keys");
    assert!(keys.changes_stays && keys.rooms_on_key == 1);
    let mut peer = bench.connect().await;
    assert!(peer.hear().await.starts_with("LS|"));
    for record in
        ["LD|V#2.0|IFDL|", "LR|RIKR|FLKCKTRNWSG#GAGDDT|", "LR|RIKM|FLG#KCRNWSGDDT|", "LR|RIKD|FLKCRNWSG#|", "LA|"]
    {
        peer.say(record).await;
    }
    assert!(peer.hear().await.starts_with("LA|"));
    let key = bench.encode("1", KeyKind::New);
    let request = peer.hear().await;
    let number = request.split("|G#").nth(1).and_then(|rest| rest.split('|').next()).expect("a number").to_owned();
    peer.say(&format!("KA|WSLOCKBRIDGE|KC1|ASOK|G#{number}|CTdone|")).await;
    key.await.expect("no panic").expect("written");

    let ask = |operation: Operation| {
        let adapter = Arc::clone(&bench.adapter);
        tokio::spawn(async move { adapter.perform(operation, Duration::from_secs(15)).await })
    };
    let change = || Operation::ChangeStay { room: "D101".into(), stay: "R1".into(), ends_at_ms: 1_795_604_400_000 };
    assert_eq!(bench.adapter.effect_class(&change()), EffectClass::Repeatable);
    let changed = ask(change());
    assert_eq!(peer.hear().await, format!("KM|KC1|WSLOCKBRIDGE|RN101|G#{number}|GD261125|DT12:00|"));
    peer.say(&format!("KA|WSLOCKBRIDGE|KC1|ASOK|G#{number}|CTdone|")).await;
    changed.await.expect("no panic").expect("changed");

    let unknown = ask(change());
    peer.hear().await;
    peer.say(&format!("KA|WSLOCKBRIDGE|KC1|ASNG|G#{number}|CTno such guest|")).await;
    let error = unknown.await.expect("no panic").expect_err("not known there");
    assert_eq!((error.code, error.effect, error.retry), ("grant_not_found", Effect::None, Retry::Never));

    // No answer: it may have been carried out, and asking again for the same end is safe.
    let lost = ask(change());
    peer.hear().await;
    assert_eq!(lost.await.expect("no panic").expect_err("nobody answered").effect, Effect::Unknown);
    sleep(Duration::from_secs(120)).await;

    let end = ask(Operation::CheckOut { room: "D101".into(), stay: "R1".into() });
    assert_eq!(peer.hear().await, format!("KD|KC1|WSLOCKBRIDGE|RN101|G#{number}|"));
    peer.say(&format!("KA|WSLOCKBRIDGE|KC1|ASOK|G#{number}|CTdone|")).await;
    end.await.expect("no panic").expect("ended");
}

#[tokio::test(start_paused = true)]
async fn others_are_asked_for_no_change() {
    let bench = Bench::new(config());
    assert!(!bench.adapter.description().keys.as_ref().expect("keys").changes_stays);
    let mut peer = bench.alive().await;
    let change = Operation::ChangeStay { room: "D101".into(), stay: "R1".into(), ends_at_ms: 1_795_604_400_000 };
    let error = bench.adapter.perform(change, Duration::from_secs(15)).await.expect_err("not supported");
    assert_eq!((error.code, error.effect), ("not_supported", Effect::None));
    // Nothing was sent: the next record is that of another request.
    let _key = bench.encode("1", KeyKind::New);
    assert!(peer.hear().await.starts_with("KR|"));
}
