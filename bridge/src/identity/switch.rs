//! The two-phase switch of certificates (rules H3, H5): asked for, renewed, proven, and the one before let go.
//!
//! Every step is one file replaced whole, and memory follows only after it. A crash between two steps leaves the certificate
//! in use untouched, or the new one in use and some clean-up to be done at the next occasion.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use tracing::{info, warn};

use super::error::IdentityError;
use super::files;
use super::issued::{self, CertificateTimes, Issued, IssuedError};
use super::keys::{KeysError, PrivateKey};
use super::record::Record;
use super::store::{Held, Identity, check_own, pem};
use super::token::forget_token;
use crate::net::{TlsConfigError, TlsTime};

/// How long the certificate before the present one is kept (rule H3).
const PREVIOUS_KEPT_MS: i64 = 24 * 3600 * 1000;

impl Identity {
    /// Says that the hub welcomed a session that showed `certificate`. The token file is wiped; a renewed certificate
    /// becomes the one in use. Costs nothing when there is nothing to change; otherwise blocks on some flushes.
    pub fn on_session_proven(&self, certificate: &[u8; 32], now_ms: i64) -> Result<(), IdentityError> {
        let mut held = self.held();
        if let Some(path) = held.record.token_file.clone() {
            match forget_token(&path) {
                Ok(()) => info!(path = %path.display(), "Enrollment token wiped."),
                // It may belong to root. It is spent, so this is no reason to disturb the session, and not worth a retry.
                Err(error) => {
                    warn!(error = %crate::net::chain_text(&error), "Enrollment token not wiped; remove it by hand.");
                }
            }
            let record = Record { token_file: None, ..held.record.clone() };
            record.save(&self.shared.paths.record())?;
            held.record = record;
        }
        if let Some(candidate) = held.candidate.clone().filter(|candidate| candidate.fingerprint == *certificate) {
            let paths = &self.shared.paths;
            files::replace(&paths.previous(), pem(&held.current.chain).as_bytes())?;
            let record = Record { previous_since_ms: Some(now_ms), ..held.record.clone() };
            record.save(&paths.record())?;
            held.record = record;
            files::replace(&paths.certificate(), pem(&candidate.chain).as_bytes())?;
            // From here on the switch is made; a crash before the next line leaves the same certificate twice.
            files::remove(&paths.next())?;
            held.current = candidate;
            held.candidate = None;
            info!(not_after = held.current.times.not_after, "Renewed certificate is in use.");
        }
        Ok(())
    }

    /// The newest certificate, proven or not: renewal is measured from it.
    pub(super) fn newest(&self) -> Issued {
        let held = self.held();
        held.candidate.as_ref().unwrap_or(&held.current).clone()
    }

    /// A client for the renewal. It shows the newest certificate, proven or not: for the hub any older one is stale (rule H5).
    pub(super) fn renewal_client(&self, time: &TlsTime) -> Result<Arc<ClientConfig>, TlsConfigError> {
        let held = self.held();
        Ok(held.client(held.candidate.as_ref().unwrap_or(&held.current), time)?.config)
    }

    /// The key to ask a certificate for: the one of a request that was never answered, or a new one, durable before this
    /// returns, so that a lost answer is asked for again and not mistaken for a copied identity (rule H5).
    pub(super) fn pending_key(&self) -> Result<PrivateKey, KeysError> {
        let mut held = self.held();
        let newest = held.candidate.as_ref().unwrap_or(&held.current).public_key.clone();
        match held.keys.identity.last() {
            Some(last) if last.public() != newest && last.public() != held.current.public_key => Ok(last.clone()),
            _ => {
                let key = PrivateKey::generate()?;
                let mut keys = held.keys.clone();
                keys.identity.push(key.clone());
                keys.save(&self.shared.paths.keys(), &self.shared.sealer)?;
                held.keys = keys;
                Ok(key)
            }
        }
    }

    /// Keeps a renewed certificate beside the one in use until a session proves it. A new CA bundle must also carry the
    /// certificate in use.
    pub(super) fn install_candidate(
        &self,
        chain: Vec<CertificateDer<'static>>,
        ca_bundle: Vec<CertificateDer<'static>>,
        now_seconds: i64,
    ) -> Result<CertificateTimes, IdentityError> {
        let mut held = self.held();
        let paths = &self.shared.paths;
        let refused = |path: PathBuf| move |source| IdentityError::Certificate { path, source };
        issued::check(held.current.chain.clone(), &ca_bundle, self.bridge_id()).map_err(refused(paths.ca()))?;
        let candidate = check_own(chain, &ca_bundle, self.bridge_id(), &held.keys).map_err(refused(paths.next()))?;
        candidate.times.check(now_seconds).map_err(refused(paths.next()))?;
        if candidate.public_key == held.current.public_key {
            return Err(refused(paths.next())(IssuedError::OtherKey));
        }
        if ca_bundle != held.ca_bundle {
            files::replace(&paths.ca(), pem(&ca_bundle).as_bytes())?;
            held.ca_bundle = ca_bundle;
        }
        files::replace(&paths.next(), pem(&candidate.chain).as_bytes())?;
        let times = candidate.times;
        held.candidate = Some(candidate);
        held.candidate_given = false;
        self.drop_unused_keys(&mut held)?;
        Ok(times)
    }

    /// Removes the certificate before the present one, with its key, when its 24 h are over.
    pub(super) fn drop_previous(&self, now_ms: i64) -> Result<(), IdentityError> {
        let mut held = self.held();
        if held.record.previous_since_ms.is_none_or(|since| now_ms.saturating_sub(since) < PREVIOUS_KEPT_MS) {
            return Ok(());
        }
        files::remove(&self.shared.paths.previous())?;
        let record = Record { previous_since_ms: None, ..held.record.clone() };
        record.save(&self.shared.paths.record())?;
        held.record = record;
        self.drop_unused_keys(&mut held)
    }

    /// Keys are in order of making: those before the present one belong to the previous certificate, those after it to the
    /// candidate or to a request still open.
    fn drop_unused_keys(&self, held: &mut Held) -> Result<(), IdentityError> {
        let mut keys = held.keys.clone();
        let present = keys.identity.iter().position(|key| key.public() == held.current.public_key).unwrap_or_default();
        let keep_previous = held.record.previous_since_ms.is_some();
        let candidate = held.candidate.as_ref().map(|candidate| candidate.public_key.clone());
        let mut position = 0;
        keys.identity.retain(|key| {
            let at = position;
            position += 1;
            match &candidate {
                _ if at == present => true,
                _ if at < present => keep_previous && at + 1 == present,
                Some(candidate) => key.public() == candidate,
                None => true,
            }
        });
        if keys.identity.len() != held.keys.identity.len() {
            keys.save(&self.shared.paths.keys(), &self.shared.sealer)?;
            held.keys = keys;
        }
        Ok(())
    }
}
