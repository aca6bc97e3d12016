//! A resource model that only remembers what it was told.

use std::sync::{Arc, Mutex};

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::{CommandState, HealthReport, LockSystemDescription, Report};
use lockbridge_protocol::signed::command::VerifiedCommand;
use rusqlite::Transaction;

use crate::hub::Ingest;
use crate::store::StoreError;

#[derive(Debug, Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<String>>>);

impl Recorder {
    pub(crate) fn told(&self) -> Vec<String> {
        self.0.lock().expect("no holder panicked").clone()
    }

    #[expect(clippy::unnecessary_wraps, reason = "the trait's answer")]
    fn note(&self, what: String) -> Result<(), StoreError> {
        self.0.lock().expect("no holder panicked").push(what);
        Ok(())
    }
}

impl Ingest for Recorder {
    fn report(&self, _: &Transaction<'_>, _: i64, _: &str, report: &Report) -> Result<(), StoreError> {
        self.note(format!("report {}", report.sequence))
    }

    fn link(&self, _: &Transaction<'_>, _: i64, _: &str, up: bool) -> Result<(), StoreError> {
        self.note(format!("link {}", if up { "up" } else { "down" }))
    }

    fn health(&self, _: &Transaction<'_>, _: i64, _: &str, health: &HealthReport) -> Result<(), StoreError> {
        self.note(format!("health of {}", health.lock_systems.len()))
    }

    fn hello(
        &self,
        _: &Transaction<'_>,
        _: i64,
        _: &str,
        lock_systems: &[LockSystemDescription],
    ) -> Result<(), StoreError> {
        self.note(format!("hello of {}", lock_systems.len()))
    }

    fn lost(
        &self,
        _: &Transaction<'_>,
        _: i64,
        command: &VerifiedCommand,
        known: CommandState,
    ) -> Result<Option<CommandId>, StoreError> {
        self.note(format!("lost {} {}, {}", command.kind, command.command.lane, known.as_str_name()))?;
        Ok(None)
    }
}
