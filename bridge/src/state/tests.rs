use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::transaction::merge;
use super::*;
use crate::journal::{Journal, JournalOptions, Reserve};

const DEADLINE: Duration = Duration::from_secs(20);

/// A fold with every kind of access: counters read back, keys set, overwritten, deleted, and found by scanning.
#[derive(Debug, Clone, Copy)]
struct Model;

impl Fold for Model {
    const SCHEMA_VERSION: u32 = 3;

    fn apply(&self, store: &mut dyn Store, sequence: u64, payload: &[u8]) -> Result<(), StoreError> {
        let count = store.get(b"count")?.map_or(0, |value| value.len());
        store.put(b"count", &vec![1; (count + 1) % 50])?;
        let Some((operation, rest)) = payload.split_first() else { return Ok(()) };
        let key = [b"k/".as_slice(), rest.get(..1).unwrap_or_default()].concat();
        match operation % 4 {
            0 => store.delete(&key)?,
            1 => {
                for (key, _) in store.scan(b"k/", &key, 2)? {
                    store.delete(&key)?;
                }
                store.put(&[b"k/~".as_slice(), &sequence.to_be_bytes()].concat(), rest)?;
            }
            2 => {
                store.put(&key, rest)?;
                let found = store.scan(b"k/", b"", 3)?;
                store.put(b"first", &found.first().map_or(Vec::new(), |(key, _)| key.clone()))?;
            }
            _ => store.put(&key, rest)?,
        }
        Ok(())
    }
}

fn model(payloads: &[Vec<u8>]) -> Vec<Pair> {
    let mut store = MemoryStore::default();
    for (payload, sequence) in payloads.iter().zip(1..) {
        Model.apply(&mut store, sequence, payload).expect("memory does not fail");
    }
    store.pairs()
}

fn content<F: Fold>(working_set: &WorkingSet<F>) -> Vec<Pair> {
    working_set.scan(&[], &[1], usize::MAX).expect("readable")
}

fn options() -> JournalOptions {
    JournalOptions { segment_bytes: 8192, reserve_bytes: 8192, entry_bytes: 1024, ..JournalOptions::default() }
}

fn sizes(checkpoint_bytes: u64) -> WorkingSetOptions {
    WorkingSetOptions { checkpoint_bytes, audit_retention_bytes: 0, ..WorkingSetOptions::default() }
}

fn open(state: &Path, checkpoint_bytes: u64) -> (Journal, WorkingSet<Model>, WorkingSetOpened) {
    let (journal, opened) = Journal::open(state, options()).expect("the journal opens");
    assert_eq!(opened.damage, Vec::new());
    let (working_set, opened) =
        WorkingSet::open(state, &journal, Model, sizes(checkpoint_bytes)).expect("the working set opens");
    (journal, working_set, opened)
}

fn append(journal: &Journal, working_set: &mut WorkingSet<Model>, payload: &[u8]) -> u64 {
    let begin = Instant::now();
    loop {
        if let Some(sequence) = journal.try_append(payload, Reserve::Ordinary).expect("appends") {
            working_set.apply(sequence, payload).expect("applies");
            return sequence;
        }
        assert!(begin.elapsed() < DEADLINE, "no room in time");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let path: PathBuf = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else if let Err(error) = std::fs::copy(&path, &target) {
            // Renamed or removed by a thread while we looked: as if it had been looked at later.
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        }
    }
}

fn payloads(count: u32, salt: u32) -> Vec<Vec<u8>> {
    let payload = |number: u32| {
        let mixed = (number ^ salt.rotate_left(7)).wrapping_mul(2_654_435_761);
        [&mixed.to_be_bytes()[..], &vec![b'p'; (mixed % 300) as usize]].concat()
    };
    (0..count).map(payload).collect()
}

