//! What comes from the site: inventory, events, people, time.

use std::time::Duration;

use lockbridge_protocol::proto::tunnel::{AccessEvent, CommandState, ObservedUser};

use super::*;
use crate::limits::OUTBOX_EVENT_BATCHES;

fn user_item(id: &str, suspended: bool) -> InventoryItem {
    InventoryItem {
        external_id: id.into(),
        kind: Some(Kind::User(ObservedUser { suspended, ..ObservedUser::default() })),
        ..InventoryItem::default()
    }
}

async fn take(bench: &Bench, intake: Intake) {
    let request = EngineRequest::Intake { lock_system: "tower".into(), intake };
    bench.handle.send(request).await.expect("runs");
    bench.handle.ask(EngineRequest::Status).await.expect("handled");
    bench.wait(Duration::from_millis(1)).await;
}

/// External ids in inventory reports from the given one on: `-` before what is gone, `.` after a complete scan.
fn deltas(bench: &Bench, from: usize) -> Vec<String> {
    let mut told = Vec::new();
    for report in bench.reports().into_iter().skip(from) {
        if let Some(ReportBody::InventoryDelta(delta)) = report.body {
            told.extend(
                delta.items.iter().map(|item| format!("{}{}", if item.removed { "-" } else { "" }, item.external_id)),
            );
            told.extend(delta.scan_complete.then(|| ".".to_owned()));
        }
    }
    told
}

#[tokio::test(start_paused = true)]
async fn only_changes_of_the_inventory_go_up_and_absence_is_a_tombstone() {
    let bench = Bench::new();
    bench.wait(Duration::from_secs(2)).await;
    assert_eq!(deltas(&bench, 0), ["101", "102", "gym", "spa", "pool", "desk", "."]);
    let from = bench.reports().len();
    let door = |id: &str| InventoryItem {
        external_id: id.into(),
        kind: Some(Kind::Entrance(ObservedEntrance { can_unlock_with_card: true, ..ObservedEntrance::default() })),
        ..InventoryItem::default()
    };
    take(&bench, Intake::Observed(vec![door("101"), door("102"), user_item("X1", false)])).await;
    take(&bench, Intake::ScanComplete).await;
    assert_eq!(deltas(&bench, from), ["X1", "-gym", "-spa", "-pool", "-desk", "."]);
    let from = bench.reports().len();
    take(&bench, Intake::Observed(vec![door("101"), door("102"), user_item("X1", false)])).await;
    take(&bench, Intake::ScanComplete).await;
    assert_eq!(deltas(&bench, from), Vec::<String>::new(), "nothing changed, nothing is told");
    take(&bench, Intake::Observed(vec![door("101"), door("102"), user_item("X1", true)])).await;
    take(&bench, Intake::ScanComplete).await;
    assert_eq!(deltas(&bench, from), ["X1", "."]);
}

#[tokio::test(start_paused = true)]
async fn a_large_inventory_goes_up_in_bounded_pieces() {
    let bench = Bench::new();
    bench.wait(Duration::from_secs(2)).await;
    for piece in 0..40 {
        let items =
            (0..100).map(|number| user_item(&format!("user-{piece}-{number}-{}", "x".repeat(40)), false)).collect();
        take(&bench, Intake::Observed(items)).await;
    }
    take(&bench, Intake::ScanComplete).await;
    let sizes: Vec<usize> = bench.reports().iter().map(Message::encoded_len).collect();
    assert!(sizes.iter().all(|size| *size < lockbridge_protocol::limits::REPORT_BYTES - 1024), "{sizes:?}");
    assert_eq!(deltas(&bench, 0).iter().filter(|id| id.starts_with("user-")).count(), 4000);
}

#[tokio::test(start_paused = true)]
async fn door_events_beyond_the_bound_leave_a_recorded_gap() {
    let bench = Bench::new();
    bench.wait(Duration::from_secs(2)).await;
    let event = |number: u64| AccessEvent {
        event_external_id: number.to_string(),
        occurred_at_ms: i64::try_from(number).expect("small"),
        ..AccessEvent::default()
    };
    for number in 1..=OUTBOX_EVENT_BATCHES + 2 {
        let events = vec![event(number), event(number)];
        let request = EngineRequest::Intake {
            lock_system: "tower".into(),
            intake: Intake::Events { events, cursor: format!("c{number}") },
        };
        bench.handle.send(request).await.expect("runs");
    }
    let cursor = bench
        .handle
        .ask(|answer| EngineRequest::EventCursor { lock_system: "tower".into(), answer })
        .await
        .expect("runs");
    assert_eq!(cursor, format!("c{}", OUTBOX_EVENT_BATCHES + 2));
    bench.wait(Duration::from_millis(1)).await;
    let reports = bench.reports();
    assert!(reports.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1), "numbers stay without gaps");
    let gaps: Vec<_> = reports
        .iter()
        .filter_map(|report| match &report.body {
            Some(ReportBody::EventGap(gap)) => Some((gap.count, gap.from_ms)),
            _ => None,
        })
        .collect();
    assert_eq!(gaps, [(2, 1), (2, 2)], "the oldest go first");
}

