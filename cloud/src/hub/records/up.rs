//! Reports and signs of life on their way up.

use std::sync::Arc;

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::report::Body;
use lockbridge_protocol::proto::tunnel::{
    AuditCheckpoint, BridgeHeartbeat, CommandState, HealthReport, NumberedReport, Quarantine, Report, Signed,
};
use lockbridge_protocol::signed;
use prost::Message;
use rusqlite::{OptionalExtension, Transaction};

use super::{RecordError, Session, fence, quarantine};
use crate::hub::Ingest;
use crate::store::commands::Noted;
use crate::store::{Store, StoreError, bridges, commands, counter, journals};

/// A checkpoint that deserves the authority's counter-signature.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::hub) struct Witnessed {
    pub(in crate::hub) report_sequence: u64,
    pub(in crate::hub) checkpoint: AuditCheckpoint,
}

struct Verified {
    sequence: u64,
    signed: Signed,
    report: Report,
}

/// Verifies and stores reports with all their consequences, and returns what to countersign. Those that are already
/// stored are passed over. The last one's sequence is the new cursor.
pub(in crate::hub) async fn reports(
    store: &Store,
    ingest: &Arc<dyn Ingest>,
    now_ms: i64,
    session: Session,
    audit_key: Arc<[u8]>,
    batch: Vec<NumberedReport>,
) -> Result<Vec<Witnessed>, RecordError> {
    let ingest = Arc::clone(ingest);
    let store_id = session.store_id.clone();
    let bridge_id = session.bridge_id.clone();
    // A full batch is some 20 ms of curve arithmetic.
    let verified = tokio::task::spawn_blocking(move || {
        batch.into_iter().map(|report| verify(&audit_key, &bridge_id, &store_id, report)).collect::<Result<Vec<_>, _>>()
    });
    let verified = verified.await.map_err(|_| StoreError::Closed)??;
    store
        .write(move |tx| {
            fence(tx, &session)?;
            let bridge_id = session.bridge_id.as_str();
            let bridge = bridges::find(tx, bridge_id)?.ok_or(RecordError::Superseded)?;
            let mut through = bridge.reports_durable_through;
            let mut witnessed = Vec::new();
            for Verified { sequence, signed, report } in verified {
                if sequence <= through {
                    continue;
                }
                if sequence != through.saturating_add(1) {
                    return Err(RecordError::Report { sequence, problem: format!("{through} was the last one") });
                }
                through = sequence;
                let sql = "INSERT INTO reports (bridge_id, sequence, received_at_ms, signed) VALUES (?1, ?2, ?3, ?4)";
                tx.execute(sql, (bridge_id, counter(sequence), now_ms, signed.encode_to_vec()))?;
                note_command(tx, now_ms, bridge_id, &report)?;
                if matches!(report.body, Some(Body::ReportsLost(_))) {
                    let message = format!("report {sequence} was lost with a damaged part of the bridge's journal");
                    bridges::alarm(tx, now_ms, Some(bridge_id), "report_lost", &message)?;
                }
                if let Some(Body::AuditCheckpoint(checkpoint)) = &report.body
                    && witness(tx, now_ms, &session, sequence, checkpoint)?
                {
                    witnessed.push(Witnessed { report_sequence: sequence, checkpoint: checkpoint.clone() });
                }
                ingest.report(tx, now_ms, bridge_id, &report)?;
            }
            let sql = "UPDATE bridges SET reports_durable_through = ?2, last_seen_at_ms = ?3 WHERE bridge_id = ?1";
            tx.execute(sql, (bridge_id, counter(through), now_ms))?;
            Ok(witnessed)
        })
        .await
}

fn verify(
    audit_key: &[u8],
    bridge_id: &str,
    store_id: &[u8],
    numbered: NumberedReport,
) -> Result<Verified, RecordError> {
    let sequence = numbered.sequence;
    let bad = |problem: &str| RecordError::Report { sequence, problem: problem.to_owned() };
    let signed = numbered.report.ok_or_else(|| bad("it is empty"))?;
    let report = signed::report::verify(audit_key, &signed).map_err(|error| bad(&error.to_string()))?;
    // Who relays reports must not be able to move one to another place.
    if report.sequence != sequence {
        return Err(bad("it was signed with another sequence"));
    }
    if report.bridge_id != bridge_id || report.store_id != store_id {
        return Err(bad("it was signed for another bridge or another journal"));
    }
    Ok(Verified { sequence, signed, report })
}

