//! One request with a bounded answer over an open connection, for enrollment, renewal and checks.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::header::{CONTENT_TYPE, DATE, HOST, RETRY_AFTER, USER_AGENT};
use hyper::http::request::Builder;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use thiserror::Error;
use tokio::time::timeout;
use url::Url;

use super::connection::Connection;

/// From the request to the last byte of the answer: the hub may be busy with a fleet.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Largest head of an answer.
const HEAD_BYTES: usize = 16 * 1024;
/// A longer wait than this is not believed (rule G5).
const RETRY_AFTER_MAXIMUM: Duration = Duration::from_secs(600);

/// The exchange failed; whether the server acted on the request is then not known.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The request cannot be written down.
    #[error("no HTTP request can be made for {url}")]
    Request {
        /// Where it was to go.
        url: String,
        /// Which part is refused.
        #[source]
        source: hyper::http::Error,
    },
    /// The connection broke or the answer is not HTTP.
    #[error("no HTTP answer from {url}")]
    Exchange {
        /// Who was asked.
        url: String,
        /// What happened.
        #[source]
        source: hyper::Error,
    },
    /// The answer is larger than allowed.
    #[error("the answer of {url} is longer than {limit} bytes")]
    TooLong {
        /// Who answered.
        url: String,
        /// The limit.
        limit: usize,
    },
    /// The answer broke off.
    #[error("the answer of {url} broke off: {problem}")]
    Body {
        /// Who answered.
        url: String,
        /// What happened.
        problem: String,
    },
    /// No complete answer in time.
    #[error("no complete answer from {url} within {seconds} s")]
    Timeout {
        /// Who was asked.
        url: String,
        /// The limit.
        seconds: u64,
    },
}

/// A complete answer.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    /// Status code.
    pub status: StatusCode,
    /// `Retry-After` in seconds, at most 600 s; dates are not understood.
    pub retry_after: Option<Duration>,
    /// The server's time from `Date`, to the second, when it gave one.
    pub date: Option<Timestamp>,
    /// The body, at most as long as was allowed.
    pub body: Bytes,
}

/// Asks for `url` over `connection`, which ends with the answer. At most 20 s.
pub async fn get(connection: Connection, url: &Url, limit: usize) -> Result<HttpAnswer, HttpError> {
    within_limit(url, Box::pin(exchange(connection, url, Request::get(url.path()), Vec::new(), limit))).await
}

/// Sends `body` to `url` over `connection`, which ends with the answer. At most 20 s.
pub async fn post(
    connection: Connection,
    url: &Url,
    content_type: &'static str,
    body: Vec<u8>,
    limit: usize,
) -> Result<HttpAnswer, HttpError> {
    let request = Request::post(url.path()).header(CONTENT_TYPE, content_type);
    within_limit(url, Box::pin(exchange(connection, url, request, body, limit))).await
}

async fn within_limit(
    url: &Url,
    exchange: impl Future<Output = Result<HttpAnswer, HttpError>>,
) -> Result<HttpAnswer, HttpError> {
    timeout(ANSWER_TIMEOUT, exchange)
        .await
        .unwrap_or_else(|_| Err(HttpError::Timeout { url: url.to_string(), seconds: ANSWER_TIMEOUT.as_secs() }))
}

async fn exchange(
    connection: Connection,
    url: &Url,
    request: Builder,
    body: Vec<u8>,
    limit: usize,
) -> Result<HttpAnswer, HttpError> {
    let failed = |source| HttpError::Exchange { url: url.to_string(), source };
    let authority = url.authority();
    let request = request
        .header(HOST, authority)
        .header(USER_AGENT, concat!("lockbridge/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(Bytes::from(body)))
        .map_err(|source| HttpError::Request { url: url.to_string(), source })?;
    let (mut sender, driver) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(HEAD_BYTES)
        .handshake(TokioIo::new(connection))
        .await
        .map_err(failed)?;
    let conversation = async {
        let answer = sender.send_request(request).await.map_err(failed)?;
        let status = answer.status();
        let seconds = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_after = seconds.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAXIMUM));
        let date = answer
            .headers()
            .get(DATE)
            .and_then(|value| DateTimeParser::new().parse_timestamp(value.to_str().ok()?).ok());
        let body = Limited::new(answer.into_body(), limit).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                HttpError::TooLong { url: url.to_string(), limit }
            } else {
                HttpError::Body { url: url.to_string(), problem: error.to_string() }
            }
        })?;
        Ok(HttpAnswer { status, retry_after, date, body: body.to_bytes() })
    };
    tokio::pin!(conversation, driver);
    // The driver moves the bytes. It may end first, when the server closes behind its answer; what was read is then still
    // handed over, and an error of the driver reaches the conversation too.
    tokio::select! {
        answer = &mut conversation => answer,
        _ended = &mut driver => conversation.await,
    }
}