#[tokio::test(start_paused = true)]
async fn a_known_grant_is_encoded_on_site_without_the_cloud() {
    let mut bench = Bench::new();
    let ask = |grant: &str| EncodeLocally {
        grant_id: grant.into(),
        lock_system: String::new(),
        encoder: String::new(),
        command_id: String::new(),
        operation: None,
    };
    let local = async |bench: &Bench, grant: &str| {
        let request = ask(grant);
        bench
            .handle
            .ask(|done| EngineRequest::EncodeLocally { request, who: "uid 1000".into(), done })
            .await
            .expect("runs")
    };
    let Err(ControlError::Refused { code, .. }) = local(&bench, "grant-u1").await else { panic!("not known yet") };
    assert!(code == "grant_not_found" || code == "encoder_not_found", "{code}");
    let id = bench.give(grant("u1", &["101"])).await;
    bench.until(id, CommandState::Succeeded).await;
    bench.handle.send(EngineRequest::SessionLost).await.expect("runs");
    let report = local(&bench, "grant-u1").await.expect("encoded");
    let Some(ReportBody::CommandUpdate(update)) = report.body else { panic!("an update") };
    assert_eq!(update.state(), CommandState::Succeeded);
    let origin = update.local.expect("given on site");
    assert_eq!(origin.operator, "uid 1000");
    assert_eq!(origin.encode_credential.expect("what").credential_id, "credential-u1");
    assert_eq!(bench.system.site().encodes["u1"], 1);
    // The same card again: an update, decided by what the lock server says.
    local(&bench, "grant-u1").await.expect("encoded again");
    let who = "uid 0".to_owned();
    bench.handle.ask(|done| EngineRequest::Brake { on: true, who, done }).await.expect("runs");
    let Err(ControlError::Refused { code, .. }) = local(&bench, "grant-u1").await else { panic!("braked") };
    assert_eq!(code, "policy:brake");
    assert_eq!(bench.system.site().encodes["u1"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_later_window_of_a_door_is_written_when_it_is_due() {
    let mut bench = Bench::new();
    let window = |number: u8, from: i64, until: i64| {
        let mut body = grant("u1", &["101"]);
        if let Body::PutGrant(put) = &mut body {
            put.grant_id = format!("grant-{number}");
            put.starts_at_ms = START + from * HOUR;
            put.ends_at_ms = START + until * HOUR;
        }
        body
    };
    let first = bench.give(window(1, 0, 2)).await;
    let second = bench.give(window(2, 5, 7)).await;
    bench.until(first, CommandState::Succeeded).await;
    bench.until(second, CommandState::Succeeded).await;
    let written = |bench: &Bench| {
        bench.system.site().users["u1"].target.clone().expect("written").rights[0]
            .window
            .expect("a window")
            .starts_at_ms
    };
    assert_eq!(written(&bench), START);
    // The way there leads over a restart: the moment is remembered.
    bench.wait(Duration::from_secs(3600)).await;
    let bench = bench.kill_and_restart().await;
    assert_eq!(written(&bench), START);
    bench.wait(Duration::from_secs(3700)).await;
    assert_eq!(written(&bench), START + 5 * HOUR);
}

#[tokio::test(start_paused = true)]
async fn a_group_that_grew_no_longer_carries_the_grant() {
    let mut bench = Bench::new();
    let id = bench.give(grant("u1", &["gym", "spa"])).await;
    bench.until(id, CommandState::Succeeded).await;
    let rights = |bench: &Bench| bench.system.site().users["u1"].target.clone().expect("written").rights;
    assert_eq!(rights(&bench).len(), 1);
    let grown = InventoryItem {
        external_id: "pool".into(),
        kind: Some(Kind::Group(ObservedGroup {
            entrance_external_ids: vec!["gym".into(), "spa".into(), "101".into()],
        })),
        ..InventoryItem::default()
    };
    let door = |id: &str| InventoryItem {
        external_id: id.into(),
        kind: Some(Kind::Entrance(ObservedEntrance { can_unlock_with_card: true, ..ObservedEntrance::default() })),
        ..InventoryItem::default()
    };
    take(&bench, Intake::Observed(vec![door("101"), door("gym"), door("spa"), grown])).await;
    take(&bench, Intake::ScanComplete).await;
    bench.wait(Duration::from_secs(2)).await;
    let targets: Vec<_> = rights(&bench).into_iter().map(|right| right.target).collect();
    let entrance = |id: &str| crate::system::RightTarget::Entrance(id.into());
    assert_eq!(targets, [entrance("gym"), entrance("spa")]);
}

#[tokio::test(start_paused = true)]
async fn the_head_of_the_chain_is_told_when_something_changed_and_only_then() {
    let mut bench = Bench::new();
    let id = bench.give(grant("u1", &["101"])).await;
    bench.until(id, CommandState::Succeeded).await;
    let heads = |bench: &Bench| {
        bench.reports().iter().filter(|report| matches!(report.body, Some(ReportBody::AuditCheckpoint(_)))).count()
    };
    bench.wait(Duration::from_secs(90)).await;
    let before = heads(&bench);
    assert!(before >= 1);
    bench.wait(Duration::from_secs(600)).await;
    assert_eq!(heads(&bench), before, "an idle bridge writes nothing");
}
