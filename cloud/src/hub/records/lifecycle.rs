//! The beginning and the end of a session.

use std::sync::Arc;

use lockbridge_protocol::proto::tunnel::{Hello, RefuseCode};
use lockbridge_protocol::tunnel::session::{Admission, Refusal};
use thiserror::Error;

use super::{RecordError, Session, fence, quarantine};
use crate::enroll::Peer;
use crate::hub::Ingest;
use crate::store::{Store, StoreError, bridges, certificates, journals, tokens, workspaces};

/// Who was admitted.
#[derive(Debug)]
pub(in crate::hub) struct Admitted {
    pub(in crate::hub) session: Session,
    /// Verifies its reports.
    pub(in crate::hub) audit_key: Vec<u8>,
    /// For the session machine, which still compares the cursors.
    pub(in crate::hub) admission: Admission,
}

/// Why a Hello goes no further.
#[derive(Debug, Error)]
pub(in crate::hub) enum AdmitError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{}", .0.message)]
    Refused(Refusal),
}

impl From<rusqlite::Error> for AdmitError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// No bridge is connected while the hub starts.
pub(in crate::hub) async fn all_down(store: &Store, ingest: &Arc<dyn Ingest>) -> Result<(), StoreError> {
    let ingest = Arc::clone(ingest);
    let now_ms = crate::clock::now_ms();
    store
        .write(move |tx| {
            for bridge in bridges::list(tx, None)?.into_iter().filter(|bridge| bridge.link_up) {
                bridges::set_link(tx, now_ms, &bridge.bridge_id, false)?;
                ingest.link(tx, now_ms, &bridge.bridge_id, false)?;
            }
            Ok(())
        })
        .await
}

/// Looks the bridge up, opens its next epoch, and looks whether its Hello continues what was heard of it before.
pub(in crate::hub) async fn admit(
    store: &Store,
    now_ms: i64,
    peer: Peer,
    hello: &Hello,
) -> Result<Admitted, AdmitError> {
    let hello = hello.clone();
    store
        .write(move |tx| {
            let refused = |code, message| Err(AdmitError::Refused(Refusal::new(code, message)));
            let certificate = certificates::of_serial(tx, &peer.serial)?;
            let known = certificate.is_some_and(|certificate| certificate.bridge_id == peer.bridge_id);
            let Some(bridge) = bridges::find(tx, &peer.bridge_id)?.filter(|_| known) else {
                return refused(RefuseCode::IdentityUnknown, "this cloud knows no such bridge; enroll it");
            };
            if bridge.revoked_at_ms.is_some() {
                return refused(RefuseCode::IdentityRevoked, "this bridge is revoked; enroll it anew");
            }
            let epoch = bridge.epoch.saturating_add(1);
            let sql = "UPDATE bridges SET epoch = ?2 WHERE bridge_id = ?1";
            tx.execute(sql, (&bridge.bridge_id, crate::store::counter(epoch)))?;
            let workspace_name = workspaces::name(tx, &bridge.workspace_id)?.unwrap_or_default();
            let mut admission = Admission {
                epoch,
                deliveries_sent_through: bridge.delivered_last,
                deliveries_durable_through: bridge.commands_durable_through,
                reports_durable_through: bridge.reports_durable_through,
                epoch_heard: bridge.epoch_heard,
                store: None,
                quarantine: None,
                hub_time_ms: now_ms,
                workspace_id: bridge.workspace_id.clone(),
                workspace_name,
            };
            quarantine::examine(tx, now_ms, &bridge, &peer.serial, &hello, &mut admission)?;
            Ok(Admitted {
                admission,
                session: Session { bridge_id: bridge.bridge_id, epoch, store_id: hello.store_id, serial: peer.serial },
                audit_key: bridge.audit_key,
            })
        })
        .await
}

/// The session is open: what Hello said holds from now on. The enrollment token is dead for everyone (rule H1, step 6).
pub(in crate::hub) async fn opened(
    store: &Store,
    ingest: &Arc<dyn Ingest>,
    now_ms: i64,
    session: Session,
    hello: Hello,
) -> Result<(), RecordError> {
    let ingest = Arc::clone(ingest);
    store
        .write(move |tx| {
            fence(tx, &session)?;
            let bridge_id = session.bridge_id.as_str();
            let bridge = bridges::find(tx, bridge_id)?.ok_or(RecordError::Superseded)?;
            let sql = "UPDATE bridges SET store_id = ?2, software_version = ?3 WHERE bridge_id = ?1";
            tx.execute(sql, (bridge_id, &session.store_id, &hello.software_version))?;
            journals::note(tx, bridge_id, &session.store_id, hello.journal_sequence)?;
            tokens::activate(tx, now_ms, bridge_id)?;
            bridges::announce(tx, bridge_id, &hello.lock_systems)?;
            ingest.hello(tx, now_ms, bridge_id, &hello.lock_systems)?;
            if bridge.link_up {
                bridges::seen(tx, now_ms, bridge_id)?;
            } else {
                bridges::set_link(tx, now_ms, bridge_id, true)?;
                ingest.link(tx, now_ms, bridge_id, true)?;
            }
            Ok(())
        })
        .await
}

/// The session is over and had no successor: the link is down.
pub(in crate::hub) async fn ended(
    store: &Store,
    ingest: &Arc<dyn Ingest>,
    now_ms: i64,
    session: Session,
) -> Result<(), RecordError> {
    let ingest = Arc::clone(ingest);
    store
        .write(move |tx| {
            fence(tx, &session)?;
            let bridge = bridges::find(tx, &session.bridge_id)?.ok_or(RecordError::Superseded)?;
            if bridge.link_up {
                bridges::set_link(tx, now_ms, &session.bridge_id, false)?;
                ingest.link(tx, now_ms, &session.bridge_id, false)?;
            }
            Ok(())
        })
        .await
}
