//! STP frames: `STP/<two digits>/<length>/<body>`, the same in both directions.
//!
//! No trailer, no checksum, no request identifier; the length counts body bytes only.

use super::limits::{BODY_BYTES, LENGTH_DIGITS};

/// `STP/00/999999/`.
const HEADER_BYTES: usize = 8 + LENGTH_DIGITS;
const MAGIC: &[u8; 4] = b"STP/";

/// The version that goes with ASCII-only XML at every known server.
pub const VERSION: [u8; 2] = *b"00";

/// One STP frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Two ASCII digits; what they select is not known. A server answers with those of the request.
    pub version: [u8; 2],
    /// The XML document.
    pub body: Vec<u8>,
}

/// The peer does not speak STP, or an own body is too large. The connection is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The first four bytes are not `STP/`.
    #[error("the peer does not speak STP: a frame does not start with `STP/`")]
    Magic,
    /// No two digits and a `/` after the magic.
    #[error("the version of an STP frame is not two digits")]
    Version,
    /// No one to six digits and a `/` after the version.
    #[error("the length of an STP frame is not a number of at most {LENGTH_DIGITS} digits")]
    Length,
    /// More than fits behind six digits.
    #[error("a body of {bytes} bytes does not fit into an STP frame (at most {BODY_BYTES})")]
    TooLarge {
        /// Size of the body.
        bytes: usize,
    },
}

impl Frame {
    /// The bytes on the wire.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        if self.body.len() > BODY_BYTES {
            return Err(FrameError::TooLarge { bytes: self.body.len() });
        }
        if !self.version.iter().all(u8::is_ascii_digit) {
            return Err(FrameError::Version);
        }
        let length = self.body.len().to_string();
        let mut bytes = Vec::with_capacity(HEADER_BYTES.saturating_add(self.body.len()));
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.version);
        bytes.push(b'/');
        bytes.extend_from_slice(length.as_bytes());
        bytes.push(b'/');
        bytes.extend_from_slice(&self.body);
        Ok(bytes)
    }
}

/// What has been read of the frame in hand.
#[derive(Debug)]
enum Progress {
    Header(Vec<u8>),
    Body { version: [u8; 2], length: usize, body: Vec<u8> },
    Failed(FrameError),
}

/// Finds frames in a stream that arrives in any pieces. Holds at most one frame; after an error it stays failed.
#[derive(Debug)]
pub struct FrameReader {
    progress: Progress,
}

impl Default for FrameReader {
    fn default() -> Self {
        Self::new()
    }
}

impl FrameReader {
    /// At the start of a frame.
    pub fn new() -> Self {
        Self { progress: Progress::Header(Vec::new()) }
    }

    /// Takes from the front of `input` what belongs to the frame in hand. `Some` as soon as it is complete; call again
    /// while `input` is not empty.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, FrameError> {
        loop {
            match &mut self.progress {
                Progress::Failed(error) => return Err(*error),
                Progress::Header(header) => {
                    let Some((&byte, rest)) = input.split_first() else { return Ok(None) };
                    *input = rest;
                    header.push(byte);
                    match step(header) {
                        Ok(None) => {}
                        Ok(Some((version, length))) => {
                            // Memory grows with what arrives, not with what a header claims.
                            self.progress = Progress::Body { version, length, body: Vec::new() };
                        }
                        Err(error) => {
                            self.progress = Progress::Failed(error);
                            return Err(error);
                        }
                    }
                }
                Progress::Body { version, length, body } => {
                    let wanted = length.saturating_sub(body.len());
                    let (taken, rest) = input.split_at_checked(wanted).unwrap_or((*input, &[]));
                    body.extend_from_slice(taken);
                    *input = rest;
                    if body.len() < *length {
                        return Ok(None);
                    }
                    let frame = Frame { version: *version, body: std::mem::take(body) };
                    self.progress = Progress::Header(Vec::new());
                    return Ok(Some(frame));
                }
            }
        }
    }

    /// Nothing of a frame has arrived yet: here a peer may close without harm.
    pub fn is_between_frames(&self) -> bool {
        matches!(&self.progress, Progress::Header(header) if header.is_empty())
    }
}

/// Checks the header so far, one byte longer than the last time; version and length once the last `/` is in.
fn step(header: &[u8]) -> Result<Option<([u8; 2], usize)>, FrameError> {
    let Some(rest) = header.strip_prefix(MAGIC) else {
        return if MAGIC.starts_with(header) { Ok(None) } else { Err(FrameError::Magic) };
    };
    let (version, rest) = match rest {
        [] => return Ok(None),
        [first] if first.is_ascii_digit() => return Ok(None),
        [first, second] if first.is_ascii_digit() && second.is_ascii_digit() => return Ok(None),
        [first, second, b'/', rest @ ..] => ([*first, *second], rest),
        _ => return Err(FrameError::Version),
    };
    let (digits, complete) = match rest {
        [digits @ .., b'/'] => (digits, true),
        digits => (digits, false),
    };
    if digits.len() > LENGTH_DIGITS || !digits.iter().all(u8::is_ascii_digit) || (complete && digits.is_empty()) {
        return Err(FrameError::Length);
    }
    if !complete {
        return Ok(None);
    }
    let length = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    length.map(|length| Some((version, length))).ok_or(FrameError::Length)
}
