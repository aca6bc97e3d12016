//! What this and earlier versions wrote opens: journals kept as fixtures, one folder for each version (rule M3).
//!
//! `LOCKBRIDGE_BLESS=1` writes the folder of today's version when it is not there. A folder that is there is never written
//! again: it stands for the machines that hold such files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lockbridge::journal::{Journal, JournalOptions, RealDisk, Replayed, Reserve};
use lockbridge::state::fold::{FORMAT, JournalFold};
use lockbridge::state::{Fold as _, MemoryStore, Origin, WorkingSet, WorkingSetOptions};
use lockbridge_protocol::proto::journal::{
    BrakeChanged, Entry, Fact, Intent, LaneMarked, Outcome, Received, Reported, ReportsAcknowledged, Requeued,
    Resolved, SessionOpened, Started, Stopped, entry::Body,
};
use lockbridge_protocol::proto::tunnel::CommandState;
use prost::Message as _;

const DEADLINE: Duration = Duration::from_secs(20);
const DAY_MS: i64 = 86_400_000;

fn folder(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/state-{version}"))
}

fn options() -> JournalOptions {
    JournalOptions {
        segment_bytes: 8192,
        reserve_bytes: 8192,
        entry_bytes: 1024,
        disk: Arc::new(RealDisk),
        ..JournalOptions::default()
    }
}

/// The story that every fixture tells: kinds of entries, a few times over, in all their meanings for the fold.
fn story() -> Vec<Vec<u8>> {
    let id = |number: u8| vec![number; 16];
    let mut bodies = vec![
        Body::Started(Started { boot_counter: 1, software_version: "0.1.0".into(), ..Started::default() }),
        Body::SessionOpened(SessionOpened { epoch: 4 }),
    ];
    for number in 1..=24 {
        bodies.push(Body::Received(Received {
            delivery_sequence: number.into(),
            command_id: id(number),
            command_hash: vec![number; 32],
            sealed: vec![0xC0 ^ number; 90],
            lock_system: "tower".into(),
            lane: format!("user:{}", number % 5),
            lane_sequence: u64::from(number / 5) + 1,
            priority: 3,
            mode: 2,
            kind: "put_grant".into(),
            object: format!("grant:{number}"),
            expires_at_ms: DAY_MS * 30,
            ..Received::default()
        }));
        let class = u32::from(number % 3) + 1;
        let intent = Intent { command_id: id(number), attempt: 1, class, device: "tower".into(), ..Intent::default() };
        bodies.push(Body::Intent(intent));
        let fact = Fact {
            kind: "holder".into(),
            lock_system: "tower".into(),
            id: format!("u{}", number % 5),
            sealed: vec![number; 40],
            replan_at_ms: DAY_MS * i64::from(number),
        };
        let ended = |state: CommandState| Outcome {
            command_id: id(number),
            attempt: 1,
            state: state as u32,
            sealed_report: vec![0x0E; 30],
            report_sequence: number.into(),
            facts: vec![fact.clone()],
            ..Outcome::default()
        };
        bodies.push(match number % 4 {
            0 => Body::Requeued(Requeued { command_id: id(number), attempt: 1, counted: true, ..Requeued::default() }),
            1 => Body::Outcome(ended(CommandState::InDoubt)),
            _ => Body::Outcome(ended(CommandState::Succeeded)),
        });
    }
    let resolved = Resolved {
        command_id: id(1),
        state: CommandState::Abandoned as u32,
        who: "uid 1000".into(),
        ..Resolved::default()
    };
    bodies.extend([
        Body::Resolved(resolved),
        Body::Reported(Reported {
            report_sequence: 30,
            kind: "events".into(),
            lock_system: "tower".into(),
            event_cursor: "7".into(),
            ..Reported::default()
        }),
        Body::ReportsAcknowledged(ReportsAcknowledged { through: 9 }),
        Body::BrakeChanged(BrakeChanged { on: true, who: "uid 1000".into() }),
        Body::LaneMarked(LaneMarked { lock_system: "tower".into(), lane: "user:9".into(), through: 3 }),
        Body::Stopped(Stopped {}),
    ]);
    (1..).zip(bodies).map(|(wall_ms, body)| Entry { wall_ms, body: Some(body) }.encode_to_vec()).collect()
}

/// Writes a journal with a checkpoint in the middle, as this version does.
fn write(state: &Path) -> anyhow::Result<()> {
    let (journal, _) = Journal::open(state, options())?;
    let set = WorkingSetOptions { checkpoint_bytes: u64::MAX, ..WorkingSetOptions::default() };
    let (mut set, _) = WorkingSet::open(state, &journal, JournalFold, set)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    for (number, payload) in story().into_iter().enumerate() {
        let sequence = runtime.block_on(journal.append(payload.clone(), Reserve::Ordinary))?;
        set.apply(sequence, &payload)?;
        if number == 40 {
            set.begin_checkpoint();
            set.settle();
        }
    }
    anyhow::ensure!(journal.wait_durable(set.applied(), DEADLINE), "not durable in time");
    Ok(())
}

fn copy_journal(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to.join("journal"))?;
    for entry in std::fs::read_dir(from.join("journal"))? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join("journal").join(entry.file_name()))?;
    }
    Ok(())
}

#[test]
fn state_of_today_is_kept_as_a_fixture() {
    let kept = folder(FORMAT);
    if std::env::var_os("LOCKBRIDGE_BLESS").is_some() && !kept.exists() {
        let made = tempfile::tempdir().expect("a directory");
        write(made.path()).expect("written");
        copy_journal(made.path(), &kept).expect("copied");
    }
    assert!(
        kept.exists(),
        "run `LOCKBRIDGE_BLESS=1 cargo test --workspace --test versions` and add {}",
        kept.display()
    );
}

#[test]
fn state_of_every_version_read_opens_with_all_it_held() {
    let versions: Vec<u32> = (JournalFold::READS_FROM..=FORMAT).collect();
    assert!(versions.contains(&FORMAT) && versions.len() <= 2, "this version and the one before: {versions:?}");
    let story = story();
    let mut expected = MemoryStore::default();
    for (sequence, payload) in (1..).zip(&story) {
        JournalFold.apply(&mut expected, sequence, payload).expect("folds");
    }
    for version in versions {
        let state = tempfile::tempdir().expect("a directory");
        copy_journal(&folder(version), state.path()).expect("the fixture is there");
        let (journal, opened) = Journal::open(state.path(), options()).expect("opens");
        assert_eq!((opened.damage, opened.last_sequence), (Vec::new(), story.len() as u64), "version {version}");
        for (replayed, (due, payload)) in journal.replay(1).zip((1..).zip(&story)) {
            let Replayed::Entry { sequence, payload: found, .. } = replayed.expect("readable") else { panic!("lost") };
            assert_eq!((sequence, &found), (due, payload), "version {version}");
        }
        let (set, found) =
            WorkingSet::open(state.path(), &journal, JournalFold, WorkingSetOptions::default()).expect("opens");
        assert!(matches!(found.origin, Origin::Rebuilt { .. }) && found.lost.is_empty(), "{found:?}");
        assert!(found.entries < story.len() as u64, "its checkpoint was used: {found:?}");
        assert_eq!(set.scan(&[], &[1], usize::MAX).expect("readable"), expected.pairs(), "version {version}");
    }
}
