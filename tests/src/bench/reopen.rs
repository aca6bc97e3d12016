//! How long a bridge takes to be able to work again after a kill, with many commands pending.
//!
//! The state directory is copied while the process that wrote it still has it open: what it had not handed to the kernel
//! is missing in the copy, as after a kill.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use lockbridge::journal::{Journal, JournalOptions, Reserve};
use lockbridge::state::{Fold, Origin, Store, StoreError, WorkingSet, WorkingSetOptions};

use super::{Aim, Table, median};

const PENDING: u64 = 100_000;
pub(super) const PAYLOAD_BYTES: usize = 400;
const ROUNDS: usize = 3;

/// Each entry is a pending command under its sequence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending;

impl Fold for Pending {
    const SCHEMA_VERSION: u32 = 1;

    fn apply(&self, store: &mut dyn Store, sequence: u64, payload: &[u8]) -> Result<(), StoreError> {
        store.put(&[b"q".as_slice(), &sequence.to_be_bytes()].concat(), payload)
    }
}

/// Measures in a fresh directory below `directory`.
pub fn run(directory: &Path) -> anyhow::Result<Vec<Table>> {
    let directory = tempfile::tempdir_in(directory)?;
    let killed = directory.path().join("killed");
    let filling = Instant::now();
    fill(&directory.path().join("live"), &killed, PENDING)?;
    let filling = filling.elapsed();
    let mut columns: [Vec<f64>; 4] = Default::default();
    for _ in 0..ROUNDS {
        for (rebuild, offset) in [(false, 0), (true, 2)] {
            let (journal, working_set) = reopen(&killed, &directory.path().join("again"), rebuild)?;
            columns[offset].push(journal.as_secs_f64() * 1e3);
            columns[offset + 1].push(working_set.as_secs_f64() * 1e3);
        }
    }
    let [kept_journal, kept, rebuilt_journal, rebuilt] = columns.map(median);
    let row = |name: &str, journal: f64, working_set: f64| {
        vec![
            name.to_owned(),
            format!("{journal:.0}"),
            format!("{working_set:.0}"),
            format!("{:.0}", journal + working_set),
        ]
    };
    let title = format!(
        "Open after a kill, {PENDING} entries of {PAYLOAD_BYTES} bytes pending (they took {:.1} s to append and fold); \
         medians of {ROUNDS} rounds",
        filling.as_secs_f64()
    );
    Ok(vec![Table {
        title,
        columns: vec!["", "journal ms", "working set ms", "together ms"],
        rows: vec![row("working set usable", kept_journal, kept), row("sled rebuilt", rebuilt_journal, rebuilt)],
        aims: vec![
            Aim::at_most("ms to open, working set usable", kept_journal + kept, 100.0),
            Aim::at_most("ms to open, sled rebuilt", rebuilt_journal + rebuilt, 1_000.0),
        ],
    }])
}

/// Makes a state directory with `pending` entries, and copies it as a kill would leave it.
pub(super) fn fill(live: &Path, killed: &Path, pending: u64) -> anyhow::Result<()> {
    let (journal, _) = Journal::open(live, JournalOptions::default())?;
    let (mut working_set, _) = WorkingSet::open(live, &journal, Pending, WorkingSetOptions::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for number in 0..pending {
            let payload = noise(number, PAYLOAD_BYTES);
            let sequence = journal.append(payload.clone(), Reserve::Ordinary).await?;
            working_set.apply(sequence, &payload)?;
        }
        anyhow::Ok(())
    })?;
    ensure!(journal.wait_durable(pending, Duration::from_secs(60)), "the journal is not durable");
    // What a day of quiet does: the checkpoint that was due is complete.
    working_set.settle();
    copy(live, killed).context("copy the state directory")
}

fn reopen(killed: &Path, again: &Path, rebuild: bool) -> anyhow::Result<(Duration, Duration)> {
    if again.exists() {
        fs::remove_dir_all(again)?;
    }
    copy(killed, again)?;
    if rebuild {
        fs::remove_file(again.join("working-set.trust"))?;
    }
    let begin = Instant::now();
    let (journal, opened) = Journal::open(again, JournalOptions::default())?;
    let journal_time = begin.elapsed();
    let begin = Instant::now();
    let (working_set, found) = WorkingSet::open(again, &journal, Pending, WorkingSetOptions::default())?;
    let working_set_time = begin.elapsed();
    ensure!(opened.damage.is_empty() && found.lost.is_empty(), "the copy is damaged: {opened:?} {found:?}");
    ensure!((found.origin != Origin::Kept) == rebuild, "expected rebuild: {rebuild}, found {:?}", found.origin);
    ensure!(working_set.applied() == PENDING, "only {} entries are there", working_set.applied());
    Ok((journal_time, working_set_time))
}

/// Copies a directory with everything in it.
pub(super) fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Bytes that look random: sealed ones do not compress; neither should these.
pub(super) fn noise(number: u64, length: usize) -> Vec<u8> {
    (0..length as u64).map(|byte| mixed(number * 1_000 + byte)).collect()
}

/// A byte that looks random.
fn mixed(number: u64) -> u8 {
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9).to_be_bytes()[0]
}
