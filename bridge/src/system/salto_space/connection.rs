//! One connection to the server: a request document goes out, an answer document comes back.

use std::sync::Arc;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use lockbridge_protocol::ship::frame::{Frame, FrameReader};
use lockbridge_protocol::ship::{http, limits};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::session::SessionError;
use crate::config::{HttpAuthentication, SecretSource, ShipTransport};

/// Bytes asked of the socket at once.
const READ_BYTES: usize = 16 * 1024;

/// A server's answer: its bytes, and the HTTP status where there is one.
#[derive(Debug)]
pub(super) struct RawAnswer {
    pub(super) body: Vec<u8>,
    pub(super) status: Option<u16>,
}

/// How to reach the server; made once, checked as far as that goes without it.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) transport: ShipTransport,
    pub(super) stp_version: [u8; 2],
    pub(super) tls: Option<Arc<ClientConfig>>,
}

impl Target {
    /// Host and port, for people.
    pub(super) fn address(&self) -> String {
        let (host, port) = self.transport.host_and_port();
        format!("{host}:{port}")
    }

    /// Connects. Nothing of a request has been sent when this fails.
    pub(super) async fn connect(&self) -> Result<Connection, SessionError> {
        let refused = |reason: String| SessionError::Connect { to: self.address(), reason };
        let (host, port) = self.transport.host_and_port();
        let stream = TcpStream::connect((host.as_str(), port)).await.map_err(|error| refused(error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| refused(error.to_string()))?;
        let ShipTransport::Http { url, authentication, .. } = &self.transport else {
            return Ok(Connection::Stp { stream, version: self.stp_version });
        };
        let sender = match &self.tls {
            None => handshake(TokioIo::new(stream)).await,
            Some(config) => {
                let name = ServerName::try_from(host).map_err(|error| refused(error.to_string()))?;
                let connector = TlsConnector::from(config.clone());
                let stream = connector.connect(name, stream).await.map_err(|error| refused(error.to_string()))?;
                handshake(TokioIo::new(stream)).await
            }
        };
        let (sender, driver) = sender.map_err(|error| refused(error.to_string()))?;
        let authority = url.port().map_or_else(
            || url.host_str().unwrap_or_default().to_owned(),
            |port| format!("{}:{port}", url.host_str().unwrap_or_default()),
        );
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        Ok(Connection::Http { sender, _driver: driver, authority, path, authentication: authentication.clone() })
    }
}

type HttpSender = SendRequest<Full<Bytes>>;

async fn handshake<T>(io: TokioIo<T>) -> Result<(HttpSender, AbortOnDropHandle<()>), hyper::Error>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    let driver = tokio::spawn(async move {
        // Its errors reach the request in hand.
        let _ended = connection.await;
    });
    Ok((sender, AbortOnDropHandle::new(driver)))
}

/// An open connection; used for one request at a time, and not again after an error.
#[derive(Debug)]
pub(super) enum Connection {
    Stp {
        stream: TcpStream,
        version: [u8; 2],
    },
    Http {
        sender: HttpSender,
        /// Moves the bytes; ends with this value.
        _driver: AbortOnDropHandle<()>,
        authority: String,
        path: String,
        authentication: HttpAuthentication,
    },
}

