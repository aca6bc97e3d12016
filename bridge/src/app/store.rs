//! The journal and its working set behind the engine's own words for them.

use std::path::Path;
use std::sync::Arc;

use tracing::{info, warn};

use super::AppError;
use crate::config::Config;
use crate::dispatch::State;
use crate::health::{Health, ReasonCode, Scope};
use crate::journal::{Journal, JournalOptions, Opened, StateLock};
use crate::state::fold::{JournalFold, Pairs};
use crate::state::{Origin, StoreError, WorkingSet, WorkingSetOptions};

/// What was opened.
pub(super) struct Opening {
    pub(super) journal: Arc<Journal>,
    pub(super) opened: Opened,
    pub(super) state: Folded,
}

/// Opens both; blocks on the disk. Damage and rebuilds become reasons, not failures (rule F5).
pub(super) fn open(lock: StateLock, config: &Config, health: &Health) -> Result<Opening, AppError> {
    let (journal, opened) = Journal::open_locked(lock, JournalOptions::default()).map_err(AppError::Journal)?;
    for damage in &opened.damage {
        warn!(?damage, "A part of the journal was set aside.");
        health.raise(Scope::Bridge, ReasonCode::JournalDamaged, damage.to_string());
    }
    let options = WorkingSetOptions { audit_retention_bytes: config.audit_retention_bytes, ..WorkingSetOptions::default() };
    let (set, found) = WorkingSet::open(Path::new(&config.state_directory), &journal, JournalFold, options)
        .map_err(AppError::WorkingSet)?;
    if let Origin::Rebuilt { reason } = &found.origin {
        info!(reason, entries = found.entries, "The working set was rebuilt from the journal.");
    }
    for (from, to) in &found.lost {
        let message = format!("The journal entries {from} to {to} cannot be read; what they said is unknown.");
        health.raise(Scope::Bridge, ReasonCode::JournalDamaged, message);
    }
    let journal = Arc::new(journal);
    Ok(Opening { state: Folded { set, journal: Arc::clone(&journal) }, journal, opened })
}

/// The working set as the engine sees it.
#[derive(Debug)]
pub(super) struct Folded {
    set: WorkingSet<JournalFold>,
    journal: Arc<Journal>,
}
