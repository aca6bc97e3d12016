//! One connection with hostile, slow and forgetful property software, on a stream in memory; the engine is the test.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::config::FrontDeskConfig;
use crate::dispatch::{
    DeskAnswers, DeskOrderRequest, DeskWish, Done, EngineHandle, EngineRequest, OutboxReader, TunnelFeed,
};
use crate::front_desk::introduction;
use crate::front_desk::request::tests::{NOW, config};
use crate::health::Health;
use crate::limits::DESK_RECORDS_PER_SECOND;
use crate::link::{Limits, Statistics};

const DONE: DeskAnswer = DeskAnswer::Done(Done::AsAsked);
const REQUEST: &str = "KR|WS3|KC1|RN0101|KTN|G#11122|GA261122|GD261124|";

/// Runs with the paused time of the test.
#[derive(Debug)]
struct Running(Instant);

impl Clock for Running {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millisecond(NOW).expect("a time") + self.0.elapsed()
    }

    fn since_boot(&self) -> Duration {
        Duration::from_secs(3600) + self.0.elapsed()
    }
}

#[derive(Debug)]
struct NoOutbox;

impl OutboxReader for NoOutbox {
    fn read(&self, _from: u64, _count: usize, _bytes: usize) -> Vec<(u64, Vec<u8>)> {
        Vec::new()
    }
}

/// A desk whose engine is the test.
struct Bench {
    desk: FrontDesk,
    orders: mpsc::Receiver<EngineRequest>,
    memory: Memory,
}

/// A connection that is being worked on.
struct Open {
    peer: Peer,
    stop: CancellationToken,
    work: JoinHandle<(End, Memory)>,
}

/// The property software's end.
struct Peer {
    stream: DuplexStream,
    read: Vec<u8>,
}

/// An order as the engine gets it.
struct Order {
    order: DeskOrderRequest,
    answers: DeskAnswers,
}

fn desk_config() -> FrontDeskConfig {
    FrontDeskConfig { spacing: Duration::from_millis(1), ..config() }
}

impl Bench {
    fn new(config: FrontDeskConfig) -> Self {
        let (requests, orders) = mpsc::channel(4);
        let engine = EngineHandle::new(requests, watch::channel(TunnelFeed::default()).1, Arc::new(NoOutbox));
        let health = Health::new(Arc::new(ManualClock::at(NOW)));
        let desk = FrontDesk::new(config, engine, Arc::new(Running(Instant::now())), health);
        Self { desk, orders, memory: Memory::default() }
    }

    /// Gives the connection to a session. Nothing was said yet.
    fn connect(&mut self) -> Open {
        let (ours, stream) = tokio::io::duplex(64 * 1024);
        let (desk, stop) = (self.desk.clone(), CancellationToken::new());
        let (mut memory, stopped) = (std::mem::take(&mut self.memory), stop.clone());
        let work = tokio::spawn(async move {
            let statistics = Statistics::new("test");
            let line = Line::over(ours, "a test", Limits::default(), Arc::clone(&statistics));
            let mut others = Opener::new(desk.config.endpoint.clone(), Limits::default(), statistics);
            let away = sleep(Duration::from_secs(30));
            tokio::pin!(away);
            let settings = introduction::settings(&desk.config, None);
            let end = Session::new(&desk, settings, &mut memory).run(line, &mut others, &mut away, &stopped).await;
            memory.link_lost(desk.clock.since_boot());
            (end, memory)
        });
        Open { peer: Peer { stream, read: Vec::new() }, stop, work }
    }

    async fn alive(&mut self) -> Open {
        let mut open = self.connect();
        open.peer.start().await;
        open
    }

    /// The next order.
    async fn order(&mut self) -> Order {
        let asked = timeout(Duration::from_secs(60), self.orders.recv()).await.expect("in time");
        match asked.expect("the session lives") {
            EngineRequest::FrontDesk { order, answers } => Order { order: *order, answers },
            other => panic!("{other:?}"),
        }
    }

    /// Whether nothing is asked of the engine for ten seconds.
    async fn is_quiet(&mut self) -> bool {
        timeout(Duration::from_secs(10), self.orders.recv()).await.is_err()
    }

    /// What has come of the connection; the next one remembers it.
    async fn ended(&mut self, open: Open) -> End {
        drop(open.peer);
        let (end, memory) = timeout(Duration::from_secs(60), open.work).await.expect("in time").expect("no panic");
        self.memory = memory;
        end
    }
}

impl Peer {
    async fn write(&mut self, bytes: &[u8]) {
        timeout(Duration::from_secs(600), self.stream.write_all(bytes)).await.expect("in time").expect("written");
    }

