//! Quarantine: what begins and what does not, over restarts; the two releases; a journal that went back.

use std::time::Duration;

use lockbridge_protocol::proto::tunnel::{DeleteGrant, Quarantine, QuarantineReason};

use super::*;
use crate::health::{ReasonCode, Scope};
use crate::system::Right;

fn told(incident: u64, reason: QuarantineReason) -> Quarantine {
    Quarantine {
        incident,
        reason: reason.into(),
        message: "as the hub found".into(),
        since_ms: 5,
        ..Quarantine::default()
    }
}

impl Bench {
    async fn session(&self, epoch: u64, reports_durable_through: u64, quarantine: Option<Quarantine>) {
        let opened = |done| EngineRequest::SessionOpened { epoch, reports_durable_through, quarantine, done };
        self.handle.ask(opened).await.expect("the engine runs");
    }

    async fn suspect(&self, reason: QuarantineReason) {
        let message = "found here".to_owned();
        self.handle.send(EngineRequest::Suspect { reason, message }).await.expect("the engine runs");
    }

    async fn lift(&self) -> bool {
        let lift = |done| EngineRequest::LiftQuarantine { who: "uid 0".into(), done };
        self.handle.ask(lift).await.expect("the engine runs").expect("is in quarantine").left
    }

    async fn held(&self) -> Option<QuarantineStatus> {
        self.handle.ask(EngineRequest::Status).await.expect("the engine runs").quarantine
    }

    async fn encode_here(&self, user: &str) -> Result<Report, ControlError> {
        let request = EncodeLocally {
            grant_id: format!("grant-{user}"),
            lock_system: String::new(),
            encoder: "desk".into(),
            command_id: String::new(),
            operation: None,
        };
        let encode = |done| EngineRequest::EncodeLocally { request, who: "uid 1".into(), done };
        self.handle.ask(encode).await.expect("the engine runs")
    }

    fn rights(&self, user: &str) -> Vec<Right> {
        let site = self.system.site();
        site.users.get(user).and_then(|user| user.target.clone()).map(|target| target.rights).unwrap_or_default()
    }

    fn entries(&self) -> usize {
        self.log.entries.lock().expect("no panic").len()
    }
}

fn code(update: &CommandUpdate) -> &str {
    update.error.as_ref().map_or("", |error| error.code.as_str())
}

#[tokio::test(start_paused = true)]
async fn grants_wait_cards_are_refused_revokes_run_over_restarts_until_both_released_it() {
    let mut bench = Bench::new();
    let first = bench.give(grant("u1", &["101"])).await;
    bench.until(first, CommandState::Succeeded).await;
    bench.suspect(QuarantineReason::DuplicateSession).await;
    assert!(bench.health.holds(&Scope::Bridge, ReasonCode::Quarantine) || bench.held().await.is_some());

    let waiting = bench.give(grant("u2", &["101"])).await;
    let card = bench.give(encode("u1")).await;
    assert_eq!(code(&bench.until(card, CommandState::Rejected).await), "bridge_quarantined");
    let revoked = bench.give(delete_grant("u1")).await;
    bench.until(revoked, CommandState::Succeeded).await;
    let refused = bench.encode_here("u1").await.expect_err("is refused");
    assert!(matches!(refused, ControlError::Refused { code, .. } if code == "bridge_quarantined"));
    let since = bench.held().await.expect("holds").since_ms;

    let mut bench = bench.kill_and_restart().await;
    let held = bench.held().await.expect("holds over a restart");
    assert_eq!((held.reason.as_str(), held.since_ms), ("duplicate_session", since));
    assert!(bench.health.holds(&Scope::Bridge, ReasonCode::Quarantine));
    bench.wait(Duration::from_secs(200)).await;
    assert_eq!(bench.states(waiting), []);
    assert_eq!(bench.system.site().calls, ["apply u1", "apply u1"]);

    // The site first; the hub gives it a number, and its operator follows.
    assert!(!bench.lift().await);
    bench.session(1, 0, Some(told(7, QuarantineReason::DuplicateSession))).await;
    assert!(bench.held().await.expect("holds").released_at_site, "the same finding under the hub's number");
    let shown = bench.handle.feed().borrow().quarantine.clone().expect("is told");
    assert_eq!((shown.incident, shown.released), (7, true));
    let released = Quarantine { released: true, ..told(7, QuarantineReason::DuplicateSession) };
    bench.handle.send(EngineRequest::Quarantined(released.clone())).await.expect("runs");
    bench.until(waiting, CommandState::Succeeded).await;
    assert_eq!(bench.held().await, None);
    assert!(!bench.health.holds(&Scope::Bridge, ReasonCode::Quarantine));
    assert_eq!(bench.handle.feed().borrow().quarantine_left, 7);
    // What the hub says before it has heard of the end is old news; a new number is not.
    bench.handle.send(EngineRequest::Quarantined(released)).await.expect("runs");
    assert_eq!(bench.held().await, None);
    bench.handle.send(EngineRequest::Quarantined(told(8, QuarantineReason::GenerationStale))).await.expect("runs");
    assert!(!bench.held().await.expect("holds").released_at_site);
    let last = bench.give(encode("u2")).await;
    assert_eq!(code(&bench.until(last, CommandState::Rejected).await), "bridge_quarantined");
}

