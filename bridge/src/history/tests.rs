use lockbridge_protocol::proto::journal::{
    Entry, Intent, Outcome, Received, ReportsAcknowledged, Requeued, Resolved, entry::Body,
};
use lockbridge_protocol::proto::tunnel::{CommandState, Priority};
use proptest::prelude::*;

use super::day::Sample;
use super::*;
use crate::limits::{HISTORY_COMMANDS, HISTORY_MINUTES, HISTORY_STEPS};

const NOW: i64 = 1_800_000_000_000;

fn received(id: u16) -> Body {
    Body::Received(Received {
        command_id: bytes(id),
        lock_system: "main".into(),
        lane: "user:1".into(),
        priority: Priority::Interactive as u32,
        kind: "encode_credential".into(),
        sealed: b"Ada Example".to_vec(),
        ..Received::default()
    })
}

fn sent(id: u16, attempt: u32) -> Body {
    Body::Intent(Intent { command_id: bytes(id), attempt, device: "Front desk 1".into(), ..Intent::default() })
}

fn outcome(id: u16, state: CommandState, report_sequence: u64) -> Body {
    let state = state as u32;
    Body::Outcome(Outcome { command_id: bytes(id), attempt: 1, state, report_sequence, ..Outcome::default() })
}

fn acknowledged(through: u64) -> Body {
    Body::ReportsAcknowledged(ReportsAcknowledged { through })
}

fn bytes(id: u16) -> Vec<u8> {
    let mut bytes = vec![0; 16];
    bytes[..2].copy_from_slice(&id.to_be_bytes());
    bytes
}

/// Entries one second apart, as the engine would tell them; the live commands are those of the entries.
fn tell(history: &History, bodies: Vec<Body>) {
    let mut live = std::collections::HashMap::new();
    for (entry, second) in bodies.into_iter().map(|body| Entry { wall_ms: 0, body: Some(body) }).zip(0_i64..) {
        let entry = Entry { wall_ms: NOW + second * 1000, ..entry };
        let Some(note) = Note::of(&entry, |id| live.get(id).cloned()) else { continue };
        if let What::Step { id, command: Some(command), .. } = &note.what {
            live.insert(*id, command.clone());
        }
        history.take(note, entry.wall_ms + 5);
    }
}

fn steps(story: &Story) -> Vec<&'static str> {
    story.steps.iter().map(|step| step.what).collect()
}

#[test]
fn a_story_is_told_step_by_step_to_the_clouds_acknowledgement() {
    let history = History::default();
    let done = outcome(1, CommandState::Succeeded, 7);
    tell(&history, vec![received(1), sent(1, 1), done, acknowledged(6), acknowledged(7), acknowledged(8)]);
    let stories = history.stories(0);
    let [story] = stories.commands.as_slice() else { panic!("{stories:?}") };
    assert_eq!(steps(story), ["received", "sent", "succeeded", "acknowledged"]);
    assert_eq!((story.state, story.received_ms, story.priority), ("succeeded", NOW, 1));
    assert_eq!((story.steps[1].device.as_str(), story.steps[1].durable_ms), ("Front desk 1", NOW + 1005));
    let totals = history.totals();
    assert_eq!(totals.ended.get("succeeded"), Some(&1));
    assert_eq!((totals.latency[1].sum_ms, totals.latency[2].sum_ms), (2000, 0));
    let json = serde_json::to_string(&stories).expect("JSON");
    assert!(!json.contains("Ada"), "{json}");
}

#[test]
fn a_doubt_and_who_settled_it_are_part_of_the_story() {
    let history = History::default();
    let settled = Body::Resolved(Resolved {
        command_id: bytes(1),
        state: CommandState::Succeeded as u32,
        means: "person".into(),
        who: "uid 1000".into(),
        report_sequence: 3,
        ..Resolved::default()
    });
    tell(&history, vec![received(1), sent(1, 1), outcome(1, CommandState::InDoubt, 2)]);
    assert_eq!(history.stories(0).commands[0].state, "in_doubt");
    tell(&history, vec![acknowledged(2)]);
    tell(&history, vec![received(2), settled]);
    let stories = history.stories(0).commands;
    let story = stories.iter().find(|story| story.command_id.starts_with("0001")).expect("the story");
    assert_eq!(steps(story), ["received", "sent", "in_doubt", "acknowledged", "succeeded"]);
    assert_eq!(story.steps[4].by, "uid 1000");
    assert_eq!(history.totals().doubts, 1);
}

#[test]
fn only_what_changed_since_is_told_again() {
    let history = History::default();
    tell(&history, vec![received(1), received(2)]);
    let first = history.stories(0);
    assert_eq!(first.commands.len(), 2);
    assert_eq!(history.stories(first.version).commands, []);
    tell(&history, vec![sent(1, 1)]);
    let second = history.stories(first.version);
    assert_eq!(second.commands.iter().map(|story| story.state).collect::<Vec<_>>(), ["executing"]);
    assert!(second.version > first.version);
}

