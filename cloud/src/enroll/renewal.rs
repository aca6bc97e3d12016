//! A certificate becomes the next one (rules H2, H5).

use lockbridge_protocol::proto::tunnel::{QuarantineReason, RenewRequest, RenewResponse};
use rcgen::{PublicKey, PublicKeyData};
use rusqlite::Transaction;

use super::request::{self, VERSION, decode};
use super::{Enroller, Peer, Refusal};
use crate::store::bridges;
use crate::store::certificates::{self, Certificate};
use crate::store::quarantines::{self, Finding};

impl Enroller {
    /// Answers `/v1/renew` for the bridge whose certificate TLS has verified.
    ///
    /// # Errors
    /// See [`Refusal`]; nothing was changed, except that a stale generation leaves an alarm and puts the bridge in quarantine.
    pub async fn renew(&self, now_ms: i64, peer: Peer, body: &[u8]) -> Result<RenewResponse, Refusal> {
        let request: RenewRequest = decode(body)?;
        if request.version != VERSION {
            return Err(Refusal::Request("the version is not 1"));
        }
        let key = request::public_key(&request.certificate_request)?;
        let ca = self.ca.clone();
        let answered = self.store.write(move |tx| match next(tx, now_ms, &ca, &peer, &key) {
            Err(failure @ Refusal::Unavailable(_)) => Err(failure),
            told => Ok(told),
        });
        let certificate = answered.await??;
        Ok(RenewResponse { certificate_chain: vec![certificate], ca_bundle: vec![self.ca.certificate().to_vec()] })
    }
}

fn next(tx: &Transaction<'_>, now_ms: i64, ca: &super::Ca, peer: &Peer, key: &PublicKey) -> Result<Vec<u8>, Refusal> {
    let bridge = bridges::find(tx, &peer.bridge_id)?.ok_or(Refusal::IdentityUnknown)?;
    if bridge.revoked_at_ms.is_some() {
        return Err(Refusal::IdentityRevoked);
    }
    let shown = certificates::of_serial(tx, &peer.serial)?.filter(|shown| shown.bridge_id == bridge.bridge_id);
    let shown = shown.ok_or(Refusal::IdentityUnknown)?;
    let newest = certificates::newest(tx, &bridge.bridge_id)?.ok_or(Refusal::IdentityUnknown)?;
    if shown.generation == newest.generation {
        if shown.public_key == key.der_bytes() {
            return Err(Refusal::Request("renewal needs a fresh key"));
        }
        let generation = newest.generation.saturating_add(1);
        let issued = ca.bridge_certificate(&bridge.bridge_id, key)?;
        certificates::insert(
            tx,
            now_ms,
            &Certificate {
                bridge_id: bridge.bridge_id,
                generation,
                serial: issued.serial,
                public_key: key.der_bytes().to_vec(),
                der: issued.der.clone(),
                not_after_ms: issued.not_after_ms,
            },
        )?;
        return Ok(issued.der);
    }
    // The answer was lost: the same pending key gets the same certificate.
    if shown.generation.saturating_add(1) == newest.generation && newest.public_key == key.der_bytes() {
        return Ok(newest.der);
    }
    let message = format!("certificate generation {} asked for renewal after {}", shown.generation, newest.generation);
    let found = Finding { reason: QuarantineReason::GenerationStale, message, replay_through: 0 };
    quarantines::open(tx, now_ms, &bridge.bridge_id, &found)?;
    Err(Refusal::GenerationStale)
}
