use lockbridge_protocol::proto::tunnel::{CommandState, DeliveryRange, HealthReport, LostCommands};
use lockbridge_protocol::tunnel::session::BridgeEvent;

use crate::store::{commands, lost};
use crate::testing::{Bench, Identity, State, put_user};

fn tell(first: u64, last: u64) -> BridgeEvent<'static> {
    BridgeEvent::Health(HealthReport { lost: vec![DeliveryRange { first, last }], ..HealthReport::default() })
}

fn ranges(answers: &[LostCommands]) -> Vec<(u64, u64, usize)> {
    let range = |answer: &LostCommands| answer.deliveries.map(|it| (it.first, it.last)).unwrap_or_default();
    answers.iter().map(|answer| (range(answer).0, range(answer).1, answer.commands.len())).collect()
}

async fn with_users(bench: &Bench, identity: &Identity, count: u64) {
    for user in 1..=count {
        bench.issue(&identity.bridge_id, put_user(&format!("u{user}"))).await.expect("issues");
    }
}

#[tokio::test]
async fn what_a_bridge_lost_is_named_as_it_was_signed_and_written_down_once() {
    let bench = Bench::start().await;
    let identity = bench.enrolled().await;
    with_users(&bench, &identity, 4).await;
    let mut script = bench.connect(&identity, State::new()).await.expect("is welcome");
    script.until(|script| script.delivered.len() == 4).await.expect("delivers");
    script.acknowledge(3).await.expect("is open");
    bench.eventually(&identity.bridge_id, |bridge| bridge.commands_durable_through == 3).await;

    // The fourth is on its way: it comes again by itself and is not lost.
    script.handle(tell(2, 4)).await.expect("is open");
    script.until(|script| script.lost.len() == 1).await.expect("is answered");
    assert_eq!(ranges(&script.lost), [(2, 3, 2)]);
    let signed = |index: usize| script.delivered[index].command.clone();
    let named: Vec<_> = script.lost[0].commands.iter().map(|lost| (lost.command.clone(), lost.state())).collect();
    assert_eq!(named, [(signed(1), CommandState::Abandoned), (signed(2), CommandState::Abandoned)]);
    let told = |bench: &Bench| bench.recorder.told().into_iter().filter(|told| told.starts_with("lost")).count();
    assert_eq!(told(&bench), 2);

    // Asked again, as after a crash before the answer was durable, the same is said and nothing happens twice.
    script.handle(tell(2, 3)).await.expect("is open");
    script.until(|script| script.lost.len() == 2).await.expect("is answered");
    assert_eq!(script.lost[0].commands, script.lost[1].commands);
    assert_eq!(told(&bench), 2);
    let bridge_id = identity.bridge_id.clone();
    let listed = bench.store.read(move |connection| lost::list(connection, Some(&bridge_id))).await.expect("reads");
    assert_eq!(listed.iter().map(|lost| lost.delivery_sequence).collect::<Vec<_>>(), [2, 3]);
    let id = listed[0].command_id;
    let standing = bench.store.read(move |connection| commands::standing(connection, id)).await.expect("reads");
    assert_eq!(standing.expect("is there").state, CommandState::Abandoned);
}

#[tokio::test]
async fn a_long_loss_is_answered_in_parts_without_gaps() {
    let bench = Bench::start().await;
    let identity = bench.enrolled().await;
    with_users(&bench, &identity, 300).await;
    let state = State { credit: [1_000; 4], ..State::new() };
    let mut script = bench.connect(&identity, state).await.expect("is welcome");
    script.until(|script| script.delivered.len() == 300).await.expect("delivers");
    script.acknowledge(300).await.expect("is open");
    bench.eventually(&identity.bridge_id, |bridge| bridge.commands_durable_through == 300).await;
    let mut first = 5;
    while first <= 290 {
        let count = script.lost.len();
        script.handle(tell(first, 290)).await.expect("is open");
        script.until(|script| script.lost.len() > count).await.expect("is answered");
        let (from, through, named) = ranges(&script.lost)[count];
        assert_eq!((from, named as u64), (first, through - first + 1));
        first = through + 1;
    }
    assert!(script.lost.len() > 1, "one answer is bounded");
    assert_eq!(first, 291);
}
