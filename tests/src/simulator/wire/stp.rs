//! The STP frame on TCP, as the server reads and writes it: `STP/<version>/<length>/<body>`.
//!
//! A header that is wrong in any way ends the connection without an answer. A length larger than what was sent makes the
//! server wait for the missing bytes, up to the deadline of a frame.

use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// A started frame must be complete after this long.
const FRAME_DEADLINE: Duration = Duration::from_secs(30);
/// An idle connection is closed after this long.
const IDLE_DEADLINE: Duration = Duration::from_mins(10);
/// Digits of the length field.
const LENGTH_DIGITS: usize = 6;

/// Why no further frame was read. In every case the connection is closed.
#[derive(Debug, Error)]
pub enum FrameError {
    #[error("the peer closed the connection")]
    Closed,
    #[error("the frame header is wrong: {0}")]
    Header(&'static str),
    #[error("the peer sent nothing, or only a part of a frame, until the deadline")]
    Late,
    #[error("reading from the peer: {0}")]
    Io(#[source] io::Error),
}

/// One frame as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// `00` or `01`; the answer repeats it.
    pub version: [u8; 2],
    /// The XML body, undecoded.
    pub body: Vec<u8>,
}

impl Frame {
    /// The bytes of an answer with this body.
    pub fn encode(version: [u8; 2], body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(body.len() + 16);
        bytes.extend_from_slice(b"STP/");
        bytes.extend_from_slice(&version);
        bytes.extend_from_slice(format!("/{}/", body.len()).as_bytes());
        bytes.extend_from_slice(body);
        bytes
    }
}

/// Waits for one frame.
pub async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> Result<Frame, FrameError> {
    let first = timeout(IDLE_DEADLINE, stream.read_u8()).await.map_err(|_| FrameError::Late)?.map_err(read_error)?;
    timeout(FRAME_DEADLINE, read_rest(stream, first)).await.map_err(|_| FrameError::Late)?
}

async fn read_rest(stream: &mut (impl AsyncRead + Unpin), first: u8) -> Result<Frame, FrameError> {
    if first != b'S' {
        return Err(FrameError::Header("it does not start with STP/"));
    }
    let mut head = [0_u8; 6];
    stream.read_exact(&mut head[..3]).await.map_err(read_error)?;
    if &head[..3] != b"TP/" {
        return Err(FrameError::Header("it does not start with STP/"));
    }
    stream.read_exact(&mut head[3..]).await.map_err(read_error)?;
    let version = match &head[3..] {
        b"00/" => *b"00",
        b"01/" => *b"01",
        _ => return Err(FrameError::Header("the version is neither 00 nor 01")),
    };
    let mut length = 0_usize;
    for digits in 0..=LENGTH_DIGITS {
        match stream.read_u8().await.map_err(read_error)? {
            b'/' if digits > 0 => {
                let mut body = vec![0_u8; length];
                stream.read_exact(&mut body).await.map_err(read_error)?;
                return Ok(Frame { version, body });
            }
            digit @ b'0'..=b'9' if digits < LENGTH_DIGITS => length = length * 10 + usize::from(digit - b'0'),
            _ => break,
        }
    }
    Err(FrameError::Header("the length is not a number of one to six digits"))
}

fn read_error(error: io::Error) -> FrameError {
    if error.kind() == io::ErrorKind::UnexpectedEof { FrameError::Closed } else { FrameError::Io(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(mut bytes: &[u8]) -> Result<Frame, FrameError> {
        read_frame(&mut bytes).await
    }

    #[tokio::test]
    async fn reads_frames_back_to_back() {
        let mut bytes: &[u8] = b"STP/00/2/abSTP/01/0/";
        assert_eq!(read_frame(&mut bytes).await.unwrap(), Frame { version: *b"00", body: b"ab".to_vec() });
        assert_eq!(read_frame(&mut bytes).await.unwrap(), Frame { version: *b"01", body: Vec::new() });
        assert!(matches!(read_frame(&mut bytes).await, Err(FrameError::Closed)));
    }

    #[tokio::test]
    async fn refuses_wrong_headers() {
        for bytes in ["STQ/00/1/a", "X", "STP/02/1/a", "STP/00//a", "STP/00/1a/a", "STP/00/1000000/a", "STP/00/-1/a"] {
            assert!(matches!(read(bytes.as_bytes()).await, Err(FrameError::Header(_))), "{bytes}");
        }
        let longest = [b"STP/00/999999/".as_slice(), &vec![b'x'; 999_999]].concat();
        assert_eq!(read(&longest).await.unwrap().body.len(), 999_999);
        assert!(matches!(read(b"STP/00/3/ab").await, Err(FrameError::Closed)));
    }
}
