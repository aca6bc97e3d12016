//! A small JSON client over HTTP and HTTPS with one kept connection: for the cloud's API, the simulators' control
//! addresses and the bridge's health address.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(30);

/// A request that the server refused, or that did not get through.
#[derive(Debug, Error)]
pub enum ApiError {
    /// An answer that is not 2xx.
    #[error("{method} {path}: {status}: {body}")]
    Status {
        /// Method.
        method: Method,
        /// Path and query.
        path: String,
        /// Status.
        status: StatusCode,
        /// Body as JSON, or as text in a JSON string.
        body: Value,
    },
    /// No answer.
    #[error("{path}: {source:#}")]
    Transport {
        /// Path and query.
        path: String,
        /// Why.
        source: anyhow::Error,
    },
}

impl ApiError {
    /// `error.type` of the API's error envelope.
    pub fn kind(&self) -> &str {
        match self {
            Self::Status { body, .. } => body["error"]["type"].as_str().unwrap_or_default(),
            Self::Transport { .. } => "",
        }
    }

    /// The HTTP status, when there was an answer.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::Transport { .. } => None,
        }
    }
}

/// Talks JSON to one server.
#[derive(Debug)]
pub struct ApiClient {
    host: String,
    port: u16,
    tls: Option<Arc<rustls::ClientConfig>>,
    bearer: Option<String>,
    connection: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl ApiClient {
    /// Plain HTTP to `address` (`host:port`).
    pub fn plain(address: &str) -> Result<Self> {
        Self::new(address, None, None)
    }

    /// HTTPS to `address`, trusting the certificates of a PEM text only.
    pub fn secure(address: &str, ca_pem: &str, bearer: &str) -> Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
            roots.add(certificate.context("a certificate of the CA file")?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self::new(address, Some(Arc::new(tls)), Some(bearer.to_owned()))
    }

    fn new(address: &str, tls: Option<Arc<rustls::ClientConfig>>, bearer: Option<String>) -> Result<Self> {
        let (host, port) = address.rsplit_once(':').context("an address with a port")?;
        Ok(Self { host: host.to_owned(), port: port.parse()?, tls, bearer, connection: Mutex::new(None) })
    }

    /// The same server with another key.
    #[must_use]
    pub fn with_bearer(&self, bearer: &str) -> Self {
        Self {
            host: self.host.clone(),
            port: self.port,
            tls: self.tls.clone(),
            bearer: Some(bearer.to_owned()),
            connection: Mutex::new(None),
        }
    }

    /// POST with a JSON body.
    pub async fn post(&self, path: &str, body: Value) -> Result<Value, ApiError> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.call(Method::GET, path, None).await
    }

    /// Any method; a body that is not JSON comes back as a JSON string.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, ApiError> {
        let sent = tokio::time::timeout(ANSWER, self.exchange(&method, path, body.as_ref())).await;
        let (status, body) = sent
            .context("no answer within 30 s")
            .and_then(|sent| sent)
            .map_err(|source| ApiError::Transport { path: path.to_owned(), source })?;
        if status.is_success() {
            Ok(body)
        } else {
            Err(ApiError::Status { method, path: path.to_owned(), status, body })
        }
    }

    async fn exchange(&self, method: &Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Value)> {
        let mut kept = self.connection.lock().await;
        let mut sender = match kept.take().filter(SendRequest::is_ready) {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let mut request =
            Request::builder().method(method).uri(path).header(HOST, format!("{}:{}", self.host, self.port));
        if let Some(bearer) = &self.bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {bearer}"));
        }
        let bytes = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let response = sender.send_request(request.body(Full::new(Bytes::from(bytes)))?).await?;
        let status = response.status();
        let bytes = response.into_body().collect().await?.to_bytes();
        let value = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        // Ready again once the answer was read whole; a server that closes is seen at the next call.
        if sender.ready().await.is_ok() {
            *kept = Some(sender);
        }
        Ok((status, value))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .with_context(|| format!("connecting to {}:{}", self.host, self.port))?;
        stream.set_nodelay(true)?;
        // The driver tasks end when the connection or this client does.
        Ok(match &self.tls {
            None => {
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                sender
            }
            Some(tls) => {
                let name = ServerName::try_from(self.host.clone())?;
                let stream = tokio_rustls::TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?;
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                sender
            }
        })
    }
}
