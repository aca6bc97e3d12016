//! HTTP CONNECT through a proxy (RFC 9110 section 9.3.6): ask, read a bounded head, hand the stream on untouched.

use std::io;
use std::time::Duration;

use data_encoding::BASE64;
use secrecy::{ExposeSecret as _, SecretString};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use zeroize::Zeroizing;

/// From the request to the end of the answer's head (rule G2).
pub(super) const PROXY_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest head of an answer.
pub(super) const HEAD_BYTES: usize = 8 * 1024;
/// How much of a proxy's own words is repeated in an error.
const STATUS_LINE_CHARACTERS: usize = 120;

/// What the proxy did instead of opening the way.
#[derive(Debug, Error)]
pub enum ProxyError {
    /// It said nothing, or not enough.
    #[error("no complete answer to CONNECT within {seconds} s")]
    Timeout {
        /// The limit.
        seconds: u64,
    },
    /// It wants user and password, or other ones.
    #[error("it asks for authentication (407){}", if *.sent { ": user or password are wrong" } else { ": no user is configured" })]
    Authentication {
        /// Whether credentials had been sent.
        sent: bool,
    },
    /// It refused with another status.
    #[error("it answered `{status_line}`")]
    Refused {
        /// First line of the answer.
        status_line: String,
    },
    /// What it answered is not HTTP, or too much of it.
    #[error("its answer is not usable: {problem}")]
    Garbage {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The connection to it broke.
    #[error("the connection to it broke")]
    Io(#[from] io::Error),
}

/// User and password for Basic authentication.
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: SecretString,
}

/// Asks the proxy at the other end of `stream` for a way to `target` (`host:port`).
pub(super) async fn open<Stream>(
    stream: &mut Stream,
    target: &str,
    credentials: Option<&Credentials>,
) -> Result<(), ProxyError>
where
    Stream: AsyncRead + AsyncWrite + Unpin,
{
    let exchange = async {
        stream.write_all(request(target, credentials).as_bytes()).await?;
        stream.flush().await?;
        read_head(stream).await
    };
    let head = timeout(PROXY_TIMEOUT, exchange)
        .await
        .map_err(|_| ProxyError::Timeout { seconds: PROXY_TIMEOUT.as_secs() })??;
    judge(&head, credentials.is_some())
}

fn request(target: &str, credentials: Option<&Credentials>) -> Zeroizing<String> {
    let mut text = Zeroizing::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"));
    if let Some(Credentials { user, password }) = credentials {
        let pair = Zeroizing::new(format!("{user}:{}", password.expose_secret()));
        let encoded = Zeroizing::new(BASE64.encode(pair.as_bytes()));
        text.push_str("Proxy-Authorization: Basic ");
        text.push_str(&encoded);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text
}

/// Reads up to and including the blank line.
async fn read_head<Stream: AsyncRead + Unpin>(stream: &mut Stream) -> Result<Vec<u8>, ProxyError> {
    let mut head = Vec::with_capacity(256);
    loop {
        let mut piece = [0; 512];
        let count = stream.read(&mut piece).await?;
        if count == 0 {
            return Err(ProxyError::Garbage { problem: "the connection ended within it" });
        }
        head.extend_from_slice(piece.get(..count).unwrap_or_default());
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            // In TLS the client speaks first, so anything behind the head cannot be from the cloud.
            if end + 4 != head.len() && head.starts_with(b"HTTP/1.") && matches!(status(&head), Some(200..=299)) {
                return Err(ProxyError::Garbage { problem: "bytes follow the head before we spoke" });
            }
            head.truncate(end);
            return Ok(head);
        }
        if !b"HTTP/1.".starts_with(head.get(..7).unwrap_or(&head)) {
            return Err(ProxyError::Garbage { problem: "it is not HTTP/1" });
        }
        if head.len() > HEAD_BYTES {
            return Err(ProxyError::Garbage { problem: "the head is longer than 8 KiB" });
        }
    }
}

fn judge(head: &[u8], sent: bool) -> Result<(), ProxyError> {
    match status(head) {
        Some(200..=299) => Ok(()),
        Some(407) => Err(ProxyError::Authentication { sent }),
        Some(_) => Err(ProxyError::Refused { status_line: status_line(head) }),
        None => Err(ProxyError::Garbage { problem: "it has no HTTP/1 status line" }),
    }
}

fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.0 ").or_else(|| head.strip_prefix(b"HTTP/1.1 "))?;
    let digits = rest.first_chunk::<3>()?;
    if rest.get(3).is_some_and(|next| !matches!(next, b' ' | b'\r')) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|status| (100..600).contains(status))
}

fn status_line(head: &[u8]) -> String {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let text = String::from_utf8_lossy(line);
    text.chars().filter(|character| !character.is_control()).take(STATUS_LINE_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// What comes of an answer that arrives in two pieces.
    fn answer_in_two(first: &[u8], second: &[u8]) -> Result<(), ProxyError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async { judge(&read_head(&mut first.chain(second)).await?, false) })
    }

    proptest! {
        #[test]
        fn any_split_of_a_good_answer_is_the_same_answer(at in any::<prop::sample::Index>(), status in 200u16..300) {
            let answer = format!("HTTP/1.1 {status} Connection established\r\nX: y\r\n\r\n");
            let (first, second) = answer.as_bytes().split_at(at.index(answer.len()));
            prop_assert!(answer_in_two(first, second).is_ok());
        }

        #[test]
        fn only_a_2xx_opens_the_way(status in 300u16..600, rest in "[ -~]{0,40}") {
            let answer = format!("HTTP/1.1 {status} {rest}\r\n\r\n");
            prop_assert!(answer_in_two(answer.as_bytes(), b"").is_err());
        }

        #[test]
        fn no_bytes_make_it_panic_or_pass(
            first in proptest::collection::vec(any::<u8>(), 0..64),
            second in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            prop_assert!(answer_in_two(&first, &second).is_err());
            prop_assert!(answer_in_two(&[b"HTTP/1.1 ", first.as_slice()].concat(), &second).is_err());
        }
    }
}
