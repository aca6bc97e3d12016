//! SHIP over HTTP(S): the bare XML as the body of a POST to `/`.
//!
//! Failures of SHIP itself are 200 with an exception, as far as is known; 401 is a wrong login. In strict mode a content
//! type other than SHIP's is 415.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::answer::{Reply, answer};
use super::{HttpLogin, Simulator, life::WRITE_DEADLINE};

/// The media type of SHIP.
const SHIP: &str = "application/vnd.saltosystems.ship.v1+xml";
/// The same bound as the six digits of the STP header.
const LARGEST_BODY: usize = 999_999;

type Body = BoxBody<Bytes, io::Error>;

/// Serves a connection until the peer or this life of the server ends it.
pub(super) async fn serve<S>(simulator: Arc<Simulator>, stream: S, life: &CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        let (simulator, token) = (Arc::clone(&simulator), life.clone());
        // In a task of its own: hyper drops the future when the client goes away, but a card is written to the end.
        let task = tokio::spawn(async move { respond(&simulator, request, &token).await });
        async move { task.await.unwrap_or_else(|error| Err(io::Error::other(error))) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(WRITE_DEADLINE)
        .serve_connection(TokioIo::new(stream), service);
    if let Some(Err(error)) = life.run_until_cancelled(connection).await {
        tracing::debug!(%error, "an HTTP connection ended");
    }
}

/// An error closes the connection without an answer.
async fn respond(
    simulator: &Simulator,
    request: Request<Incoming>,
    life: &CancellationToken,
) -> Result<Response<Body>, io::Error> {
    if let Some(refused) = refuse(simulator, &request) {
        return refused;
    }
    let Ok(body) = Limited::new(request.into_body(), LARGEST_BODY).collect().await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE);
    };
    match answer(simulator, &body.to_bytes(), life).await {
        Reply::Send(document) => {
            let body = Full::new(Bytes::from(document)).map_err(never).boxed();
            Response::builder().header(CONTENT_TYPE, SHIP).body(body).map_err(io::Error::other)
        }
        Reply::SendHalf(document) => {
            let bytes = Bytes::from(document);
            let length = bytes.len();
            let half = bytes.slice(..length / 2);
            let parts = [Ok(Frame::data(half)), Err(io::Error::other("the second half is withheld"))];
            let body = BodyExt::boxed(StreamBody::new(stream::iter(parts)));
            let response = Response::builder().header(CONTENT_TYPE, SHIP).header(CONTENT_LENGTH, length);
            response.body(body).map_err(io::Error::other)
        }
        Reply::Close => Err(io::Error::other("closed without an answer")),
        Reply::Silence => {
            life.cancelled().await;
            Err(io::Error::other("the server stopped"))
        }
    }
}

fn refuse(simulator: &Simulator, request: &Request<Incoming>) -> Option<Result<Response<Body>, io::Error>> {
    let headers = request.headers();
    if request.uri().path() != "/" {
        return Some(plain(StatusCode::NOT_FOUND));
    }
    if request.method() != Method::POST {
        return Some(plain(StatusCode::METHOD_NOT_ALLOWED));
    }
    if !logged_in(&simulator.settings.http_login, headers) {
        let mut response = Response::builder().status(StatusCode::UNAUTHORIZED);
        if matches!(simulator.settings.http_login, HttpLogin::Basic(_)) {
            response = response.header(WWW_AUTHENTICATE, "Basic realm=\"SHIP\"");
        }
        return Some(response.body(empty()).map_err(io::Error::other));
    }
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if simulator.settings.rules.strict && content_type.split(';').next().map(str::trim) != Some(SHIP) {
        return Some(plain(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    None
}

fn logged_in(login: &HttpLogin, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    match login {
        HttpLogin::Nobody => true,
        HttpLogin::Basic(expected) => {
            let sent = text(AUTHORIZATION.as_str()).and_then(|value| value.split_once(' '));
            sent.is_some_and(|(scheme, value)| scheme.eq_ignore_ascii_case("basic") && value.trim() == expected)
        }
        HttpLogin::Custom(expected) => text("Salto-SHIP-Key") == Some(expected.as_str()),
    }
}

fn plain(status: StatusCode) -> Result<Response<Body>, io::Error> {
    Response::builder().status(status).body(empty()).map_err(io::Error::other)
}

fn empty() -> Body {
    Full::new(Bytes::new()).map_err(never).boxed()
}

fn never(impossible: Infallible) -> io::Error {
    match impossible {}
}
