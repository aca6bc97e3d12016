//! Orders of the front desk: cards without the cloud, and never a second one for one order.

use super::*;
use crate::dispatch::front_desk::OPERATOR;

fn room(name: &str) -> DeskRoom {
    DeskRoom { name: name.into(), entrance: None }
}

fn key(name: &str, reservation: &str, duplicate: bool) -> DeskWish {
    DeskWish::Key {
        duplicate,
        rooms: vec![room(name)],
        reservation: reservation.into(),
        starts_at_ms: START,
        ends_at_ms: Some(START + 24 * HOUR),
        holder_name: "Guest".into(),
    }
}

fn end(name: &str, reservation: &str) -> DeskWish {
    DeskWish::End { room: room(name), reservation: reservation.into() }
}

fn order(wish: DeskWish, request: u8) -> DeskOrderRequest {
    DeskOrderRequest {
        desk: "reception".into(),
        lock_system: "tower".into(),
        encoder: "desk".into(),
        wish,
        request: [request; 32],
        may_be_repeated: false,
    }
}

struct Told(mpsc::Receiver<(u64, DeskAnswer)>);

impl Told {
    async fn recv(&mut self) -> Option<DeskAnswer> {
        self.0.recv().await.map(|(ticket, answer)| {
            assert_eq!(ticket, 7);
            answer
        })
    }
}

impl Bench {
    async fn ask_desk(&self, order: DeskOrderRequest) -> Told {
        let (to, told) = mpsc::channel(2);
        let answers = DeskAnswers::new(7, to);
        self.handle.send(EngineRequest::FrontDesk { order: Box::new(order), answers }).await.expect("the engine runs");
        Told(told)
    }

    async fn at_desk(&self, order: DeskOrderRequest) -> DeskAnswer {
        let mut told = self.ask_desk(order).await;
        tokio::time::timeout(Duration::from_secs(120), told.recv()).await.expect("in time").expect("an answer")
    }

    /// Running, with the inventory read.
    async fn with_desk() -> Self {
        let bench = Self::new();
        bench.wait(Duration::from_secs(2)).await;
        bench
    }

    fn holders(&self) -> usize {
        self.system.site().users.len()
    }

    fn cards(&self) -> u32 {
        self.system.site().encodes.values().sum()
    }
}

const DONE: DeskAnswer = DeskAnswer::Done(Done::AsAsked);

