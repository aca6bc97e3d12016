//! The reports about commands: what is in each, and its seal.

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::{
    CommandState, CommandUpdate, LocalOrigin, Report, command::Body, report::Body as ReportBody,
};
use prost::Message;

use super::super::begin::Loaded;
use super::super::engine::{Engine, EngineError};
use crate::state::fold::SEALED_REPORT;

impl Engine {
    /// An update about a stored command.
    pub(in crate::dispatch) fn update_of(
        id: &CommandId,
        loaded: &Loaded,
        state: CommandState,
        attempt: u32,
    ) -> CommandUpdate {
        let hash = <[u8; 32]>::try_from(loaded.record.hash.as_slice()).unwrap_or_default();
        let mut update = Self::update(id, &hash, state, attempt);
        if !loaded.record.operator.is_empty() {
            update.local = Some(LocalOrigin {
                operator: loaded.record.operator.clone(),
                encode_credential: match &loaded.body {
                    Body::EncodeCredential(encode) => Some(encode.clone()),
                    _ => None,
                },
                lock_system: loaded.record.lock_system.clone(),
                kind: loaded.record.kind.clone(),
                desk: loaded.command.desk.clone(),
            });
        }
        update
    }

    /// An update about a command.
    pub(in crate::dispatch) fn update(
        id: &CommandId,
        hash: &[u8; 32],
        state: CommandState,
        attempt: u32,
    ) -> CommandUpdate {
        CommandUpdate {
            command_id: id.0.to_vec(),
            command_hash: hash.to_vec(),
            state: state as i32,
            attempt,
            ..CommandUpdate::default()
        }
    }

    /// The next report.
    pub(in crate::dispatch) fn report(&self, body: ReportBody) -> Report {
        Report {
            version: lockbridge_protocol::signed::report::VERSION,
            bridge_id: self.identity.audience.bridge_id.clone(),
            store_id: self.identity.store_id.to_vec(),
            sequence: self.meta.reports_last.saturating_add(1),
            occurred_at_ms: self.clock.wall_ms(),
            body: Some(body),
        }
    }

    pub(in crate::dispatch) fn seal(&self, report: &Report) -> Result<(u64, Vec<u8>), EngineError> {
        Ok((report.sequence, self.sealer.seal(SEALED_REPORT, &report.encode_to_vec())?))
    }

    pub(in crate::dispatch) fn seal_report(&self, update: CommandUpdate) -> Result<(u64, Vec<u8>), EngineError> {
        self.seal(&self.report(ReportBody::CommandUpdate(update)))
    }
}