fn note_command(tx: &Transaction<'_>, now_ms: i64, bridge_id: &str, report: &Report) -> Result<(), StoreError> {
    let Some(Body::CommandUpdate(update)) = &report.body else { return Ok(()) };
    // Commands given on site are not ours; the resource model knows what to make of them.
    let Some(command_id) = CommandId::from_bytes(&update.command_id).filter(|_| update.local.is_none()) else {
        return Ok(());
    };
    let (code, message) =
        match commands::set_state(tx, now_ms, bridge_id, command_id, &update.command_hash, update.state())? {
            Noted::Unknown => (
                "command_unknown",
                format!("a report speaks of command {command_id}, which this cloud did not give with those bytes"),
            ),
            // Sent again after the bridge's state went back, and now it did not work.
            Noted::Final(CommandState::Succeeded) if update.state() == CommandState::Failed => (
                "replay_failed",
                format!("command {command_id} had succeeded; repeated after the bridge's state went back, it failed"),
            ),
            Noted::Yes | Noted::Final(_) => return Ok(()),
        };
    bridges::alarm(tx, now_ms, Some(bridge_id), code, &message)
}

/// Whether the checkpoint continues the journal that was witnessed before (rule J3).
fn witness(
    tx: &Transaction<'_>,
    now_ms: i64,
    session: &Session,
    report_sequence: u64,
    checkpoint: &AuditCheckpoint,
) -> Result<bool, StoreError> {
    let bridge_id = session.bridge_id.as_str();
    let sql = "SELECT journal_sequence, chain_head FROM witnessed_checkpoints WHERE bridge_id = ?1 AND store_id = ?2";
    let last: Option<(i64, Vec<u8>)> =
        tx.query_row(sql, (bridge_id, &session.store_id), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let problem = match &last {
        _ if checkpoint.store_id != session.store_id => Some("is of another journal"),
        Some((sequence, _)) if checkpoint.journal_sequence < sequence.unsigned_abs() => Some("is of a shorter journal"),
        Some((sequence, head))
            if checkpoint.journal_sequence == sequence.unsigned_abs() && *head != checkpoint.chain_head =>
        {
            Some("forks the journal")
        }
        _ => None,
    };
    if let Some(problem) = problem {
        let message = format!("the audit checkpoint in report {report_sequence} {problem}; it was not countersigned");
        bridges::alarm(tx, now_ms, Some(bridge_id), "audit_broken", &message)?;
        return Ok(false);
    }
    tx.execute(
        "INSERT INTO witnessed_checkpoints (bridge_id, store_id, journal_sequence, chain_head, report_sequence,
                                            witnessed_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (bridge_id, store_id) DO UPDATE SET journal_sequence = excluded.journal_sequence,
             chain_head = excluded.chain_head, report_sequence = excluded.report_sequence,
             witnessed_at_ms = excluded.witnessed_at_ms",
        (
            bridge_id,
            &session.store_id,
            counter(checkpoint.journal_sequence),
            &checkpoint.chain_head,
            counter(report_sequence),
            now_ms,
        ),
    )?;
    Ok(true)
}

/// The bridge no longer keeps reports that never arrived: an honest hole, and the cursor goes on behind it.
pub(in crate::hub) async fn reports_missing(
    store: &Store,
    now_ms: i64,
    session: Session,
    first: u64,
    last: u64,
) -> Result<(), RecordError> {
    store
        .write(move |tx| {
            fence(tx, &session)?;
            let message = format!("reports {first} to {last} are lost: the bridge was told that this cloud had them");
            bridges::alarm(tx, now_ms, Some(&session.bridge_id), "reports_missing", &message)?;
            let sql =
                "UPDATE bridges SET reports_durable_through = max(reports_durable_through, ?2) WHERE bridge_id = ?1";
            tx.execute(sql, (&session.bridge_id, counter(last)))?;
            Ok(())
        })
        .await
}

/// Figures of the bridge.
pub(in crate::hub) async fn heartbeat(
    store: &Store,
    now_ms: i64,
    session: Session,
    heartbeat: BridgeHeartbeat,
) -> Result<(), RecordError> {
    store
        .write(move |tx| {
            fence(tx, &session)?;
            journals::note(tx, &session.bridge_id, &session.store_id, heartbeat.journal_sequence)?;
            let sql = "UPDATE bridges SET epoch_heard = max(epoch_heard, ?2) WHERE bridge_id = ?1";
            tx.execute(sql, (&session.bridge_id, counter(session.epoch)))?;
            Ok(bridges::seen(tx, now_ms, &session.bridge_id)?)
        })
        .await
}

/// What holds at the bridge now; the quarantine that is open afterwards.
pub(in crate::hub) async fn health(
    store: &Store,
    ingest: &Arc<dyn Ingest>,
    now_ms: i64,
    session: Session,
    health: HealthReport,
) -> Result<Option<Quarantine>, RecordError> {
    let ingest = Arc::clone(ingest);
    store
        .write(move |tx| {
            fence(tx, &session)?;
            bridges::set_health(tx, &session.bridge_id, &health)?;
            ingest.health(tx, now_ms, &session.bridge_id, &health)?;
            let who = (session.bridge_id.as_str(), session.serial.as_slice());
            Ok(quarantine::told(tx, now_ms, who, health.quarantine.as_ref(), health.quarantine_left)?)
        })
        .await
}
