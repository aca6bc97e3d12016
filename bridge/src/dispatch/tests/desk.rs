//! The line at an encoder: places, the pause in which a finished card is taken off, and that nobody jumps it.

use std::time::Duration;

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::CommandState;

use super::*;
use crate::dispatch::{EncoderJob, EncoderStage};

/// Longer than the pause for taking a card off.
const LONG: Duration = Duration::from_secs(4);

impl Bench {
    async fn jobs(&self) -> Vec<EncoderJob> {
        self.handle.ask(EngineRequest::EncoderJobs).await.expect("runs")
    }

    /// (stage, position) of a command; `None` when it needs no encoder any more.
    async fn place(&self, id: CommandId) -> Option<(EncoderStage, u32)> {
        let jobs = self.jobs().await;
        jobs.iter().find(|job| job.command_id == id.to_string()).map(|job| (job.stage, job.position))
    }

    async fn guests(&mut self, users: &[&str]) {
        for user in users {
            let id = self.give(grant(user, &["101"])).await;
            self.until(id, CommandState::Succeeded).await;
        }
        self.system.site().calls.clear();
    }
}

#[tokio::test(start_paused = true)]
async fn who_waited_is_next_when_the_card_before_is_off_and_who_comes_in_that_pause_is_behind() {
    let mut bench = Bench::new();
    bench.guests(&["u1", "u2", "u3"]).await;
    bench.system.site().script.push_back(Script::Slow(Duration::from_secs(5)));
    let first = bench.give(encode("u1")).await;
    let second = bench.give(encode("u2")).await;
    bench.wait(Duration::from_secs(1)).await;
    assert_eq!(bench.place(first).await, Some((EncoderStage::PresentCard, 0)));
    assert_eq!(bench.place(second).await, Some((EncoderStage::Waiting, 1)));
    bench.until(first, CommandState::Succeeded).await;
    bench.wait(Duration::from_millis(100)).await;
    assert_eq!(bench.place(first).await, None);
    assert_eq!(bench.place(second).await, Some((EncoderStage::RemoveCard, 1)));
    assert_eq!(bench.system.site().calls, ["encode u1"], "the card of u1 still lies there");
    let third = bench.give(encode("u3")).await;
    bench.until(third, CommandState::Succeeded).await;
    assert_eq!(bench.system.site().calls, ["encode u1", "encode u2", "encode u3"]);
    assert_eq!(bench.jobs().await, []);
}

#[tokio::test(start_paused = true)]
async fn who_comes_to_a_free_encoder_does_not_wait() {
    let mut bench = Bench::new();
    bench.guests(&["u1", "u2"]).await;
    let first = bench.give(encode("u1")).await;
    bench.until(first, CommandState::Succeeded).await;
    let (second, begun) = (bench.give(encode("u2")).await, Instant::now());
    bench.until(second, CommandState::Succeeded).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "asked when the result was seen: {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn on_site_what_has_not_begun_is_taken_back_and_nothing_else() {
    let mut bench = Bench::new();
    bench.guests(&["u1", "u2"]).await;
    bench.system.site().script.push_back(Script::Slow(Duration::from_secs(5)));
    let first = bench.give(encode("u1")).await;
    let second = bench.give(encode("u2")).await;
    bench.wait(Duration::from_secs(1)).await;
    let cancel = async |bench: &Bench, command_id| {
        let who = "uid 1000".to_owned();
        bench.handle.ask(|done| EngineRequest::Cancel { command_id, who, done }).await.expect("runs")
    };
    let Err(ControlError::Refused { code, .. }) = cancel(&bench, first).await else { panic!("it has begun") };
    assert_eq!(code, "command_begun");
    cancel(&bench, second).await.expect("taken back");
    let update = bench.until(second, CommandState::Cancelled).await;
    assert!(update.error.expect("who did it").message.contains("uid 1000"));
    let Err(ControlError::Refused { code, .. }) = cancel(&bench, second).await else { panic!("it has ended") };
    assert_eq!(code, "command_not_found");
    bench.until(first, CommandState::Succeeded).await;
    bench.wait(LONG).await;
    assert_eq!(bench.system.site().calls, ["encode u1"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_fault_an_encoder_is_used_again_once_the_lock_system_answers() {
    let mut bench = Bench::new();
    bench.guests(&["u1", "u2"]).await;
    bench.system.site().script.push_back(Script::SilentNothing);
    let first = bench.give(encode("u1")).await;
    bench.wait(Duration::from_secs(1)).await;
    bench.system.site().probe_pause = Duration::from_secs(5);
    bench.until(first, CommandState::InDoubt).await;
    let second = bench.give(encode("u2")).await;
    bench.wait(Duration::from_secs(4)).await;
    assert_eq!(bench.place(second).await, Some((EncoderStage::Waiting, 1)), "the way to the encoder is being tried");
    assert_eq!(bench.system.site().calls, ["encode u1"]);
    bench.until(second, CommandState::Succeeded).await;
    assert_eq!(bench.system.site().calls, ["encode u1", "encode u2"]);
}

#[tokio::test(start_paused = true)]
async fn a_lock_system_that_is_gone_after_a_fault_refuses_and_blocks_no_encoder() {
    let mut bench = Bench::new();
    bench.guests(&["u1", "u2"]).await;
    bench.system.site().script.push_back(Script::SilentNothing);
    let first = bench.give(encode("u1")).await;
    bench.wait(Duration::from_secs(1)).await;
    bench.system.site().reachable = false;
    bench.until(first, CommandState::InDoubt).await;
    let refused = bench.give(encode("u2")).await;
    let update = bench.until(refused, CommandState::Failed).await;
    assert_eq!(update.error.expect("why").code, "bridge_disconnected");
    bench.system.site().reachable = true;
    bench.wait(Duration::from_secs(10)).await;
    let again = bench.give(encode("u2")).await;
    bench.until(again, CommandState::Succeeded).await;
    assert_eq!(bench.system.site().calls, ["encode u1", "encode u2"]);
}
