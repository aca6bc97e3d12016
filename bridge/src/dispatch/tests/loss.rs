//! A part of the journal that cannot be read.

use lockbridge_protocol::proto::journal::{Entry, entry};
use lockbridge_protocol::proto::tunnel::{DeliveryRange, LostCommand, LostCommands};

use super::*;
use crate::health::{ReasonCode, Scope};

impl Bench {
    /// Sequences of the entries that `wanted` picks.
    fn entries_of(&self, wanted: impl Fn(&entry::Body) -> bool) -> Vec<u64> {
        let entries = self.log.entries.lock().expect("no panic");
        let picked = |payload: &Vec<u8>| {
            Entry::decode(payload.as_slice()).ok().and_then(|entry| entry.body).is_some_and(|body| wanted(&body))
        };
        (1..).zip(entries.iter()).filter(|(_, payload)| picked(payload)).map(|(sequence, _)| sequence).collect()
    }

    fn receipt(&self, id: CommandId) -> u64 {
        self.entries_of(|body| matches!(body, entry::Body::Received(it) if it.command_id == id.0))[0]
    }

    async fn open_session(&self, reports: u64) {
        let opened =
            |done| EngineRequest::SessionOpened { epoch: 9, reports_durable_through: reports, quarantine: None, done };
        self.handle.ask(opened).await.expect("the engine runs");
    }

    fn last_report(&self) -> u64 {
        self.handle.feed().borrow().reports_last
    }

    fn told_lost(&self) -> Vec<(u64, u64)> {
        self.handle.feed().borrow().lost.clone()
    }

    async fn until_told(&self, lost: &[(u64, u64)]) {
        let mut feed = self.handle.feed();
        let told = feed.wait_for(|feed| feed.lost == lost);
        tokio::time::timeout(Duration::from_secs(60), told).await.expect("in time").expect("the engine runs");
    }

    /// The cloud answers for a range with the commands it sent there, all of unknown end.
    async fn answer(&self, first: u64, last: u64) {
        let sent = self.authority.sent.iter().filter(|(_, it)| (first..=last).contains(&it.delivery_sequence));
        let commands = sent.map(|(_, delivery)| LostCommand {
            command: delivery.command.clone(),
            state: CommandState::Abandoned as i32,
            successor_id: Vec::new(),
        });
        let told = LostCommands { deliveries: Some(DeliveryRange { first, last }), commands: commands.collect() };
        self.handle.send(EngineRequest::LostCommands(told)).await.expect("the engine runs");
    }

