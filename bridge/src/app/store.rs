//! The journal and its working set behind the engine's own words for them.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::AppError;
use crate::config::Config;
use crate::dispatch::State;
use crate::health::{Health, ReasonCode, Scope};
use crate::journal::{Damage, Journal, JournalOptions, Opened, StateLock};
use crate::net::chain_text;
use crate::state::fold::{JournalFold, Pairs};
use crate::state::{Origin, Pair, StoreError, StoreReader, WorkingSet, WorkingSetOpened, WorkingSetOptions};

/// What was opened.
pub(super) struct Opening {
    pub(super) journal: Arc<Journal>,
    pub(super) opened: Opened,
    pub(super) state: Folded,
    /// Entries that could not be read, first and last.
    pub(super) damaged: Vec<(u64, u64)>,
}

/// Opens both; blocks on the disk. Damage and rebuilds become reasons, not failures (rule F5).
pub(super) fn open(lock: StateLock, config: &Config, health: &Health) -> Result<Opening, AppError> {
    let options = JournalOptions { pulse: health.pulse("journal writer"), ..JournalOptions::default() };
    let (journal, opened) = Journal::open_locked(lock, options).map_err(AppError::Journal)?;
    for damage in &opened.damage {
        warn!(?damage, "A part of the journal was set aside.");
        health.raise(Scope::Bridge, ReasonCode::JournalDamaged, describe(damage));
    }
    let options =
        WorkingSetOptions { audit_retention_bytes: config.audit_retention_bytes, ..WorkingSetOptions::default() };
    let begun = Instant::now();
    let (set, found) = WorkingSet::open(Path::new(&config.state_directory), &journal, JournalFold, options)
        .map_err(AppError::WorkingSet)?;
    tell_origin(&found, opened.last_sequence > 0, begun.elapsed(), health);
    for (from, to) in &found.lost {
        let message = format!("The journal entries {from} to {to} cannot be read; what they said is unknown.");
        health.raise(Scope::Bridge, ReasonCode::JournalDamaged, message);
    }
    let journal = Arc::new(journal);
    // What the working set still knows is no loss; that an entry may be missing is enough to doubt what nobody has written.
    let unread = opened.damage.iter().filter_map(|damage| match damage {
        Damage::Lost { from, through, .. } => Some((*from, *through)),
        Damage::Foreign { .. } => None,
    });
    let damaged = unread.chain(found.lost).collect();
    Ok(Opening { state: Folded(set), journal, opened, damaged })
}

/// `had_entries`: the first start of a journal has nothing to rebuild.
fn tell_origin(found: &WorkingSetOpened, had_entries: bool, took: Duration, health: &Health) {
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    match &found.origin {
        Origin::Kept => {}
        Origin::Rebuilt { reason } => {
            info!(reason, entries = found.entries, took_ms, "The working set was rebuilt from the journal.");
            if had_entries {
                let message = format!("{reason}; {} entries of the journal in {took_ms} ms", found.entries);
                health.raise(Scope::Bridge, ReasonCode::StateRebuilt, message);
            }
        }
        Origin::Memory { reason } => {
            warn!(reason, entries = found.entries, took_ms, "The working set was rebuilt in memory.");
            health.raise(Scope::Bridge, ReasonCode::StateInMemory, reason.clone());
        }
    }
}

fn describe(damage: &Damage) -> String {
    let name = |file: &Path| file.display().to_string();
    match damage {
        Damage::Lost { from, through, file } => {
            let file = file.as_deref().map_or_else(String::new, |file| format!("; they stood in {}", name(file)));
            format!("The journal entries {from} to {through} cannot be read{file}.")
        }
        Damage::Foreign { file } => format!("{} does not belong to this journal; it was set aside.", name(file)),
    }
}

/// The working set as the engine sees it.
#[derive(Debug)]
pub(super) struct Folded(WorkingSet<JournalFold>);

impl Pairs for Folded {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(key)
    }

    fn pairs(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.0.scan(prefix, from, limit)
    }
}

impl State for Folded {
    fn apply(&mut self, sequence: u64, payload: &[u8]) -> Result<(), StoreError> {
        self.0.apply(sequence, payload)
    }

    fn reader(&self) -> Arc<dyn Pairs + Send + Sync> {
        Arc::new(Reader(self.0.reader()))
    }

    fn close(self: Box<Self>) {
        if let Err(error) = self.0.close() {
            warn!(error = %chain_text(&error), "The working set did not close well; the next start rebuilds it.");
        }
    }
}

/// The same for other tasks.
struct Reader(StoreReader);

impl Pairs for Reader {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(key)
    }

    fn pairs(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.0.scan(prefix, from, limit)
    }
}
