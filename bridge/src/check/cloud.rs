//! The way to the cloud, walked once for all checks: name, addresses, and one request under the bridge's own trust.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use tokio::sync::OnceCell;
use url::Url;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::clock::Clock;
use crate::health::ReasonCode;
use crate::net::{Dialer, FirstHop, TlsTime, anonymous_client, chain_text, enrollment_client, get};

/// The hub's answer to a look is two bytes.
const ANSWER_BYTES: usize = 4096;
/// How much of a certificate's own words is repeated.
const ISSUER_CHARACTERS: usize = 200;

/// Who is believed to be the cloud.
#[derive(Debug, Clone)]
pub enum Trust {
    /// The CA certificates of this bridge's identity.
    Bundle(Vec<CertificateDer<'static>>),
    /// The CA key with this hash: a token that is not spent yet.
    KeyHash([u8; 32]),
    /// Not known to this user.
    Unknown,
}

/// Why a step did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) code: ReasonCode,
    pub(super) message: String,
}

/// What came of a connection whose other end is the cloud.
#[derive(Debug)]
pub(super) struct Met {
    /// Who issued its certificate.
    pub(super) issuer: String,
    /// Its answer, or why there is none.
    pub(super) answer: Result<Answer, String>,
}

/// The answer to a look.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The cloud's clock minus ours, in seconds; both are exact to about a second.
    pub(super) skew_s: Option<i64>,
    pub(super) took: Duration,
}

/// The cloud, and what was found out about the way to it.
#[derive(Debug)]
pub struct Cloud {
    url: Url,
    trust: Trust,
    dialer: Dialer,
    clock: Arc<dyn Clock>,
    pub(super) hop: FirstHop,
    resolved: OnceCell<Result<Vec<SocketAddr>, Trouble>>,
    tried: OnceCell<Vec<(SocketAddr, Result<Duration, String>)>>,
    met: OnceCell<Result<Met, Trouble>>,
}

impl Cloud {
    /// The cloud at `address` (`https` or `wss`); `None` when that is not a usable address.
    pub fn new(address: &str, trust: Trust, dialer: Dialer, clock: Arc<dyn Clock>) -> Option<Self> {
        let named = Url::parse(address).ok()?;
        let url = Url::parse(&format!("https://{}/healthz", named.authority())).ok()?;
        let hop = dialer.first_hop(&url)?;
        Some(Self {
            url,
            trust,
            dialer,
            clock,
            hop,
            resolved: OnceCell::new(),
            tried: OnceCell::new(),
            met: OnceCell::new(),
        })
    }

    /// `host:port` of the cloud.
    pub(super) fn target(&self) -> String {
        format!("{}:{}", self.url.host_str().unwrap_or_default(), self.url.port_or_known_default().unwrap_or_default())
    }

    pub(super) fn is_trust_known(&self) -> bool {
        !matches!(self.trust, Trust::Unknown)
    }

    /// The addresses of the first hop.
    pub(super) async fn resolved(&self) -> Result<&[SocketAddr], &Trouble> {
        let found = self.resolved.get_or_init(|| async {
            self.dialer.resolve(&self.hop).await.map_err(|error| {
                let (code, message) = error.reason();
                Trouble { code, message }
            })
        });
        found.await.as_ref().map(Vec::as_slice)
    }

    /// Each address of the first hop by itself.
    pub(super) async fn tried(&self) -> Result<&[(SocketAddr, Result<Duration, String>)], &Trouble> {
        let addresses = self.resolved().await?;
        let tried = self.tried.get_or_init(|| async {
            let tried = self.dialer.try_each(addresses).await;
            tried.into_iter().map(|(address, came)| (address, came.map_err(|error| error.to_string()))).collect()
        });
        Ok(tried.await)
    }

    /// Whether any address of the first hop can be reached.
    pub(super) async fn is_reachable(&self) -> bool {
        self.tried().await.is_ok_and(|tried| tried.iter().any(|(_, came)| came.is_ok()))
    }

    /// The whole way, as the daemon goes it. Ask only when the first hop is reachable.
    pub(super) async fn met(&self) -> Result<&Met, &Trouble> {
        self.met.get_or_init(|| self.meet()).await.as_ref()
    }

    async fn meet(&self) -> Result<Met, Trouble> {
        let time = TlsTime::new(Arc::clone(&self.clock));
        let client = match &self.trust {
            Trust::Bundle(bundle) => anonymous_client(bundle, &time),
            Trust::KeyHash(hash) => enrollment_client(*hash, &time),
            Trust::Unknown => anonymous_client(&[], &time),
        };
        let client = client.map_err(|error| Trouble { code: ReasonCode::Identity, message: chain_text(&error) })?;
        let connection = self.dialer.connect(&self.url, client).await.map_err(|error| {
            let (code, message) = error.reason();
            Trouble { code, message }
        })?;
        let issuer = connection.peer_chain().first().map(issuer_of).unwrap_or_default();
        let begun = Instant::now();
        let answer = get(connection, &self.url, ANSWER_BYTES).await;
        let our_time = self.clock.wall();
        let answer = answer.map_err(|error| chain_text(&error)).map(|answer| Answer {
            status: answer.status.as_u16(),
            skew_s: answer.date.map(|theirs| skew(theirs, our_time)),
            took: begun.elapsed(),
        });
        Ok(Met { issuer, answer })
    }
}

fn skew(theirs: Timestamp, ours: Timestamp) -> i64 {
    theirs.as_second().saturating_sub(ours.as_second())
}

fn issuer_of(certificate: &CertificateDer<'static>) -> String {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return String::new() };
    let text = parsed.issuer().to_string();
    text.chars().filter(|character| !character.is_control()).take(ISSUER_CHARACTERS).collect()
}
