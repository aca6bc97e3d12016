//! One HTTP exchange a connection: enroll, renew, health, or the upgrade to a tunnel.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use lockbridge_protocol::enrollment::{EXPORTER_BYTES, EXPORTER_LABEL};
use lockbridge_protocol::limits;
use prost::Message;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::{Hub, session};
use crate::clock::now_ms;
use crate::enroll::{Peer, Refusal};
use crate::net::TlsConnection;

/// Subprotocol both ends must name.
const SUBPROTOCOL: &str = "lockbridge.tunnel.v1";
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/protobuf");
/// Reading the head of a request (rule G2).
const HEAD: Duration = Duration::from_secs(10);
/// One whole exchange, database work included.
const EXCHANGE: Duration = Duration::from_secs(30);
/// Read and write buffers of a tunnel: what an idle bridge costs is mostly these.
const TUNNEL_BUFFER: usize = 8 * 1024;
/// Most that waits for a bridge that reads slowly (rule D8).
const WRITE_BUFFER: usize = 1024 * 1024;

type Answer = Response<Full<Bytes>>;

/// What TLS says about a connection.
struct Connection {
    hub: Hub,
    peer: Option<Peer>,
    exporter: Option<[u8; EXPORTER_BYTES]>,
    upgrade: Mutex<Option<OnUpgrade>>,
}

/// Serves one connection to its end, tunnel included.
pub(super) async fn serve(hub: Hub, stream: TlsConnection, address: SocketAddr) {
    // Boxed, so that a tunnel does not carry the memory of its upgrade for weeks.
    if let Some((socket, peer)) = Box::pin(establish(hub.clone(), stream, address)).await {
        session::run(hub, socket, peer, address).await;
    }
}

