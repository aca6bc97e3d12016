use lockbridge_protocol::proto::journal::ReportsAcknowledged;
use lockbridge_protocol::proto::tunnel::Priority;
use proptest::prelude::*;

use super::*;
use crate::state::MemoryStore;

const DAY: i64 = 24 * 3_600_000;

fn entry(wall_ms: i64, body: entry::Body) -> Entry {
    Entry { wall_ms, body: Some(body) }
}

fn folded(entries: &[Entry]) -> MemoryStore {
    let mut store = MemoryStore::default();
    for (index, entry) in entries.iter().enumerate() {
        apply(&mut store, index as u64 + 1, entry).expect("the map takes all");
    }
    store
}

fn received(id: u8, lane_sequence: u64, priority: Priority, object: &str) -> entry::Body {
    entry::Body::Received(Received {
        delivery_sequence: u64::from(id),
        command_id: vec![id; 16],
        command_hash: vec![id; 32],
        sealed: vec![1],
        lock_system: "tower".into(),
        lane: "user:u".into(),
        lane_sequence,
        priority: priority as u32,
        object: object.into(),
        expires_at_ms: DAY,
        ..Received::default()
    })
}

fn ended(id: u8, state: CommandState, report_sequence: u64) -> entry::Body {
    entry::Body::Outcome(Outcome {
        command_id: vec![id; 16],
        state: state as u32,
        sealed_report: vec![2],
        report_sequence,
        ..Outcome::default()
    })
}

#[test]
fn an_ended_command_leaves_a_report_and_a_tombstone_for_its_time() {
    let mut entries =
        vec![entry(0, received(1, 1, Priority::Convergent, "")), entry(1, ended(1, CommandState::Succeeded, 1))];
    let store = folded(&entries);
    let view = View::new(&store);
    assert_eq!(view.command(&CommandId([1; 16])).expect("reads"), None);
    assert_eq!(view.payload(&CommandId([1; 16])).expect("reads"), None);
    assert!(view.tombstone(&CommandId([1; 16])).expect("reads").is_some());
    assert_eq!(view.reports(1, 10).expect("reads").len(), 1);
    assert_eq!(next_of(&view.lane("tower", "user:u").expect("reads")), 2);
    entries.push(entry(2, entry::Body::ReportsAcknowledged(ReportsAcknowledged { through: 1 })));
    entries.push(entry(29 * DAY, entry::Body::Stopped(lockbridge_protocol::proto::journal::Stopped {})));
    let store = folded(&entries);
    assert!(View::new(&store).tombstone(&CommandId([1; 16])).expect("reads").is_some());
    assert_eq!(View::new(&store).reports(1, 10).expect("reads").len(), 0);
    entries.push(entry(31 * DAY, entry::Body::Stopped(lockbridge_protocol::proto::journal::Stopped {})));
    let store = folded(&entries);
    assert_eq!(View::new(&store).tombstone(&CommandId([1; 16])).expect("reads"), None);
    assert_eq!(View::new(&store).meta().expect("reads").next_forgetting_ms, 0);
}

#[test]
fn a_revoke_across_a_gap_is_remembered_until_the_gap_is_gone() {
    let mut entries =
        vec![entry(0, received(1, 3, Priority::Safety, "grant:g")), entry(1, ended(1, CommandState::Succeeded, 1))];
    let lane = View::new(&folded(&entries)).lane("tower", "user:u").expect("reads");
    assert!(is_superseded(&lane, 2, "grant:g"));
    assert!(!is_superseded(&lane, 2, "grant:other"));
    assert!(!is_superseded(&lane, 4, "grant:g"), "a later wish stands");
    for (id, sequence) in [(2, 1), (3, 2)] {
        entries.push(entry(2, received(id, sequence, Priority::Convergent, "")));
        entries.push(entry(3, ended(id, CommandState::Succeeded, u64::from(id))));
    }
    let lane = View::new(&folded(&entries)).lane("tower", "user:u").expect("reads");
    assert_eq!((next_of(&lane), lane.ended_ahead.len(), lane.revoked.len()), (4, 0, 0));
}

#[test]
fn rates_count_by_time_and_forget_after_a_day() {
    let intent = |wall_ms| {
        let intent =
            Intent { command_id: vec![1; 16], rate_subjects: vec!["encodes:desk".into()], ..Intent::default() };
        entry(wall_ms, entry::Body::Intent(intent))
    };
    let mut entries = vec![entry(0, received(1, 1, Priority::Interactive, ""))];
    entries.extend([intent(0), intent(1), intent(RATE_BUCKET_MS)]);
    let store = folded(&entries);
    let view = View::new(&store);
    assert_eq!(view.rate("tower", "encodes:desk", 0).expect("reads"), 3);
    assert_eq!(view.rate("tower", "encodes:desk", 1).expect("reads"), 1);
    assert_eq!(view.rate("tower", "encodes:desk2", 0).expect("reads"), 0);
    entries.extend([intent(3 * DAY), intent(3 * DAY)]);
    let store = folded(&entries);
    assert_eq!(View::new(&store).rate("tower", "encodes:desk", 0).expect("reads"), 2);
}

fn any_entry() -> impl Strategy<Value = entry::Body> {
    let id = 1..6u8;
    prop_oneof![
        (id.clone(), 0..8u64, 1..4i32).prop_map(|(id, sequence, priority)| received(
            id,
            sequence,
            Priority::try_from(priority).expect("known"),
            "grant:g"
        )),
        (id.clone(), 0..10u64).prop_map(|(id, report)| ended(id, CommandState::Succeeded, report)),
        (id.clone(), 0..10u64).prop_map(|(id, report)| ended(id, CommandState::InDoubt, report)),
        id.prop_map(|id| entry::Body::Intent(Intent { command_id: vec![id; 16], attempt: 1, ..Intent::default() })),
        (0..12u64).prop_map(|through| entry::Body::ReportsAcknowledged(ReportsAcknowledged { through })),
        (0..12u64).prop_map(|report_sequence| entry::Body::Reported(Reported {
            report_sequence,
            kind: "events".into(),
            sealed_report: vec![3],
            ..Reported::default()
        })),
    ]
}

proptest! {
    /// Total over any order of entries, deterministic, and the counters agree with the pairs.
    #[test]
    fn any_entries_fold(bodies in prop::collection::vec((0..40 * DAY, any_entry()), 0..60)) {
        let entries: Vec<Entry> = bodies.into_iter().map(|(at, body)| entry(at, body)).collect();
        let store = folded(&entries);
        prop_assert_eq!(&store, &folded(&entries));
        let view = View::new(&store);
        let meta = view.meta().expect("reads");
        prop_assert!(meta.reports_acknowledged <= meta.reports_last);
        let reports = view.reports(0, usize::MAX).expect("reads");
        prop_assert!(reports.iter().all(|(sequence, _)| *sequence > meta.reports_acknowledged));
        let events = reports.iter().filter(|(_, record)| record.kind == "events").count() as u64;
        prop_assert_eq!(meta.event_batches, events);
    }
}