    async fn say(&mut self, record: &str) {
        self.write(format!("\x02{record}\x03").as_bytes()).await;
    }

    /// The next record.
    async fn hear(&mut self) -> String {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == 3) {
                let frame: Vec<u8> = self.read.drain(..=end).collect();
                return String::from_utf8_lossy(&frame[1..frame.len() - 1]).into_owned();
            }
            let mut buffer = [0; 512];
            let read = timeout(Duration::from_secs(600), self.stream.read(&mut buffer));
            let count = read.await.expect("in time").expect("readable");
            assert!(count > 0, "the session closed the line");
            self.read.extend_from_slice(&buffer[..count]);
        }
    }

    /// Whether nothing is said for ten seconds.
    async fn is_quiet(&mut self) -> bool {
        timeout(Duration::from_secs(10), self.hear()).await.is_err()
    }

    /// The introduction, until the link is alive.
    async fn start(&mut self) {
        self.say("LS|DA261122|TI100000|").await;
        assert!(self.hear().await.starts_with("LD|"));
        while !self.hear().await.starts_with("LA|") {}
        self.say("LA|DA261122|TI100001|").await;
    }
}

#[tokio::test(start_paused = true)]
async fn data_before_the_link_is_alive_is_no_order() {
    let mut bench = Bench::new(desk_config());
    let mut open = bench.connect();
    open.peer.say(REQUEST).await;
    open.peer.say("LS|DA261122|TI100000|").await;
    assert!(open.peer.hear().await.starts_with("LD|"));
    open.peer.say(REQUEST).await;
    while !open.peer.hear().await.starts_with("LA|") {}
    open.peer.say("LA|DA261122|TI100001|").await;
    assert!(bench.is_quiet().await, "neither of the two came on a link that was alive");
    open.peer.say(REQUEST).await;
    let asked = bench.order().await;
    assert!(matches!(asked.order.wish, DeskWish::Key { duplicate: false, .. }));
    asked.answers.tell(DONE);
    assert!(open.peer.hear().await.starts_with("KA|KC1|WS3|ASOK|G#11122|"));
}

#[tokio::test(start_paused = true)]
async fn half_a_record_is_nothing_and_the_next_one_is_whole() {
    let mut bench = Bench::new(desk_config());
    let mut open = bench.alive().await;
    open.peer.write(b"\x02KR|WS3|KC1|RN9").await;
    assert!(bench.is_quiet().await);
    open.peer.write(b"\x03garbage\x02\x02\x03\x02K\x03\x02").await;
    for piece in format!("{REQUEST}\x03\x02KR|WS").into_bytes().chunks(3) {
        open.peer.write(piece).await;
        sleep(Duration::from_millis(200)).await;
    }
    // The end of the half one made it a record of its own, without what a key needs.
    let refused = open.peer.hear().await;
    assert!(refused.starts_with("KA|KC1|WS3|ASUR|") && refused.contains("CTField KT is missing"), "{refused}");
    bench.order().await.answers.tell(DONE);
    assert!(open.peer.hear().await.contains("|ASOK|"));
    assert!(bench.is_quiet().await, "one order");
}

