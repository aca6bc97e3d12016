//! Enrollment, steps 1 to 5 of rule H1: keys first, then one POST bound to its TLS session, then everything that came back
//! is checked before anything is stored.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use hyper::StatusCode;
use jiff::Timestamp;
use lockbridge_protocol::enrollment::{EXPORTER_LABEL, EnrollmentToken, prove};
use lockbridge_protocol::limits::ENROLLMENT_BYTES;
use lockbridge_protocol::proto::tunnel::{EnrollRefused, EnrollRequest, EnrollResponse};
use prost::Message as _;
use serde::{Deserialize, Serialize};
use tracing::info;
use url::Url;

use super::error::EnrollError;
use super::files;
use super::issued::{self, IssuedError};
use super::keys::Keys;
use super::record::{self, Record};
use super::state_key::open_sealer;
use super::store::{Paths, pem};
use super::token::{TokenReadError, TokenSource};
use crate::clock::Clock;
use crate::config::SecretSource;
use crate::net::{Dialer, HttpAnswer, TlsTime, ca_key_hash, enrollment_client, post};

/// Version of the request.
const REQUEST_VERSION: u32 = 1;
/// Content type of request and answer.
pub(super) const CONTENT_TYPE: &str = "application/protobuf";
/// Longest name of this machine that is sent.
const DISPLAY_NAME_CHARACTERS: usize = 100;

/// What enrollment needs.
#[derive(Debug, Clone)]
pub struct EnrollOptions {
    /// State directory of the daemon; created when it is not there.
    pub state_directory: PathBuf,
    /// As configured; `None`: `state.key` in the state directory.
    pub state_key: Option<SecretSource>,
    /// Where the token is read from.
    pub token: TokenSource,
    /// What the admin will see in the cloud, such as the host name.
    pub display_name: String,
    /// The way out, with the configured proxy.
    pub dialer: Dialer,
    /// For validity checks.
    pub clock: Arc<dyn Clock>,
}

/// What enrollment led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollSummary {
    /// Given by the cloud.
    pub bridge_id: String,
    /// Workspace it belongs to.
    pub workspace_id: String,
    /// The same, for people.
    pub workspace_name: String,
    /// Site within it.
    pub site_id: String,
    /// Where the tunnel will go.
    pub tunnel_url: String,
    /// Last second of the certificate; `None` when nothing was done.
    pub certificate_not_after: Option<Timestamp>,
    /// This token had led to this identity before; nothing was done.
    pub already_enrolled: bool,
}

/// Makes this machine the bridge that the token is for. Safe to repeat with the same token after any failure: the keys of
/// the first try are used again, and the cloud gives the same identity to the same key.
pub async fn enroll(options: EnrollOptions) -> Result<EnrollSummary, EnrollError> {
    let source = options.token.clone();
    let token = tokio::task::spawn_blocking(move || source.read())
        .await
        .map_err(|error| TokenReadError::Stdin(std::io::Error::other(error)))??;
    let sealer = open_sealer(&options.state_directory, options.state_key.as_ref())?;
    let paths = Paths::of(&options.state_directory);
    files::make_directory(paths.directory())?;
    let token_public_key = HEXLOWER.encode(&token.public_key());
    if let Some(record) = Record::load(&paths.record())? {
        if record.token_public_key != token_public_key {
            let directory = paths.directory().to_path_buf();
            return Err(EnrollError::AlreadyEnrolled { bridge_id: record.bridge_id, directory });
        }
        return Ok(summary(&record, None));
    }
    let keys = Keys::load_or_create(&paths.keys(), &sealer)?;
    let time = TlsTime::new(options.clock.clone());
    let response = ask(&options, &token, &keys, &time).await?;
    let (record, certificate) = accept(response, &token, &keys, time.now_seconds(), token_file(&options.token))?;
    files::replace(&paths.ca(), pem(&certificate.ca_bundle).as_bytes())?;
    files::replace(&paths.certificate(), pem(&certificate.chain).as_bytes())?;
    record.save(&paths.record())?;
    info!(bridge_id = record.bridge_id, workspace_id = record.workspace_id, site_id = record.site_id, "Enrolled.");
    Ok(summary(&record, Timestamp::from_second(certificate.not_after).ok()))
}