/// The HTTP exchange, and what it led to if that is a tunnel.
async fn establish(
    hub: Hub,
    stream: TlsConnection,
    address: SocketAddr,
) -> Option<(WebSocketStream<TlsConnection>, Peer)> {
    let (_, tls) = stream.get_ref();
    let certificate = tls.peer_certificates().and_then(|chain| chain.first());
    let connection = Arc::new(Connection {
        peer: certificate.and_then(|leaf| Peer::of_certificate(leaf)),
        exporter: tls.export_keying_material([0; EXPORTER_BYTES], EXPORTER_LABEL, None).ok(),
        upgrade: Mutex::new(None),
        hub,
    });
    if let Err(error) = exchange(Arc::clone(&connection), stream).await {
        tracing::debug!(%address, %error, "An HTTP exchange failed.");
        return None;
    }
    let upgrade = connection.upgrade.lock().unwrap_or_else(PoisonError::into_inner).take()?;
    let peer = connection.peer.clone()?;
    match upgrade.await.map(hyper::upgrade::Upgraded::downcast::<TokioIo<TlsConnection>>) {
        Ok(Ok(parts)) => {
            let config = WebSocketConfig::default()
                .read_buffer_size(TUNNEL_BUFFER)
                .write_buffer_size(TUNNEL_BUFFER)
                .max_write_buffer_size(WRITE_BUFFER)
                .max_message_size(Some(limits::FRAME_BYTES))
                .max_frame_size(Some(limits::FRAME_BYTES));
            let (stream, read) = (parts.io.into_inner(), parts.read_buf.to_vec());
            Some((WebSocketStream::from_partially_read(stream, read, Role::Server, Some(config)).await, peer))
        }
        Ok(Err(_)) => {
            tracing::error!(%address, "An upgraded connection was not of the kind that was accepted.");
            None
        }
        Err(error) => {
            tracing::info!(%address, %error, "An upgrade to a tunnel failed.");
            None
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ExchangeError {
    #[error("not done within {} s", EXCHANGE.as_secs())]
    Slow,
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

async fn exchange(connection: Arc<Connection>, stream: TlsConnection) -> Result<(), ExchangeError> {
    let service = service_fn(move |request| {
        let connection = Arc::clone(&connection);
        async move {
            let mut answer = answer(&connection, request).await;
            // One exchange a connection; whoever has more to ask shows its certificate again.
            if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let serving = http1::Builder::new()
        .max_buf_size(limits::HANDSHAKE_HEAD_BYTES)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    timeout(EXCHANGE, Box::pin(serving)).await.map_err(|_| ExchangeError::Slow)?.map_err(ExchangeError::Http)
}

async fn answer(connection: &Connection, request: Request<Incoming>) -> Answer {
    let path = request.uri().path();
    let expected = match path {
        "/healthz" | "/v1/tunnel" => Method::GET,
        "/v1/enroll" | "/v1/renew" => Method::POST,
        _ => return text(StatusCode::NOT_FOUND, "There is nothing here; bridges use /v1/tunnel."),
    };
    if request.method() != expected {
        return text(StatusCode::METHOD_NOT_ALLOWED, "This path wants another method.");
    }
    if path == "/healthz" {
        return text(StatusCode::OK, "ok");
    }
    // Before any signature is checked or row is read.
    if let Err(seconds) = connection.hub.0.admission.enter(connection.hub.now(), rand::random()) {
        let mut busy = text(StatusCode::SERVICE_UNAVAILABLE, "Too many bridges at once; come back later.");
        busy.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        return busy;
    }
    match path {
        "/v1/tunnel" => upgrade(connection, request),
        "/v1/enroll" => enroll(connection, request).await,
        _ => renew(connection, request).await,
    }
}

fn upgrade(connection: &Connection, mut request: Request<Incoming>) -> Answer {
    if connection.peer.is_none() {
        return text(StatusCode::FORBIDDEN, "A tunnel needs a client certificate of an enrolled bridge.");
    }
    let headers = request.headers();
    let wanted = [(CONNECTION, "upgrade"), (UPGRADE, "websocket"), (SEC_WEBSOCKET_VERSION, "13")];
    if let Some((name, token)) = wanted.iter().find(|(name, token)| !lists(headers, name, token)) {
        return text(
            StatusCode::BAD_REQUEST,
            &format!("A tunnel is a websocket; the header {name} must name {token}."),
        );
    }
    if !lists(headers, &SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        return text(StatusCode::BAD_REQUEST, &format!("This hub speaks the subprotocol {SUBPROTOCOL} only."));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let Some(accept) = key.and_then(|key| HeaderValue::try_from(key).ok()) else {
        return text(StatusCode::BAD_REQUEST, "The header sec-websocket-key is missing.");
    };
    let pending = hyper::upgrade::on(&mut request);
    *connection.upgrade.lock().unwrap_or_else(PoisonError::into_inner) = Some(pending);
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    answer
}

/// Whether a header, a list of tokens in any case, names `token`.
fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
}

async fn enroll(connection: &Connection, request: Request<Incoming>) -> Answer {
    let now = now_ms();
    let done = async {
        let body = body(request).await?;
        let exporter = connection.exporter.as_ref().ok_or(Refusal::Request("TLS gives no exporter"))?;
        connection.hub.0.parts.enroller.enroll(now, exporter, &body).await
    };
    match done.await {
        Ok(enrolled) => {
            tracing::info!(bridge_id = %enrolled.bridge_id, "A bridge enrolled.");
            protobuf(StatusCode::OK, &enrolled)
        }
        Err(refusal) => refused(now, "enrollment", &refusal),
    }
}

async fn renew(connection: &Connection, request: Request<Incoming>) -> Answer {
    let now = now_ms();
    let done = async {
        let peer = connection.peer.clone().ok_or(Refusal::IdentityUnknown)?;
        let body = body(request).await?;
        connection.hub.0.parts.enroller.renew(now, peer, &body).await
    };
    match done.await {
        Ok(renewed) => protobuf(StatusCode::OK, &renewed),
        Err(refusal) => refused(now, "renewal", &refusal),
    }
}

async fn body(request: Request<Incoming>) -> Result<Bytes, Refusal> {
    if request.headers().get(CONTENT_TYPE) != Some(&PROTOBUF) {
        return Err(Refusal::Request("the content type must be application/protobuf"));
    }
    let collected = Limited::new(request.into_body(), limits::ENROLLMENT_BYTES).collect().await;
    collected.map(http_body_util::Collected::to_bytes).map_err(|_| Refusal::Request("the body is too large or was cut"))
}

fn refused(now: i64, what: &str, refusal: &Refusal) -> Answer {
    match refusal {
        Refusal::Unavailable(error) => tracing::error!(%error, what, "An identity could not be given."),
        told => tracing::warn!(code = told.code(), what, "An identity was refused."),
    }
    let mut answer = protobuf(refusal.status(), &refusal.to_wire(now));
    if refusal.status() == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    answer
}

fn protobuf(status: StatusCode, message: &impl Message) -> Answer {
    let mut answer = Response::new(Full::from(message.encode_to_vec()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, PROTOBUF);
    answer
}

fn text(status: StatusCode, sentence: &str) -> Answer {
    let mut answer = Response::new(Full::from(format!("{sentence}\n")));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
