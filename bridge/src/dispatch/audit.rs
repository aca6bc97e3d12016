//! What the engine writes for the auditor alone: which keys are in use, and signed heads of the chain (rules J1, J2).

use std::fmt;

use lockbridge_protocol::proto::journal::{IdentityInUse, Reported, entry};
use lockbridge_protocol::proto::tunnel::{AuditCheckpoint, Signed, report::Body as ReportBody};
use lockbridge_protocol::signed::report::SigningFailed;
use prost::Message;

use super::engine::{Engine, EngineError};
use crate::journal::Reserve;
use crate::limits::{CHECKPOINT_ENTRIES, CHECKPOINT_INTERVAL};

/// The bridge's keys, as far as the engine may use them.
pub trait Credentials: fmt::Debug + Send + Sync + 'static {
    /// Signs an encoded report with the audit key.
    fn sign(&self, report: Vec<u8>) -> Result<Signed, SigningFailed>;
    /// The public halves in use now; `occasion` is the engine's to fill.
    fn in_use(&self) -> IdentityInUse;
}

impl Engine {
    /// Writes down which keys are in use: at the start, and when they are no longer those written down last.
    pub(super) async fn note_identity(&mut self) -> Result<(), EngineError> {
        let in_use = self.credentials.in_use();
        if self.identity_noted.as_ref() == Some(&in_use) {
            return Ok(());
        }
        let occasion = if self.identity_noted.is_none() { "started" } else { "changed" };
        let noted = IdentityInUse { occasion: occasion.to_owned(), ..in_use.clone() };
        self.append(entry::Body::IdentityInUse(noted), Reserve::Safety).await?;
        self.identity_noted = Some(in_use);
        Ok(())
    }

    /// Signs how far the journal is durable, for the cloud to witness and for the auditor to read without the state key.
    pub(super) async fn report_chain(&mut self) -> Result<(), EngineError> {
        let now = self.clock.since_boot();
        let due = self.unreported >= CHECKPOINT_ENTRIES
            || (self.unreported > 0 && now.saturating_sub(self.reported_at) >= CHECKPOINT_INTERVAL);
        if due { self.sign_chain().await } else { Ok(()) }
    }

    /// The same now, if anything came since the last time.
    pub(super) async fn sign_chain(&mut self) -> Result<(), EngineError> {
        if self.unreported == 0 || self.durable.through == 0 {
            return Ok(());
        }
        let checkpoint = AuditCheckpoint {
            store_id: self.identity.store_id.to_vec(),
            journal_sequence: self.durable.through,
            chain_head: self.durable.chain_head.0.to_vec(),
            time_ms: self.clock.wall_ms(),
        };
        let report = self.report(ReportBody::AuditCheckpoint(checkpoint));
        let (report_sequence, sealed_report) = self.seal(&report)?;
        let signed = self.credentials.sign(report.encode_to_vec())?;
        let reported = Reported {
            report_sequence,
            kind: "audit_checkpoint".to_owned(),
            sealed_report,
            signed_checkpoint: signed.encode_to_vec(),
            ..Reported::default()
        };
        self.append(entry::Body::Reported(reported), Reserve::Safety).await?;
        self.unreported = 0;
        self.reported_at = self.clock.since_boot();
        Ok(())
    }
}