impl Connection {
    /// The server has neither closed it nor sent anything that nobody asked for.
    pub(super) fn is_usable(&self) -> bool {
        match self {
            Self::Stp { stream, .. } => {
                let mut byte = [0_u8; 1];
                matches!(stream.try_read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
            }
            Self::Http { sender, .. } => !sender.is_closed(),
        }
    }

    /// Sends a document and waits for the answer. After [`SessionError::Secret`] nothing was sent; after any other error the
    /// server may have acted.
    pub(super) async fn exchange(&mut self, document: String) -> Result<RawAnswer, SessionError> {
        match self {
            Self::Stp { stream, version } => exchange_stp(stream, *version, document).await,
            Self::Http { sender, authority, path, authentication, .. } => {
                let header = authentication_header(authentication).await?;
                exchange_http(sender, authority, path, header, document).await
            }
        }
    }
}

fn cut(reason: &dyn std::fmt::Display) -> SessionError {
    SessionError::Cut { reason: reason.to_string() }
}

async fn exchange_stp(stream: &mut TcpStream, version: [u8; 2], document: String) -> Result<RawAnswer, SessionError> {
    let frame = Frame { version, body: document.into_bytes() };
    let bytes = frame.encode().map_err(|error| SessionError::TooLarge { reason: error.to_string() })?;
    stream.write_all(&bytes).await.map_err(|error| cut(&error))?;
    let mut reader = FrameReader::new();
    let mut buffer = vec![0_u8; READ_BYTES];
    loop {
        let count = stream.read(&mut buffer).await.map_err(|error| cut(&error))?;
        if count == 0 {
            let when = if reader.is_between_frames() { "before its answer" } else { "in the middle of its answer" };
            return Err(cut(&format!("the server closed the connection {when}")));
        }
        let mut input = buffer.get(..count).unwrap_or_default();
        let frame = reader.read(&mut input).map_err(|error| SessionError::Unreadable { reason: error.to_string() })?;
        if let Some(frame) = frame {
            if !input.is_empty() {
                // One request, one answer: what follows belongs to no request of ours.
                return Err(SessionError::Unreadable { reason: "the server sent more than one answer".to_owned() });
            }
            return Ok(RawAnswer { body: frame.body, status: None });
        }
    }
}

async fn exchange_http(
    sender: &mut HttpSender,
    authority: &str,
    path: &str,
    authentication: Option<(HeaderName, HeaderValue)>,
    document: String,
) -> Result<RawAnswer, SessionError> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(HOST, authority)
        .header(CONTENT_TYPE, http::CONTENT_TYPE)
        .header(ACCEPT, http::CONTENT_TYPE);
    if let Some((name, value)) = authentication {
        request = request.header(name, value);
    }
    let request = request
        .body(Full::new(Bytes::from(document)))
        .map_err(|error| SessionError::TooLarge { reason: error.to_string() })?;
    sender.ready().await.map_err(|error| cut(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| cut(&error))?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), limits::BODY_BYTES).collect().await;
    match body {
        Ok(body) => Ok(RawAnswer { body: body.to_bytes().to_vec(), status: Some(status) }),
        Err(error) => Err(cut(&format!("the answer did not arrive whole: {error}"))),
    }
}

/// Reads the secret now and forgets it with the request.
async fn authentication_header(
    authentication: &HttpAuthentication,
) -> Result<Option<(HeaderName, HeaderValue)>, SessionError> {
    let (name, text) = match authentication {
        HttpAuthentication::None => return Ok(None),
        HttpAuthentication::Basic { user, password } => {
            let password = read_secret(password).await?;
            let text = http::basic_authorization(user, password.expose_secret());
            (AUTHORIZATION, SecretString::from(text))
        }
        HttpAuthentication::Custom { key } => {
            (HeaderName::from_bytes(http::KEY_HEADER.as_bytes()).map_err(header_fault)?, read_secret(key).await?)
        }
    };
    let mut value = HeaderValue::from_str(text.expose_secret()).map_err(header_fault)?;
    value.set_sensitive(true);
    Ok(Some((name, value)))
}

fn header_fault<E>(_: E) -> SessionError {
    SessionError::Secret { reason: "the secret has characters that an HTTP header cannot carry".to_owned() }
}

async fn read_secret(source: &SecretSource) -> Result<SecretString, SessionError> {
    let source = source.clone();
    let read = tokio::task::spawn_blocking(move || source.read()).await;
    let fault = |reason: String| SessionError::Secret { reason };
    read.map_err(|error| fault(error.to_string()))?.map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        fault(format!("{error}{cause}"))
    })
}