#[test]
fn kept_after_a_kill_and_after_closing_rebuilt_when_deleted() {
    let state = tempfile::tempdir().expect("a directory");
    let all = payloads(300, 1);
    let expected = model(&all);
    let (journal, mut working_set, opened) = open(state.path(), u64::MAX);
    assert!(matches!(opened.origin, Origin::Rebuilt { .. }));
    for payload in &all {
        append(&journal, &mut working_set, payload);
    }
    assert!(journal.wait_durable(300, DEADLINE));
    assert_eq!(content(&working_set), expected);
    working_set.close().expect("closes");
    drop(journal);

    let (journal, working_set, opened) = open(state.path(), u64::MAX);
    assert_eq!(opened, WorkingSetOpened { origin: Origin::Kept, entries: 0, lost: Vec::new() });
    assert_eq!((content(&working_set), working_set.applied()), (expected.clone(), 300));
    drop((journal, working_set));

    let (journal, working_set, opened) = open(state.path(), u64::MAX);
    assert_eq!(opened.origin, Origin::Kept, "the same boot, not closed");
    assert_eq!(content(&working_set), expected);
    drop((journal, working_set));

    std::fs::remove_dir_all(state.path().join("working-set")).expect("removed");
    let (journal, working_set, opened) = open(state.path(), u64::MAX);
    assert!(matches!(opened.origin, Origin::Rebuilt { .. }) && opened.entries == 300, "{opened:?}");
    assert_eq!(content(&working_set), expected);
    drop((journal, working_set));
}

#[test]
fn another_boot_without_closing_is_not_believed() {
    let state = tempfile::tempdir().expect("a directory");
    let (journal, mut working_set, _) = open(state.path(), u64::MAX);
    append(&journal, &mut working_set, b"\x03key");
    drop((working_set, journal));
    std::fs::write(state.path().join("working-set.trust"), "00000000-0000-0000-0000-000000000000 0").expect("written");
    let (journal, working_set, opened) = open(state.path(), u64::MAX);
    assert!(matches!(opened.origin, Origin::Rebuilt { ref reason } if reason.contains("started anew")), "{opened:?}");
    assert_eq!(content(&working_set), model(&[b"\x03key".to_vec()]));
    drop((journal, working_set));
}

#[test]
fn unclean_ends_in_a_row_end_in_a_rebuild() {
    let state = tempfile::tempdir().expect("a directory");
    let rebuilds = (0..30).filter(|_| matches!(open(state.path(), u64::MAX).2.origin, Origin::Rebuilt { .. })).count();
    assert!((2..=5).contains(&rebuilds), "{rebuilds}");
}

#[test]
fn a_damaged_sled_is_rebuilt() {
    let state = tempfile::tempdir().expect("a directory");
    let all = payloads(200, 2);
    let (journal, mut working_set, _) = open(state.path(), u64::MAX);
    for payload in &all {
        append(&journal, &mut working_set, payload);
    }
    working_set.close().expect("closes");
    drop(journal);
    std::fs::write(state.path().join("working-set/db"), vec![0xA5; 100_000]).expect("written");
    let (journal, working_set, opened) = open(state.path(), u64::MAX);
    assert!(matches!(opened.origin, Origin::Rebuilt { .. }));
    assert_eq!(content(&working_set), model(&all));
    drop((journal, working_set));
}

#[test]
fn where_the_disk_refuses_sled_it_is_held_in_memory() {
    let state = tempfile::tempdir().expect("a directory");
    let all = payloads(600, 9);
    // No directory can be made in its place, whatever the reason.
    let in_the_way = state.path().join("working-set");
    std::fs::write(&in_the_way, b"").expect("written");
    let (journal, mut working_set, opened) = open(state.path(), 20_000);
    assert!(matches!(opened.origin, Origin::Memory { .. }), "{opened:?}");
    for payload in &all {
        append(&journal, &mut working_set, payload);
    }
    working_set.settle();
    assert_eq!(content(&working_set), model(&all));
    working_set.close().expect("closes");
    assert!(!journal.checkpoints().newest_first().is_empty(), "checkpoints are made all the same");
    drop(journal);

    let (journal, working_set, opened) = open(state.path(), 20_000);
    assert!(matches!(opened.origin, Origin::Memory { .. }) && opened.lost.is_empty(), "{opened:?}");
    assert_eq!(content(&working_set), model(&all));
    drop((journal, working_set));

    std::fs::remove_file(&in_the_way).expect("removed");
    let (journal, working_set, opened) = open(state.path(), 20_000);
    assert!(matches!(opened.origin, Origin::Rebuilt { .. }), "{opened:?}");
    assert_eq!(content(&working_set), model(&all));
    drop((journal, working_set));
}