fn code(answer: &DeskAnswer) -> &str {
    match answer {
        DeskAnswer::Refused { code, .. } => code,
        other => panic!("not a refusal: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_key_ends_the_room_s_earlier_keys_once_it_is_written_and_a_duplicate_does_not() {
    let bench = Bench::with_desk().await;
    assert_eq!(bench.at_desk(order(key("101", "R1", false), 1)).await, DONE);
    assert_eq!(bench.at_desk(order(key("101", "R1", true), 2)).await, DONE);
    assert_eq!(bench.at_desk(order(key("102", "R9", false), 3)).await, DONE);
    assert_eq!((bench.cards(), bench.holders()), (3, 3));

    // No card on the encoder: nobody may lose a key for that.
    bench
        .system
        .site()
        .script
        .extend([Script::Slow(Duration::ZERO), Script::Refuse("no_credential_on_encoder", Retry::Later)]);
    assert_eq!(code(&bench.at_desk(order(key("101", "R2", false), 4)).await), "no_credential_on_encoder");
    bench.wait(Duration::from_secs(2)).await;
    assert_eq!((bench.cards(), bench.holders()), (3, 3), "the holder without a card is gone again");

    assert_eq!(bench.at_desk(order(key("101", "R2", false), 5)).await, DONE);
    bench.wait(Duration::from_secs(2)).await;
    assert_eq!((bench.cards(), bench.holders()), (4, 2), "both keys of the first stay ended, room 102 keeps its own");
}

#[tokio::test(start_paused = true)]
async fn check_out_ends_the_keys_of_one_reservation_or_of_the_room() {
    let bench = Bench::with_desk().await;
    for (number, (reservation, duplicate)) in [("R1", false), ("R1", true), ("R2", true)].into_iter().enumerate() {
        let request = u8::try_from(number).expect("small");
        assert_eq!(bench.at_desk(order(key("101", reservation, duplicate), request)).await, DONE);
    }
    assert_eq!(bench.at_desk(order(end("101", "R1"), 10)).await, DONE);
    assert_eq!(bench.holders(), 1);
    assert_eq!(bench.at_desk(order(end("101", "R1"), 11)).await, DeskAnswer::Done(Done::Nothing));
    assert_eq!(bench.at_desk(order(end("101", ""), 12)).await, DONE);
    assert_eq!(bench.holders(), 0);
    assert_eq!(code(&bench.at_desk(order(end("no such room", ""), 13)).await), "entrance_not_found");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_is_refused_before_anything_is_written() {
    let bench = Bench::with_desk().await;
    let entries = bench.log.entries.lock().expect("no panic").len();
    let refused = async |order: DeskOrderRequest| code(&bench.at_desk(order).await).to_owned();
    assert_eq!(refused(order(key("999", "R1", false), 1)).await, "entrance_not_found");
    assert_eq!(
        refused(DeskOrderRequest { encoder: "none".into(), ..order(key("101", "", false), 2) }).await,
        "encoder_not_found"
    );
    assert_eq!(
        refused(DeskOrderRequest { lock_system: "x".into(), ..order(key("101", "", false), 3) }).await,
        "lock_system_not_found"
    );
    let past = DeskWish::Key {
        duplicate: false,
        rooms: vec![room("101")],
        reservation: String::new(),
        starts_at_ms: START - 48 * HOUR,
        ends_at_ms: Some(START - HOUR),
        holder_name: String::new(),
    };
    assert_eq!(refused(order(past, 4)).await, "dates");
    let mut without_end = key("101", "R1", true);
    if let DeskWish::Key { ends_at_ms, .. } = &mut without_end {
        *ends_at_ms = None;
    }
    assert_eq!(refused(order(without_end, 5)).await, "dates", "no stay is there whose end it could be");
    assert_eq!(bench.log.entries.lock().expect("no panic").len(), entries, "nothing was journaled");

    let (done, set) = tokio::sync::oneshot::channel();
    bench.handle.send(EngineRequest::Brake { on: true, who: "uid 0".into(), done }).await.expect("runs");
    set.await.expect("set");
    assert_eq!(refused(order(key("101", "R1", false), 6)).await, "policy:brake");
    bench.log.set_room(Room::SafetyOnly);
    assert_eq!(refused(order(key("101", "R1", false), 7)).await, "disk_full");
    assert_eq!((bench.cards(), bench.holders()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn one_order_at_a_time_on_an_encoder_and_the_next_is_told_that_it_is_busy() {
    let bench = Bench::with_desk().await;
    bench.system.site().script.extend([Script::Slow(Duration::ZERO), Script::Slow(Duration::from_secs(10))]);
    let mut first = bench.ask_desk(order(key("101", "R1", false), 1)).await;
    bench.wait(Duration::from_secs(1)).await;
    assert_eq!(bench.at_desk(order(key("102", "R2", false), 2)).await, DeskAnswer::Busy);
    assert_eq!(first.recv().await, Some(DONE));
    assert_eq!(bench.at_desk(order(key("102", "R2", false), 3)).await, DONE);
    assert_eq!(bench.cards(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_a_doubt_that_nothing_repeats_and_that_ends_no_key() {
    let bench = Bench::with_desk().await;
    assert_eq!(bench.at_desk(order(key("101", "R1", false), 1)).await, DONE);
    bench.system.site().script.extend([Script::Slow(Duration::ZERO), Script::SilentDone]);
    bench.system.site().blind = false;
    let mut told = bench.ask_desk(order(key("101", "R2", false), 2)).await;
    // The holder is looked at before the encode; from then on the lock server tells nothing.
    bench.wait(Duration::from_secs(1)).await;
    bench.system.site().blind = true;
    assert_eq!(told.recv().await, Some(DeskAnswer::Asking));
    assert_eq!((bench.cards(), bench.holders()), (2, 2), "the earlier key stands until the new one is certain");

    // The property software did not hear the answer and asks again, word for word.
    let again = DeskOrderRequest { may_be_repeated: true, ..order(key("101", "R2", false), 2) };
    assert_eq!(bench.at_desk(again.clone()).await, DeskAnswer::Asking);
    let bench = bench.kill_and_restart().await;
    bench.wait(Duration::from_secs(2)).await;
    assert_eq!(bench.at_desk(again).await, DeskAnswer::InDoubt, "a restart does not forget it");
    assert_eq!(bench.cards(), 2, "and no second card");

    // The lock server tells again, and shows the card: the order is done, with all that follows.
    bench.system.site().blind = false;
    bench.wait(Duration::from_secs(700)).await;
    assert_eq!((bench.cards(), bench.holders()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn what_came_of_a_doubt_is_told_to_who_still_waits() {
    let bench = Bench::with_desk().await;
    bench.system.site().script.extend([Script::Slow(Duration::ZERO), Script::SilentDone]);
    let mut told = bench.ask_desk(order(key("101", "R1", false), 1)).await;
    assert_eq!(told.recv().await, Some(DeskAnswer::Asking));
    assert_eq!(told.recv().await, Some(DONE));
    assert_eq!(bench.cards(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_order_whose_answer_got_lost_is_answered_again_and_an_equal_new_one_is_carried_out() {
    let bench = Bench::with_desk().await;
    assert_eq!(bench.at_desk(order(key("101", "R1", true), 1)).await, DONE);
    let again = DeskOrderRequest { may_be_repeated: true, ..order(key("101", "R1", true), 1) };
    assert_eq!(bench.at_desk(again.clone()).await, DeskAnswer::Done(Done::Before));
    assert_eq!(bench.cards(), 1);
    let bench = bench.kill_and_restart().await;
    bench.wait(Duration::from_secs(2)).await;
    assert_eq!(bench.at_desk(again.clone()).await, DeskAnswer::Done(Done::Before), "also after a restart");
    assert_eq!(bench.at_desk(order(key("101", "R1", true), 1)).await, DONE, "the desk is sure: another card");
    bench.wait(Duration::from_secs(700)).await;
    assert_eq!(bench.at_desk(again).await, DONE, "so much later it is another wish");
    assert_eq!(bench.cards(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_check_out_gives_up_the_doubt_about_a_card_of_the_stay() {
    let bench = Bench::with_desk().await;
    bench.system.site().script.extend([Script::Slow(Duration::ZERO), Script::SilentNothing]);
    let mut told = bench.ask_desk(order(key("101", "R1", false), 1)).await;
    bench.wait(Duration::from_secs(1)).await;
    bench.system.site().blind = true;
    assert_eq!(told.recv().await, Some(DeskAnswer::Asking));
    assert_eq!(bench.at_desk(order(end("101", "R1"), 2)).await, DONE);
    assert_eq!(bench.holders(), 0);
    let status = bench.handle.ask(EngineRequest::Status).await.expect("runs");
    assert_eq!((status.in_doubt, status.queued), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_move_and_an_extension_change_every_key_of_the_reservation() {
    let bench = Bench::with_desk().await;
    assert_eq!(bench.at_desk(order(key("101", "R1", false), 1)).await, DONE);
    assert_eq!(bench.at_desk(order(key("101", "R1", true), 2)).await, DONE);
    assert_eq!(bench.at_desk(order(key("101", "R2", true), 3)).await, DONE);
    let change = DeskWish::Change {
        rooms: vec![room("102")],
        reservation: "R1".into(),
        starts_at_ms: None,
        ends_at_ms: Some(START + 72 * HOUR),
    };
    assert_eq!(bench.at_desk(order(change.clone(), 4)).await, DeskAnswer::Done(Done::CardsLag));
    let doors = |bench: &Bench| {
        let site = bench.system.site();
        let targets = site.users.values().filter_map(|user| user.target.clone());
        let mut doors: Vec<_> = targets.flat_map(|target| target.rights).map(|right| format!("{right:?}")).collect();
        doors.sort();
        (doors.iter().filter(|door| door.contains("102")).count(), doors.len())
    };
    assert_eq!(doors(&bench), (2, 3));
    assert_eq!(bench.at_desk(order(end("101", ""), 5)).await, DONE, "only R2 is in 101 now");
    assert_eq!(bench.holders(), 2);
    let mut nobody = change;
    if let DeskWish::Change { reservation, .. } = &mut nobody {
        *reservation = "R7".into();
    }
    assert_eq!(code(&bench.at_desk(order(nobody, 6)).await), "grant_not_found");
    assert_eq!(bench.cards(), 3, "nothing was written to a card");
}

#[tokio::test(start_paused = true)]
async fn a_stay_that_is_over_is_forgotten_without_anybody_asking() {
    let bench = Bench::with_desk().await;
    assert_eq!(bench.at_desk(order(key("101", "R1", false), 1)).await, DONE);
    let bench = bench.kill_and_restart().await;
    bench.wait(Duration::from_secs(24 * 3600)).await;
    assert_eq!(bench.holders(), 1, "some time after the departure it is still known");
    bench.wait(Duration::from_secs(2 * 3600)).await;
    assert_eq!(bench.holders(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_reports_say_who_asked_for_what_and_wait_for_the_cloud() {
    let bench = Bench::with_desk().await;
    assert_eq!(bench.at_desk(order(key("101", "R1", false), 1)).await, DONE);
    let updates = bench.updates();
    let encode =
        updates.iter().rfind(|update| update.local.as_ref().is_some_and(|local| local.kind == "encode_credential"));
    let encode = encode.expect("an update about the encode");
    assert_eq!(encode.state(), CommandState::Succeeded);
    let local = encode.local.clone().expect("given on site");
    assert_eq!(local.operator, format!("{OPERATOR}reception"));
    let told = local.desk.expect("the order");
    assert_eq!(
        (told.room.as_str(), told.reservation.as_str(), told.entrance_external_ids),
        ("101", "R1", vec!["101".to_owned()])
    );
    assert_eq!((told.starts_at_ms, told.ends_at_ms), (START, START + 24 * HOUR));
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_order_and_encode_leaves_nobody_with_rights() {
    let bench = Bench::with_desk().await;
    bench.system.site().script.push_back(Script::Slow(Duration::from_secs(5)));
    let _told = bench.ask_desk(order(key("101", "R1", false), 1)).await;
    bench.wait(Duration::from_secs(1)).await;
    let bench = bench.kill_and_restart().await;
    bench.wait(Duration::from_secs(30)).await;
    assert_eq!((bench.cards(), bench.holders()), (0, 0));
    assert_eq!(bench.at_desk(order(key("101", "R1", false), 2)).await, DONE);
}