#[test]
fn the_story_that_rested_longest_goes_when_there_is_no_room() {
    let history = History::default();
    let count = u16::try_from(HISTORY_COMMANDS).expect("small");
    tell(&history, (0..count).map(received).collect());
    tell(&history, vec![sent(0, 1), received(count)]);
    let stories = history.stories(0).commands;
    assert_eq!(stories.len(), HISTORY_COMMANDS);
    let holds = |id: u16| stories.iter().any(|story| story.command_id.starts_with(&format!("{id:04x}")));
    assert!(holds(0) && holds(count) && !holds(1), "the second is the one that rested longest");
}

#[test]
fn a_long_story_keeps_its_beginning_and_its_end() {
    let history = History::default();
    let again = |attempt| Body::Requeued(Requeued { command_id: bytes(1), attempt, ..Requeued::default() });
    let mut bodies = vec![received(1)];
    for attempt in 1..=30 {
        bodies.extend([sent(1, attempt), again(attempt)]);
    }
    tell(&history, bodies);
    let story = history.stories(0).commands.remove(0);
    assert_eq!(story.steps.len(), HISTORY_STEPS);
    assert_eq!(story.left_out, 61 - u32::try_from(HISTORY_STEPS).expect("small"));
    assert_eq!((story.steps[0].what, story.steps[HISTORY_STEPS - 1].attempt), ("received", 30));
    assert_eq!(history.totals().requeued, 30);
}

#[test]
fn minutes_tell_the_hops_and_the_work() {
    let history = History::default();
    let sample = |link_up, second: bool, queued| Sample {
        link_up,
        systems_up: vec![Some(true), Some(second), None],
        queued,
        in_doubt: 0,
    };
    let second = Duration::from_secs(1);
    history.sample(&sample(true, true, 3), NOW, second);
    history.sample(&sample(false, true, 9), NOW + 1000, second);
    history.sample(&sample(false, false, 4), NOW + 60_000, second);
    tell(&history, vec![received(1), outcome(1, CommandState::Failed, 1)]);
    let day = history.day(NOW + 60_000);
    assert_eq!(day.watched_since_ms, NOW);
    let [first, next] = day.minutes.as_slice() else { panic!("{day:?}") };
    assert_eq!((first.1, first.2, first.3, first.4, first.5), (1000, 1000, 0b11, 0, 9));
    assert_eq!((first.7, first.8, first.9.as_slice()), (0, 1, [11, 1].as_slice()), "one second, failed");
    assert_eq!((next.2, next.3, next.4), (1000, 0b01, 0b10));
    assert_eq!(history.day(NOW + 25 * 3_600_000).minutes, [], "a day later it is forgotten");
}

#[test]
fn after_a_start_the_tail_of_the_journal_comes_before_what_is_new() {
    let before = [received(1), sent(1, 1), outcome(1, CommandState::Succeeded, 1), received(2), sent(2, 1)];
    let before =
        before.into_iter().zip(0_i64..).map(|(body, second)| Entry { wall_ms: NOW + second * 1000, body: Some(body) });
    let history = History::default();
    // The new process is already at work when the tail has been read.
    let command = Command {
        id: lockbridge_protocol::ids::CommandId::from_bytes(&bytes(2)).expect("an id"),
        kind: "encode_credential".into(),
        lock_system: "main".into(),
        priority: 1,
        on_site: false,
        received_ms: NOW + 3000,
    };
    let doubt = Entry { wall_ms: NOW + 9000, body: Some(outcome(2, CommandState::InDoubt, 2)) };
    history.take(Note::of(&doubt, |_| Some(command)).expect("a note"), NOW + 9000);
    let early = Entry { wall_ms: NOW - 25 * 3_600_000, body: Some(received(3)) };
    seed::fold(&history, std::iter::once(early).chain(before), NOW + 10_000);
    let stories = history.stories(0).commands;
    let told: Vec<_> = stories.iter().map(|story| (story.state, steps(story))).collect();
    assert_eq!(
        told,
        [("succeeded", vec!["received", "sent", "succeeded"]), ("in_doubt", vec!["received", "sent", "in_doubt"])]
    );
    assert_eq!(history.day(NOW + 10_000).minutes[0].7, 1, "done before the start");
    assert_eq!(history.totals().ended.get("succeeded"), None, "counters are of this process");
}

proptest! {
    /// Clocks are set back and forth: minutes stay ordered, single and bounded, and what was counted last is there.
    #[test]
    fn minutes_stay_ordered_and_bounded(minutes in proptest::collection::vec(0_i64..5_000, 1..3_000)) {
        let mut day = Day::default();
        for minute in &minutes {
            day.ended("succeeded", minute * 60_000, Some(1));
        }
        let newest = minutes.iter().max().copied().unwrap_or_default();
        let view = day.view(newest * 60_000);
        prop_assert!(view.minutes.len() <= HISTORY_MINUTES);
        prop_assert!(view.minutes.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let counted = view.minutes.iter().find(|row| row.0 == newest).map(|row| row.7);
        let wanted = u32::try_from(minutes.iter().filter(|minute| **minute == newest).count()).expect("few");
        prop_assert_eq!(counted, Some(wanted));
    }
}