#[test]
fn a_working_set_ahead_of_the_journal_is_rebuilt() {
    let (state, later) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let all = payloads(50, 3);
    let (journal, mut working_set, _) = open(state.path(), u64::MAX);
    for payload in &all {
        append(&journal, &mut working_set, payload);
    }
    assert!(journal.wait_durable(50, DEADLINE));
    copy(&state.path().join("journal"), &later.path().join("journal"));
    append(&journal, &mut working_set, b"\x03the journal of the copy never saw this");
    working_set.close().expect("closes");
    drop(journal);
    for name in ["working-set", "working-set.trust"] {
        let (from, to) = (state.path().join(name), later.path().join(name));
        if from.is_dir() { copy(&from, &to) } else { std::fs::copy(from, to).map(drop).expect("copied") }
    }
    let (journal, working_set, opened) = open(later.path(), u64::MAX);
    assert!(matches!(opened.origin, Origin::Rebuilt { ref reason } if reason.contains("not a state")), "{opened:?}");
    assert_eq!(content(&working_set), model(&all));
    drop((journal, working_set));
}

#[test]
fn entries_out_of_order_are_refused() {
    let state = tempfile::tempdir().expect("a directory");
    let (_journal, mut working_set, _) = open(state.path(), u64::MAX);
    assert!(matches!(working_set.apply(2, b"x"), Err(StoreError::OutOfOrder { sequence: 2, expected: 1 })));
}

#[test]
fn checkpoints_carry_old_keys_forward_and_let_segments_go() {
    let state = tempfile::tempdir().expect("a directory");
    let all = payloads(3_000, 4);
    let (journal, mut working_set, _) = open(state.path(), 40_000);
    for payload in &all {
        append(&journal, &mut working_set, payload);
    }
    assert!(journal.wait_durable(3_000, DEADLINE));
    working_set.begin_checkpoint();
    working_set.settle();
    let checkpoints = journal.checkpoints().newest_first();
    assert_eq!(checkpoints.len(), 2, "the last two are kept");
    assert!(journal.begins_at().expect("segments").next > 1_000, "old segments went");
    let expected = model(&all);
    drop((working_set, journal));
    std::fs::remove_file(state.path().join("working-set.trust")).expect("removed");
    let (journal, working_set, opened) = open(state.path(), 40_000);
    assert!(matches!(opened.origin, Origin::Rebuilt { .. }) && opened.entries < 2_000 && opened.lost.is_empty());
    assert_eq!(content(&working_set), expected);
    drop((journal, working_set));

    // The newest turns out damaged: the one before and the journal serve.
    let newest = state.path().join(format!("journal/{:016x}.checkpoint", checkpoints[0].header.sequence));
    let mut bytes = std::fs::read(&newest).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&newest, bytes).expect("written");
    std::fs::remove_file(state.path().join("working-set.trust")).expect("removed");
    let (journal, working_set, opened) = open(state.path(), 40_000);
    assert!(opened.lost.is_empty(), "{opened:?}");
    assert_eq!(content(&working_set), expected);
    drop((journal, working_set));
}