#[tokio::test(start_paused = true)]
async fn a_release_at_the_site_does_not_count_for_what_was_found_later() {
    let bench = Bench::new();
    bench.suspect(QuarantineReason::MachineChanged).await;
    assert!(!bench.lift().await);
    let worse = Quarantine { released: true, ..told(3, QuarantineReason::StateRolledBack) };
    bench.session(1, 0, Some(worse)).await;
    assert!(!bench.held().await.expect("holds").released_at_site);
    assert!(bench.lift().await, "the cloud had released it already");
}

#[tokio::test(start_paused = true)]
async fn an_intent_on_its_way_to_the_disk_does_not_begin() {
    let mut bench = Bench::new();
    let first = bench.give(grant("u1", &["101"])).await;
    bench.until(first, CommandState::Succeeded).await;
    bench.wait(Duration::from_secs(20)).await;
    bench.log.hold();
    let card = bench.give(encode("u1")).await;
    bench.wait(Duration::from_secs(1)).await;
    bench.suspect(QuarantineReason::DuplicateSession).await;
    bench.wait(Duration::from_secs(1)).await;
    bench.log.release();
    assert_eq!(code(&bench.until(card, CommandState::Failed).await), "bridge_quarantined");
    assert_eq!(bench.system.site().encodes.get("u1"), None);
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_went_back_writes_no_card_again_and_does_the_rest_after_the_release() {
    let mut bench = Bench::new();
    let first = bench.give(grant("u1", &["101"])).await;
    bench.until(first, CommandState::Succeeded).await;
    let backup = bench.entries();
    let card = bench.give(encode("u1")).await;
    bench.until(card, CommandState::Succeeded).await;
    let opened = bench.give(unlock("101")).await;
    bench.until(opened, CommandState::Succeeded).await;
    let later = bench.give(grant("u2", &["102"])).await;
    bench.until(later, CommandState::Succeeded).await;
    let reports = bench.reports().len() as u64;
    let lost: Vec<Delivery> = bench.authority.sent[1..].iter().map(|(_, delivery)| delivery.clone()).collect();
    let before = bench.authority.now_ms();
    bench.wait(Duration::from_secs(1)).await;

    let mut bench = bench.restore(backup).await;
    bench.wait(Duration::from_secs(1)).await;
    let rolled_back =
        Quarantine { replay_through: 4, replay_before_ms: before, ..told(1, QuarantineReason::StateRolledBack) };
    bench.session(9, reports, Some(rolled_back.clone())).await;
    // A revoke waits until all that was lost is known.
    let revoked = bench.give(delete_grant("u1")).await;
    assert_eq!(bench.states(revoked), []);
    bench.authority.deliveries = 4;
    bench.deliver(lost).await;
    for id in [card, opened] {
        let update = bench.until(id, CommandState::Abandoned).await;
        assert_eq!(code(&update), "state_rolled_back", "whether it was done is not known here");
    }
    bench.authority.lanes.insert("user:u1".into(), 2);
    let revoked = bench.give(delete_grant("u1")).await;
    bench.until(revoked, CommandState::Succeeded).await;
    assert_eq!(bench.rights("u1"), []);
    assert_eq!(bench.states(later), []);

    assert!(!bench.lift().await);
    let released = Quarantine { released: true, ..rolled_back };
    bench.handle.send(EngineRequest::Quarantined(released)).await.expect("runs");
    bench.until(later, CommandState::Succeeded).await;
    assert_eq!(bench.system.site().encodes["u1"], 1);
    assert_eq!(bench.system.site().unlocks, 1);
    // Later ones are other commands.
    let next = bench.give(encode("u2")).await;
    bench.until(next, CommandState::Succeeded).await;
    // The same bytes once more, under whatever number, stay what they are.
    let again = bench.authority.sent[1].1.command.clone();
    bench.authority.deliveries += 1;
    bench.deliver(vec![Delivery { delivery_sequence: bench.authority.deliveries, command: again }]).await;
    bench.wait(Duration::from_secs(60)).await;
    assert_eq!(bench.system.site().encodes["u1"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_revoke_does_not_give_back_what_a_lost_change_took_away() {
    let mut bench = Bench::new();
    let first = bench.give(grant("u1", &["101"])).await;
    bench.until(first, CommandState::Succeeded).await;
    let other = |body: &Body, id: &str, doors: &[&str], revision| {
        let Body::PutGrant(mut put) = body.clone() else { panic!("a grant") };
        put.grant_id = id.into();
        put.entrance_external_ids = doors.iter().map(|door| (*door).to_owned()).collect();
        put.revision = revision;
        put.methods[0].credential_id = format!("credential-{id}");
        Body::PutGrant(put)
    };
    let second = bench.give(other(&grant("u1", &[]), "second", &["102", "gym"], 1)).await;
    bench.until(second, CommandState::Succeeded).await;
    let backup = bench.entries();
    // Lost: the second grant no longer opens 102.
    let changed = bench.give(other(&grant("u1", &[]), "second", &["gym"], 2)).await;
    bench.until(changed, CommandState::Succeeded).await;
    let lost: Vec<Delivery> = bench.authority.sent[2..].iter().map(|(_, delivery)| delivery.clone()).collect();
    let reports = bench.reports().len() as u64;

    let mut bench = bench.restore(backup).await;
    bench.wait(Duration::from_secs(1)).await;
    let rolled_back = Quarantine { replay_through: 3, ..told(1, QuarantineReason::StateRolledBack) };
    bench.session(9, reports, Some(rolled_back.clone())).await;
    bench.deliver(lost).await;
    let body = Body::DeleteGrant(DeleteGrant { grant_id: "grant-u1".into(), user_id: "u1".into() });
    let revoked = bench.give(body).await;
    bench.until(revoked, CommandState::Succeeded).await;
    assert_eq!(bench.rights("u1"), [], "rather nothing than 102 again");
    assert!(!bench.lift().await);
    bench.handle.send(EngineRequest::Quarantined(Quarantine { released: true, ..rolled_back })).await.expect("runs");
    bench.until(changed, CommandState::Succeeded).await;
    let doors = format!("{:?}", bench.rights("u1"));
    assert!(doors.contains("gym") && !doors.contains("102") && !doors.contains("101"), "{doors}");
}

#[tokio::test(start_paused = true)]
async fn reports_made_since_the_restore_are_numbered_behind_what_the_cloud_has() {
    let mut bench = Bench::new();
    let first = bench.give(grant("u1", &["101"])).await;
    bench.until(first, CommandState::Succeeded).await;
    let before = bench.reports();
    // The cloud has five; this journal made fewer, and none of them is acknowledged.
    assert!(before.len() < 5);
    bench.session(4, 5, Some(told(1, QuarantineReason::StateReplaced))).await;
    let bodies = |reports: &[Report]| reports.iter().map(|report| report.body.clone()).collect::<Vec<_>>();
    let after = bench.handle.outbox().read(6, 100, usize::MAX);
    let after: Vec<Report> =
        after.iter().map(|(_, bytes)| Report::decode(bytes.as_slice()).expect("a report")).collect();
    assert_eq!(bodies(&after), bodies(&before), "each of them, once, in order");
    assert_eq!(
        after.iter().map(|report| report.sequence).collect::<Vec<_>>(),
        (6..6 + before.len() as u64).collect::<Vec<_>>()
    );
    let resume = bench.handle.ask(EngineRequest::Resume).await.expect("runs");
    assert_eq!((resume.reports_first_kept, resume.reports_last), (6, 5 + before.len() as u64));
    // Told again by the next Welcome, they stay where they are.
    bench.session(5, 5, Some(told(1, QuarantineReason::StateReplaced))).await;
    let again = bench.handle.ask(EngineRequest::Resume).await.expect("runs");
    assert_eq!(again.reports_last, resume.reports_last);
}

#[tokio::test(start_paused = true)]
async fn another_machine_is_a_finding_and_becomes_the_own_one_when_it_is_released() {
    let machine = |id: u8| Machine { machine_id: vec![id; 32], hardware: vec![vec![id; 32]] };
    let bench = Bench::new().move_to(machine(1)).await;
    assert_eq!(bench.held().await, None, "the first machine that shows itself");
    let bench = bench.move_to(Machine::default()).await;
    assert_eq!(bench.held().await, None, "one that shows nothing");
    let bench = bench.move_to(machine(2)).await;
    assert_eq!(bench.held().await.expect("holds").reason, "machine_changed");
    let bench = bench.move_to(machine(1)).await;
    assert!(bench.held().await.is_some(), "people decide, not the way back");
    let bench = bench.move_to(machine(2)).await;
    bench.session(1, 0, Some(Quarantine { released: true, ..told(1, QuarantineReason::MachineChanged) })).await;
    assert!(bench.lift().await);
    let bench = bench.move_to(machine(2)).await;
    assert_eq!(bench.held().await, None);
    let bench = bench.move_to(machine(1)).await;
    assert!(bench.held().await.is_some());
}
