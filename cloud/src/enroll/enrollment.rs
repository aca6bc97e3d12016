//! A token becomes an identity, once.

use lockbridge_protocol::enrollment::{EXPORTER_BYTES, verify_proof};
use lockbridge_protocol::proto::tunnel::{EnrollRequest, EnrollResponse};
use rcgen::{PublicKey, PublicKeyData};
use rusqlite::Transaction;
use uuid::Uuid;

use super::request::{self, VERSION, decode, is_point};
use super::{Enroller, Refusal};
use crate::store::bridges::{self, Bridge};
use crate::store::certificates::{self, Certificate};
use crate::store::tokens::{self, Token};
use crate::store::workspaces;

/// Longest display name and software version kept, in characters.
const NAME_CHARACTERS: usize = 120;

impl Enroller {
    /// Answers `/v1/enroll`. `exporter` is this connection's value for the proof.
    ///
    /// # Errors
    /// See [`Refusal`]; nothing was changed, except that a second key on a used token leaves an alarm.
    pub async fn enroll(
        &self,
        now_ms: i64,
        exporter: &[u8; EXPORTER_BYTES],
        body: &[u8],
    ) -> Result<EnrollResponse, Refusal> {
        let request: EnrollRequest = decode(body)?;
        if request.version != VERSION {
            return Err(Refusal::Request("the version is not 1"));
        }
        if !is_point(&request.audit_public_key) {
            return Err(Refusal::Request("the audit key must be an uncompressed P-256 point"));
        }
        // Who cannot prove the token learns nothing of it and costs no database work.
        verify_proof(
            &request.token_public_key,
            &request.certificate_request,
            &request.audit_public_key,
            exporter,
            &request.proof,
        )
        .map_err(|_| Refusal::Proof)?;
        let key = request::public_key(&request.certificate_request)?;
        let ca = self.ca.clone();
        let answered = self.store.write(move |tx| {
            let outcome = redeem(tx, now_ms, &ca, &request, &key);
            // An alarm must outlive the refusal it explains: only our own failures roll back.
            match outcome {
                Err(failure @ Refusal::Unavailable(_)) => Err(failure),
                told => Ok(told),
            }
        });
        let enrolled = answered.await??;
        Ok(EnrollResponse {
            bridge_id: enrolled.bridge.bridge_id,
            workspace_id: enrolled.bridge.workspace_id,
            workspace_name: enrolled.workspace_name,
            site_id: enrolled.bridge.site_id,
            certificate_chain: vec![enrolled.certificate],
            ca_bundle: vec![self.ca.certificate().to_vec()],
            authority_keys: vec![self.authority.clone()],
            tunnel_url: self.tunnel_url.to_string(),
        })
    }
}

struct Enrolled {
    bridge: Bridge,
    workspace_name: String,
    certificate: Vec<u8>,
}

fn redeem(
    tx: &Transaction<'_>,
    now_ms: i64,
    ca: &super::Ca,
    request: &EnrollRequest,
    key: &PublicKey,
) -> Result<Enrolled, Refusal> {
    let token = tokens::find(tx, &request.token_public_key)?.ok_or(Refusal::TokenUnknown)?;
    let workspace_name = workspaces::name(tx, &token.workspace_id)?.unwrap_or_default();
    let Some(used_by) = &token.used_by_key else {
        if now_ms >= token.expires_at_ms {
            return Err(Refusal::TokenExpired);
        }
        let (bridge, certificate) = create(tx, now_ms, ca, request, &token, key)?;
        return Ok(Enrolled { bridge, workspace_name, certificate });
    };
    let first = match &token.bridge_id {
        Some(bridge_id) => bridges::find(tx, bridge_id)?.zip(certificates::newest(tx, bridge_id)?),
        None => None,
    };
    match first {
        // The answer was lost on the way: the same key gets the same identity, until its first session.
        Some((bridge, certificate))
            if used_by == key.der_bytes()
                && certificate.public_key == key.der_bytes()
                && bridge.audit_key == request.audit_public_key
                && bridge.revoked_at_ms.is_none()
                && token.activated_at_ms.is_none() =>
        {
            Ok(Enrolled { bridge, workspace_name, certificate: certificate.der })
        }
        _ => {
            if used_by != key.der_bytes() {
                let message = "an enrollment token was presented again with another key";
                bridges::alarm(tx, now_ms, token.bridge_id.as_deref(), "token_reused", message)?;
            }
            Err(Refusal::TokenUsed)
        }
    }
}

fn create(
    tx: &Transaction<'_>,
    now_ms: i64,
    ca: &super::Ca,
    request: &EnrollRequest,
    token: &Token,
    key: &PublicKey,
) -> Result<(Bridge, Vec<u8>), Refusal> {
    let bridge = Bridge {
        bridge_id: Uuid::new_v4().to_string(),
        workspace_id: token.workspace_id.clone(),
        site_id: token.site_id.clone(),
        display_name: request.display_name.chars().take(NAME_CHARACTERS).collect(),
        software_version: request.software_version.chars().take(NAME_CHARACTERS).collect(),
        audit_key: request.audit_public_key.clone(),
        generation: 1,
        created_at_ms: now_ms,
        ..Bridge::default()
    };
    bridges::insert(tx, &bridge)?;
    let issued = ca.bridge_certificate(&bridge.bridge_id, key)?;
    certificates::insert(
        tx,
        now_ms,
        &Certificate {
            bridge_id: bridge.bridge_id.clone(),
            generation: bridge.generation,
            serial: issued.serial,
            public_key: key.der_bytes().to_vec(),
            der: issued.der.clone(),
            not_after_ms: issued.not_after_ms,
        },
    )?;
    tokens::burn(tx, now_ms, &request.token_public_key, key.der_bytes(), &bridge.bridge_id)?;
    Ok((bridge, issued.der))
}