#[test]
fn a_checkpoint_of_another_schema_is_refused_by_name() {
    #[derive(Debug, Clone)]
    struct Other;
    impl Fold for Other {
        const SCHEMA_VERSION: u32 = 4;
        fn apply(&self, _: &mut dyn Store, _: u64, _: &[u8]) -> Result<(), StoreError> {
            Ok(())
        }
    }
    let state = tempfile::tempdir().expect("a directory");
    let (journal, mut working_set, _) = open(state.path(), 20_000);
    for payload in &payloads(1_000, 5) {
        append(&journal, &mut working_set, payload);
    }
    working_set.settle();
    assert!(journal.begins_at().expect("segments").next > 1);
    drop(working_set);
    let error = WorkingSet::open(state.path(), &journal, Other, sizes(20_000)).expect_err("refused");
    assert!(matches!(error, OpenWorkingSetError::Schema { found: 3, read: 4 }), "{error}");
}

#[test]
fn the_version_before_is_taken_over_from_its_checkpoint() {
    /// Writes one key an entry, and keeps what `Model` wrote under other names.
    #[derive(Debug, Clone)]
    struct Next;
    impl Fold for Next {
        const SCHEMA_VERSION: u32 = 4;
        const READS_FROM: u32 = 3;
        fn apply(&self, store: &mut dyn Store, sequence: u64, _: &[u8]) -> Result<(), StoreError> {
            store.put(&[b"next/".as_slice(), &sequence.to_be_bytes()].concat(), b"")
        }
        fn migrate(&self, from: u32, (key, value): Pair) -> Option<Pair> {
            assert_eq!(from, 3);
            (key != b"first").then(|| ([b"from 3/".as_slice(), &key].concat(), value))
        }
    }
    let state = tempfile::tempdir().expect("a directory");
    let (journal, mut working_set, _) = open(state.path(), 20_000);
    let all = payloads(1_000, 6);
    for payload in &all {
        append(&journal, &mut working_set, payload);
    }
    working_set.settle();
    assert!(journal.wait_durable(1_000, DEADLINE));
    drop(working_set);
    let checkpoint = journal.checkpoints().newest_first()[0].header.sequence;
    let renamed = model(&all[..usize::try_from(checkpoint).expect("small")]).into_iter();
    let mut expected: Vec<Pair> = renamed
        .filter(|(key, _)| key != b"first")
        .map(|(key, value)| ([b"from 3/".as_slice(), &key].concat(), value))
        .chain((checkpoint + 1..=1_000).map(|it| ([b"next/".as_slice(), &it.to_be_bytes()].concat(), Vec::new())))
        .collect();
    expected.sort();
    let (working_set, opened) =
        WorkingSet::open(state.path(), &journal, Next, sizes(20_000)).expect("folded from the checkpoint before");
    assert!(matches!(opened.origin, Origin::Rebuilt { .. }) && opened.lost.is_empty(), "{opened:?}");
    assert_eq!(content(&working_set), expected);
    drop(working_set);
    // And from then on it is kept as its own.
    let (working_set, opened) = WorkingSet::open(state.path(), &journal, Next, sizes(20_000)).expect("opens");
    assert_eq!(opened.origin, Origin::Kept);
    assert_eq!(content(&working_set), expected);
}