#[tokio::test(start_paused = true)]
async fn a_record_without_end_is_given_up_and_the_line_goes_on() {
    let mut bench = Bench::new(desk_config());
    let mut open = bench.alive().await;
    open.peer.write(&[&b"\x02KR|WS"[..], &vec![b'A'; 300_000], b"\x03"].concat()).await;
    open.peer.say(REQUEST).await;
    bench.order().await.answers.tell(DONE);
    assert!(open.peer.hear().await.contains("|ASOK|"));
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_read_no_faster_than_allowed_and_holds_up_neither_answers_nor_the_end() {
    let mut bench = Bench::new(desk_config());
    let mut open = bench.alive().await;
    open.peer.say(REQUEST).await;
    let first = bench.order().await;
    let begin = Instant::now();
    // A thousand records in one piece, a key request behind them.
    let flood = [b"\x02GI|\x03".repeat(5 * DESK_RECORDS_PER_SECOND as usize), b"\x02KZ|WS9|KC2|\x03".to_vec()].concat();
    open.peer.write(&flood).await;
    sleep(Duration::from_millis(100)).await;
    first.answers.tell(DONE);
    assert!(open.peer.hear().await.contains("|ASOK|"));
    assert!(begin.elapsed() < Duration::from_millis(500), "an answer waits for no flood: {:?}", begin.elapsed());
    let read = bench.order().await;
    let took = begin.elapsed();
    assert_eq!(read.order.wish, DeskWish::Read);
    assert!((Duration::from_secs(4)..Duration::from_secs(8)).contains(&took), "{took:?}");

    open.peer.write(&flood).await;
    sleep(Duration::from_millis(100)).await;
    let begin = Instant::now();
    open.stop.cancel();
    while !open.peer.hear().await.starts_with("LE|") {}
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    let end = bench.ended(open).await;
    assert!(matches!(end, End::Stopped | End::Lost(_)), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn more_orders_than_allowed_are_told_that_all_is_busy() {
    let mut bench = Bench::new(desk_config());
    let mut open = bench.alive().await;
    let mut asked = Vec::new();
    for number in 0..=DESK_PENDING {
        open.peer.say(&format!("KR|WS{number}|KC{number}|RN0101|KTN|GD261124|")).await;
        if number < DESK_PENDING {
            asked.push(bench.order().await);
        }
    }
    let refused = open.peer.hear().await;
    assert!(refused.starts_with(&format!("KA|KC{DESK_PENDING}|WS{DESK_PENDING}|ASBY|")), "{refused}");
    assert!(bench.is_quiet().await, "the engine was not asked");
    // The last comes first, and each gets its own.
    for (number, order) in asked.into_iter().enumerate().rev() {
        order.answers.tell(DONE);
        assert!(open.peer.hear().await.starts_with(&format!("KA|KC{number}|WS{number}|ASOK|")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_request_for_an_encoder_at_work_is_busy_and_the_first_keeps_its_answer() {
    let mut bench = Bench::new(desk_config());
    let mut open = bench.alive().await;
    open.peer.say(REQUEST).await;
    let first = bench.order().await;
    // The same bytes again while it is open: somebody is impatient, and there is one answer.
    open.peer.say(REQUEST).await;
    open.peer.say("KR|WS4|KC01|RN102|KTN|GD261124|G#2|").await;
    let second = bench.order().await;
    assert_eq!((&second.order.encoder, &first.order.encoder), (&"Front desk 1".to_owned(), &"Front desk 1".to_owned()));
    second.answers.tell(DeskAnswer::Busy);
    let busy = open.peer.hear().await;
    assert!(busy.starts_with("KA|KC01|WS4|ASBY|G#2|CTEncoder busy|"), "{busy}");
    first.answers.tell(DONE);
    assert!(open.peer.hear().await.starts_with("KA|KC1|WS3|ASOK|G#11122|"));
    assert!(open.peer.is_quiet().await && bench.is_quiet().await);
}

#[tokio::test(start_paused = true)]
async fn an_order_is_answered_in_time_with_what_is_known_and_a_late_outcome_is_nobody_s_answer() {
    let mut bench = Bench::new(FrontDeskConfig { answer_timeout: Duration::from_secs(20), ..desk_config() });
    let mut open = bench.alive().await;
    let begin = Instant::now();
    open.peer.say(REQUEST).await;
    let key = bench.order().await;
    key.answers.tell(DeskAnswer::Asking);
    let told = open.peer.hear().await;
    assert!(told.starts_with("KA|KC1|WS3|ASUR|") && told.contains("CTUnclear if written"), "{told}");
    assert!((Duration::from_secs(19)..Duration::from_secs(22)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    key.answers.tell(DONE);
    assert!(open.peer.is_quiet().await, "its time was over");
    // Nobody heard how it ended: the same request is perhaps the same wish.
    open.peer.say(REQUEST).await;
    let again = bench.order().await;
    assert!(again.order.may_be_repeated);
    again.answers.tell(DeskAnswer::Done(Done::Before));
    assert!(open.peer.hear().await.contains("CTMade before"));

    open.peer.say("KD|WS3|KC1|RN0101|G#11122|").await;
    let _never = bench.order().await;
    let told = open.peer.hear().await;
    assert!(told.contains("|ASRY|") && told.contains("CTAccepted"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn the_property_software_that_says_how_long_it_waits_is_answered_before_that() {
    let mut bench = Bench::new(desk_config());
    let mut open = bench.alive().await;
    open.peer.say("LC|A060;10|").await;
    let begin = Instant::now();
    open.peer.say(REQUEST).await;
    let _never = bench.order().await;
    assert!(open.peer.hear().await.contains("CTUnclear if written"));
    assert!((Duration::from_secs(8)..Duration::from_secs(10)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_answer_waits_for_a_link_that_begins_anew() {
    let mut bench = Bench::new(desk_config());
    let mut open = bench.alive().await;
    open.peer.say(REQUEST).await;
    let asked = bench.order().await;
    open.peer.say("LS|DA261122|TI100500|").await;
    assert!(open.peer.hear().await.starts_with("LD|"));
    asked.answers.tell(DONE);
    let mut told = Vec::new();
    while told.last().is_none_or(|record: &String| !record.starts_with("LA|")) {
        told.push(open.peer.hear().await);
    }
    assert!(told.iter().all(|record| !record.starts_with("KA|")), "nothing but the introduction: {told:?}");
    assert!(open.peer.is_quiet().await);
    open.peer.say("LA|DA261122|TI100501|").await;
    assert!(open.peer.hear().await.starts_with("KA|KC1|WS3|ASOK|"));
    assert!(bench.is_quiet().await, "the order itself went out once");
}

#[tokio::test(start_paused = true)]
async fn the_other_side_ends_the_link_in_good_order_and_the_open_order_goes_on() {
    let mut bench = Bench::new(desk_config());
    let mut open = bench.alive().await;
    open.peer.say(REQUEST).await;
    let asked = bench.order().await;
    open.peer.say("LE|DA261122|TI100500|").await;
    assert!(open.peer.hear().await.starts_with("LE|"));
    let end = bench.ended(open).await;
    assert!(matches!(&end, End::Lost(why) if why.contains("ended the link")), "{end:?}");
    // Nobody listens any more, and the engine need not know.
    asked.answers.tell(DONE);

    let mut open = bench.alive().await;
    assert!(open.peer.is_quiet().await, "an answer of another connection is not told on this one");
    open.peer.say(REQUEST).await;
    assert!(bench.order().await.order.may_be_repeated);
}

#[tokio::test(start_paused = true)]
async fn only_an_answer_that_certainly_arrived_makes_an_equal_request_a_new_one() {
    let mut bench = Bench::new(desk_config());
    let mut open = bench.alive().await;
    for expected in [true, false, false] {
        open.peer.say(REQUEST).await;
        let asked = bench.order().await;
        assert_eq!(asked.order.may_be_repeated, expected, "the first is not known to be new");
        asked.answers.tell(DONE);
        assert!(open.peer.hear().await.contains("|ASOK|"));
    }
    // The connection breaks right behind the answer: it may be lost.
    let end = bench.ended(open).await;
    assert!(matches!(end, End::Lost(_)), "{end:?}");
    let mut open = bench.alive().await;
    open.peer.say(REQUEST).await;
    assert!(bench.order().await.order.may_be_repeated);
}

#[tokio::test(start_paused = true)]
async fn where_answers_are_acknowledged_an_answer_without_that_is_not_taken_for_one_that_arrived() {
    let mut bench = Bench::new(FrontDeskConfig { acknowledges: true, checksum: false, ..desk_config() });
    for is_acknowledged in [true, false] {
        let mut open = bench.connect();
        // Acknowledges everything but answers to key requests, unless it shall.
        open.peer.write(b"\x02LS|DA261122|TI100000|\x03").await;
        let mut seen = String::new();
        while !seen.starts_with("LA|") {
            seen = open.peer.hear().await.trim_start_matches(['\x06', '\x02']).to_owned();
            open.peer.write(b"\x06").await;
        }
        open.peer.write(b"\x02LA|DA261122|TI100001|\x03").await;
        open.peer.write(format!("\x02{REQUEST}\x03").as_bytes()).await;
        let asked = bench.order().await;
        asked.answers.tell(DONE);
        assert!(open.peer.hear().await.contains("|ASOK|"));
        if is_acknowledged {
            open.peer.write(b"\x06").await;
            sleep(Duration::from_millis(10)).await;
        } else {
            // Silence, questions, the record again, and at last nothing more is tried.
            sleep(Duration::from_secs(120)).await;
        }
        open.peer.read.clear();
        // Another record lies in between, so that the wire does not take the next for an echo.
        open.peer.write(format!("\x02GI|\x03\x02{REQUEST}\x03").as_bytes()).await;
        let again = bench.order().await;
        assert_eq!(again.order.may_be_repeated, !is_acknowledged);
        bench.ended(open).await;
        bench.memory = Memory::default();
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_that_does_not_come_up_is_told_and_one_that_does_is_not() {
    let mut bench = Bench::new(desk_config());
    let mut open = bench.connect();
    open.peer.say("LS|DA261122|TI100000|").await;
    sleep(Duration::from_secs(31)).await;
    assert!(bench.desk.health.holds(&bench.desk.scope(), ReasonCode::FrontDesk));
    while !open.peer.hear().await.starts_with("LA|") {}
    open.peer.say("LA|DA261122|TI100031|").await;
    open.peer.say(REQUEST).await;
    bench.order().await;
    assert!(!bench.desk.health.holds(&bench.desk.scope(), ReasonCode::FrontDesk));
    let end = bench.ended(open).await;
    assert!(matches!(end, End::Lost(_)), "{end:?}");
}