    fn reason(&self) -> String {
        let reasons = self.health.reasons();
        let found = reasons.into_iter().find(|reason| reason.code == ReasonCode::JournalDamaged);
        found.map(|reason| reason.message).unwrap_or_default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_command_is_told_by_number_and_its_lane_goes_on_once_it_is_named() {
    let mut bench = Bench::new();
    bench.system.site().reachable = false;
    let first = bench.give(grant("u1", &["101"])).await;
    let lost = bench.give(grant("u1", &["102"])).await;
    let third = bench.give(grant("u1", &["gym"])).await;
    bench.wait(Duration::from_secs(1)).await;
    let (before, after) = (bench.receipt(first), bench.receipt(third));
    let bench = bench.restart_without(&[(before + 1, after - 1)]).await;
    bench.open_session(bench.last_report()).await;
    bench.until_told(&[(2, 2)]).await;
    assert!(bench.handle.feed().borrow().lane_gaps.is_empty(), "the same bytes are not asked for");
    bench.system.site().reachable = true;
    bench.wait(Duration::from_secs(120)).await;
    assert_eq!(bench.states(first), [], "grants wait for the answer");
    bench.answer(2, 2).await;
    bench.until(first, CommandState::Succeeded).await;
    bench.until(third, CommandState::Succeeded).await;
    assert_eq!(bench.told_lost(), []);
    assert_eq!(bench.states(lost), []);
    assert!(bench.reason().contains(&lost.to_string()), "{}", bench.reason());
    // Sent once more all the same, it is known and does not run.
    let mut again = bench.authority.sent[1].1.clone();
    again.delivery_sequence = 4;
    bench.deliver(vec![again]).await;
    assert_eq!(bench.until(lost, CommandState::Abandoned).await.error.expect("says why").code, "journal_lost");
    let doors = bench.system.site().users["u1"].target.clone().expect("has rights").rights;
    assert!(!format!("{doors:?}").contains("102"), "{doors:?}");
}

#[tokio::test(start_paused = true)]
async fn a_grant_does_not_come_back_from_behind_a_lost_revoke() {
    let mut bench = Bench::new();
    bench.system.site().reachable = false;
    let older = bench.give(grant("u1", &["101"])).await;
    let revoke = bench.give(delete_grant("u1")).await;
    let later = bench.give(grant("u2", &["102"])).await;
    bench.wait(Duration::from_secs(1)).await;
    let (before, after) = (bench.receipt(older), bench.receipt(later));
    assert!(before < bench.receipt(revoke) && bench.receipt(revoke) < after);
    // With the revoke goes the word that it made the grant moot.
    let bench = bench.restart_without(&[(before + 1, after - 1)]).await;
    bench.system.site().reachable = true;
    bench.open_session(bench.last_report()).await;
    bench.until_told(&[(2, 2)]).await;
    bench.answer(2, 2).await;
    bench.until(older, CommandState::Superseded).await;
    bench.until(later, CommandState::Succeeded).await;
    assert!(!bench.system.site().users.contains_key("u1"), "nothing was written for the holder");
}

#[tokio::test(start_paused = true)]
async fn known_ends_come_first_and_numbers_of_lost_reports_are_filled() {
    let mut bench = Bench::new();
    let first = bench.give(grant("u1", &["101"])).await;
    bench.until(first, CommandState::Succeeded).await;
    let lost = bench.give(grant("u2", &["102"])).await;
    bench.until(lost, CommandState::Succeeded).await;
    let third = bench.give(grant("u3", &["gym"])).await;
    bench.until(third, CommandState::Succeeded).await;
    let (before, after) = (bench.receipt(lost), bench.receipt(third));
    let bench = bench.restart_without(&[(before, after - 1)]).await;
    bench.open_session(0).await;
    bench.wait(Duration::from_secs(1)).await;
    assert_eq!(bench.told_lost(), [], "the cloud does not have the ends that are known");
    let reports = bench.reports();
    let numbers: Vec<u64> = reports.iter().map(|report| report.sequence).collect();
    assert_eq!(numbers, (1..=bench.last_report()).collect::<Vec<_>>(), "without gaps");
    assert!(reports.iter().any(|report| matches!(report.body, Some(ReportBody::ReportsLost(_)))));
    bench.handle.send(EngineRequest::ReportsDurable(bench.last_report())).await.expect("the engine runs");
    bench.until_told(&[(2, 2)]).await;
}

#[tokio::test(start_paused = true)]
async fn grants_wait_for_the_cloud_only_so_long_and_revokes_not_at_all() {
    let mut bench = Bench::new();
    bench.system.site().reachable = false;
    let held = bench.give(grant("u1", &["101"])).await;
    let lost = bench.give(grant("u2", &["102"])).await;
    let revoke = bench.give(delete_grant("u3")).await;
    bench.wait(Duration::from_secs(1)).await;
    let (before, after) = (bench.receipt(lost), bench.receipt(revoke));
    let bench = bench.restart_without(&[(before, after - 1)]).await;
    bench.system.site().reachable = true;
    bench.until(revoke, CommandState::Succeeded).await;
    assert_eq!(bench.states(held), []);
    bench.until(held, CommandState::Succeeded).await;
    assert!(bench.health.holds(&Scope::Bridge, ReasonCode::JournalDamaged), "it is still asked for");
}

#[tokio::test(start_paused = true)]
async fn an_encode_whose_intent_may_be_lost_is_in_doubt_and_not_expired() {
    let mut bench = Bench::new();
    let granted = bench.give(grant("u1", &["101"])).await;
    bench.until(granted, CommandState::Succeeded).await;
    bench.system.site().script.push_back(Script::SilentDone);
    let encoded = bench.give(encode("u1")).await;
    bench.wait(Duration::from_secs(1)).await;
    assert_eq!(bench.system.site().encodes["u1"], 1);
    let intent = bench.entries_of(|body| matches!(body, entry::Body::Intent(it) if it.command_id == encoded.0))[0];
    let bench = bench.restart_without(&[(intent, intent)]).await;
    let told = bench.until(encoded, CommandState::InDoubt).await;
    assert_eq!(told.error.expect("says why").code, "journal_lost");
    assert_eq!(bench.system.site().encodes["u1"], 1);
    // Without damage, one that only waited is told as it is.
    let mut bench = Bench::new();
    bench.system.site().script.push_back(Script::Slow(Duration::from_secs(60)));
    bench.give(grant("u1", &["101"])).await;
    let waiting = bench.give(encode("u1")).await;
    bench.wait(Duration::from_secs(1)).await;
    let bench = bench.restart_without(&[]).await;
    assert_eq!(bench.until(waiting, CommandState::Expired).await.error.expect("says why").code, "session_lost");
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_only_for_what_was_asked_and_only_as_signed() {
    let mut bench = Bench::new();
    bench.system.site().reachable = false;
    let (held, lost) = (bench.give(grant("u1", &["101"])).await, bench.give(grant("u1", &["102"])).await);
    let third = bench.give(grant("u1", &["gym"])).await;
    bench.wait(Duration::from_secs(1)).await;
    let at = bench.receipt(lost);
    let bench = bench.restart_without(&[(at, at)]).await;
    bench.open_session(bench.last_report()).await;
    bench.until_told(&[(2, 2)]).await;
    let entries = || bench.entries_of(|body| matches!(body, entry::Body::CommandsLost(_))).len();
    bench.answer(1, 3).await;
    bench.answer(1, 1).await;
    bench.wait(Duration::from_secs(1)).await;
    assert_eq!(entries(), 0, "nothing but the lost range is answered for");
    // A relay that changes what was signed names nobody.
    let mut forged = bench.authority.sent[2].1.command.clone().expect("is there");
    forged.payload[3] ^= 1;
    let commands =
        vec![LostCommand { command: Some(forged), state: CommandState::Abandoned as i32, successor_id: vec![] }];
    let told = LostCommands { deliveries: Some(DeliveryRange { first: 2, last: 2 }), commands };
    bench.handle.send(EngineRequest::LostCommands(told)).await.expect("the engine runs");
    bench.until_told(&[]).await;
    bench.system.site().reachable = true;
    bench.until(held, CommandState::Succeeded).await;
    bench.wait(Duration::from_secs(5)).await;
    assert_eq!(bench.states(third), [], "its lane still lacks one that nobody named");
    assert_eq!(bench.handle.feed().borrow().lane_gaps.len(), 1);
}