#[test]
fn another_schema_is_folded_from_the_beginning_while_the_journal_reaches_back() {
    #[derive(Debug, Clone)]
    struct Count;
    impl Fold for Count {
        const SCHEMA_VERSION: u32 = 9;
        fn apply(&self, store: &mut dyn Store, sequence: u64, _: &[u8]) -> Result<(), StoreError> {
            store.put(b"last", &sequence.to_be_bytes())
        }
    }
    let state = tempfile::tempdir().expect("a directory");
    let all_kept = WorkingSetOptions { audit_retention_bytes: u64::MAX, ..sizes(u64::MAX) };
    let (journal, _) = Journal::open(state.path(), options()).expect("the journal opens");
    let (mut working_set, _) = WorkingSet::open(state.path(), &journal, Model, all_kept).expect("opens");
    for payload in &payloads(300, 7) {
        append(&journal, &mut working_set, payload);
    }
    working_set.begin_checkpoint();
    working_set.settle();
    assert!(journal.wait_durable(300, DEADLINE));
    drop(working_set);
    let (working_set, opened) = WorkingSet::open(state.path(), &journal, Count, all_kept).expect("folded");
    assert_eq!(opened.entries, 300);
    assert_eq!(content(&working_set), [(b"last".to_vec(), 300_u64.to_be_bytes().to_vec())]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Killed at a random point (the files copied from under it), kept or rebuilt: the fold of exactly what is durable.
    #[test]
    fn it_is_the_fold_of_the_journal_after_any_kill(
        count in 1_u32..400, salt: u32, kill in any::<prop::sample::Index>(), checkpoint_bytes in 2_000_u64..60_000,
        distrust: bool,
    ) {
        let (state, killed) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let all = payloads(count, salt);
        let kill = kill.index(all.len());
        let (journal, mut working_set, _) = open(state.path(), checkpoint_bytes);
        let mut durable = 0;
        for (number, payload) in all.iter().enumerate() {
            append(&journal, &mut working_set, payload);
            if number == kill {
                durable = journal.durable().borrow().through;
                // sled and the journal go on underneath while this looks at one file after the other, so the journal
                // goes last: sled may be behind it, as a kill leaves it.
                copy(&state.path().join("working-set"), &killed.path().join("working-set"));
                if !distrust {
                    let trust = state.path().join("working-set.trust");
                    std::fs::copy(trust, killed.path().join("working-set.trust")).expect("copied");
                }
                working_set.settle();
                prop_assert!(journal.wait_durable(number as u64 + 1, DEADLINE));
                copy(&state.path().join("journal"), &killed.path().join("journal"));
            }
        }
        let (journal, working_set, opened) = open(killed.path(), checkpoint_bytes);
        prop_assert!(working_set.applied() >= durable);
        prop_assert_eq!(&opened.lost, &Vec::new());
        let applied = usize::try_from(working_set.applied()).expect("small");
        prop_assert_eq!(content(&working_set), model(&all[..applied]));
        if distrust {
            let rebuilt = matches!(opened.origin, Origin::Rebuilt { .. });
            prop_assert!(rebuilt);
        }
        drop((working_set, journal));
    }

    /// A checkpoint shows one moment, whatever changes while it is made.
    #[test]
    fn a_dump_is_of_one_moment(before in 1_u32..600, after in 0_u32..600, salt: u32) {
        let state = tempfile::tempdir().expect("a directory");
        let all = payloads(before + after, salt);
        let (journal, mut working_set, _) = open(state.path(), u64::MAX);
        let (first, second) = all.split_at(before as usize);
        for payload in first {
            append(&journal, &mut working_set, payload);
        }
        working_set.begin_checkpoint();
        for payload in second {
            append(&journal, &mut working_set, payload);
        }
        working_set.settle();
        let checkpoints = journal.checkpoints().newest_first();
        prop_assert_eq!(checkpoints[0].header.sequence, u64::from(before));
        let mut pairs = Vec::new();
        let read = checkpoints[0].read(|key, value| {
            pairs.push((key.to_vec(), value.to_vec()));
            Ok::<(), crate::journal::CheckpointFileError>(())
        });
        prop_assert!(read.is_ok());
        prop_assert_eq!(pairs, model(first));
    }

    #[test]
    fn merging_is_what_a_map_does(
        base in prop::collection::btree_map(prop::collection::vec(0_u8..4, 1..3), any::<u8>(), 0..12),
        changes in prop::collection::btree_map(prop::collection::vec(0_u8..4, 1..3), any::<Option<u8>>(), 0..12),
        limit in 0_usize..20,
    ) {
        let mut map = base.clone();
        for (key, value) in &changes {
            match value {
                Some(value) => drop(map.insert(key.clone(), *value)),
                None => drop(map.remove(key)),
            }
        }
        let expected: Vec<Pair> = map.into_iter().take(limit).map(|(key, value)| (key, vec![value])).collect();
        let base: Vec<Pair> = base.into_iter().map(|(key, value)| (key, vec![value])).collect();
        let changes = changes.into_iter().map(|(key, value)| (key, value.map(|value| vec![value])));
        prop_assert_eq!(merge(base, changes, limit), expected);
    }
}