async fn ask(
    options: &EnrollOptions,
    token: &EnrollmentToken,
    keys: &Keys,
    time: &TlsTime,
) -> Result<EnrollResponse, EnrollError> {
    let url = Url::parse(&format!("{}/v1/enroll", token.hub_url))
        .map_err(|_| EnrollError::HubUrl { hub_url: token.hub_url.clone() })?;
    let identity_key = keys.newest_identity()?;
    let certificate_request = identity_key.certificate_request()?;
    let tls = enrollment_client(token.ca_key_hash, time)?;
    let connection = options.dialer.connect(&url, tls).await.map_err(EnrollError::Dial)?;
    let exporter = connection.exporter(EXPORTER_LABEL).map_err(EnrollError::Exporter)?;
    let audit_public_key = keys.audit.public().to_vec();
    let request = EnrollRequest {
        version: REQUEST_VERSION,
        token_public_key: token.public_key().to_vec(),
        proof: prove(&token.key, &certificate_request, &audit_public_key, &exporter),
        certificate_request,
        audit_public_key,
        software_version: env!("CARGO_PKG_VERSION").to_owned(),
        display_name: options.display_name.chars().take(DISPLAY_NAME_CHARACTERS).collect(),
    };
    let answer = post(connection, &url, CONTENT_TYPE, request.encode_to_vec(), ENROLLMENT_BYTES)
        .await
        .map_err(EnrollError::AnswerLost)?;
    if answer.status != StatusCode::OK {
        return Err(refusal(&answer, options.clock.wall()));
    }
    EnrollResponse::decode(answer.body).map_err(|error| EnrollError::Answer { problem: error.to_string() })
}

/// What a status other than 200 means.
fn refusal(answer: &HttpAnswer, our_time: Timestamp) -> EnrollError {
    let status = answer.status.as_u16();
    if matches!(answer.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return EnrollError::Busy { status, retry_after: answer.retry_after };
    }
    // A body of another kind says nothing we could repeat.
    let EnrollRefused { code, message, hub_time_ms } = EnrollRefused::decode(answer.body.clone()).unwrap_or_default();
    let hub_time = Timestamp::from_millisecond(hub_time_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    let message = record::shown_name(&message);
    match code.as_str() {
        "token_unknown" => EnrollError::TokenUnknown { message },
        "token_expired" => EnrollError::TokenExpired { hub_time, message },
        "token_used" => EnrollError::TokenUsed { message },
        "proof_invalid" => EnrollError::ProofInvalid { message },
        "clock_skew" => EnrollError::ClockSkew { hub_time, our_time },
        _ => EnrollError::Refused { status, code: record::shown_name(&code), message },
    }
}

/// Certificates that passed every check.
struct Accepted {
    chain: Vec<rustls::pki_types::CertificateDer<'static>>,
    ca_bundle: Vec<rustls::pki_types::CertificateDer<'static>>,
    not_after: i64,
}

/// Step 5: own key, ids, CA, chain, validity; nothing is stored before all of it holds.
fn accept(
    response: EnrollResponse,
    token: &EnrollmentToken,
    keys: &Keys,
    now_seconds: i64,
    token_file: Option<PathBuf>,
) -> Result<(Record, Accepted), EnrollError> {
    let unusable = |problem: &str| EnrollError::Answer { problem: problem.to_owned() };
    let authority_keys = record::authority_keys(&response.authority_keys)
        .ok_or_else(|| unusable("the id of an authority key does not fit the key"))?;
    let record = Record {
        format: Record::format(),
        bridge_id: response.bridge_id,
        workspace_id: response.workspace_id,
        workspace_name: record::shown_name(&response.workspace_name),
        site_id: response.site_id,
        tunnel_url: response.tunnel_url,
        authority_keys,
        token_public_key: HEXLOWER.encode(&token.public_key()),
        token_file,
        previous_since_ms: None,
    };
    record.parse().map_err(|problem| EnrollError::Answer { problem })?;
    let ca_bundle = issued::certificates("the CA bundle", response.ca_bundle).map_err(EnrollError::Certificate)?;
    if !ca_bundle.iter().any(|ca| ca_key_hash(ca) == Some(token.ca_key_hash)) {
        return Err(EnrollError::Certificate(IssuedError::OtherCa));
    }
    let chain = issued::certificates("the chain", response.certificate_chain).map_err(EnrollError::Certificate)?;
    let issued = issued::check(chain, &ca_bundle, &record.bridge_id).map_err(EnrollError::Certificate)?;
    if issued.public_key != keys.newest_identity()?.public() {
        return Err(EnrollError::Certificate(IssuedError::OtherKey));
    }
    issued.times.check(now_seconds).map_err(EnrollError::Certificate)?;
    Ok((record, Accepted { chain: issued.chain, ca_bundle, not_after: issued.times.not_after }))
}

/// The absolute path of a token file, for the daemon to wipe it: it may run in another directory.
fn token_file(source: &TokenSource) -> Option<PathBuf> {
    match source {
        TokenSource::File(path) => std::path::absolute::<&Path>(path).ok(),
        TokenSource::Stdin | TokenSource::Text(_) | TokenSource::Credential => None,
    }
}

pub(super) fn summary(record: &Record, certificate_not_after: Option<Timestamp>) -> EnrollSummary {
    EnrollSummary {
        bridge_id: record.bridge_id.clone(),
        workspace_id: record.workspace_id.clone(),
        workspace_name: record.workspace_name.clone(),
        site_id: record.site_id.clone(),
        tunnel_url: record.tunnel_url.clone(),
        already_enrolled: certificate_not_after.is_none(),
        certificate_not_after,
    }
}
