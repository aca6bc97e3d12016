//! An open line: bytes in, whole frames out.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::endpoint::Limits;
use super::error::LineError;
use super::statistics::Statistics;

/// Anything that bytes flow through.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What a line runs over, as far as it makes a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Medium {
    /// TCP or TLS.
    Network,
    /// A port, on which a character takes this long.
    Serial { character: Duration },
}

/// An open line. Dropping it closes device or socket.
pub struct Line {
    stream: Box<dyn Stream>,
    place: String,
    medium: Medium,
    limits: Limits,
    statistics: Arc<Statistics>,
    /// A write failed or was given up in the middle: what follows would be read as its rest.
    has_ended: bool,
    heard_at: Instant,
    /// When the last byte handed over has left the port.
    sent_at: Instant,
}

impl fmt::Debug for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Line").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Line {
    /// A line over any stream, for tests and for connections made elsewhere. `place` names the other end in errors.
    pub fn over(
        stream: impl Stream + 'static,
        place: impl Into<String>,
        limits: Limits,
        statistics: Arc<Statistics>,
    ) -> Self {
        Self::new(Box::new(stream), place.into(), Medium::Network, limits, statistics)
    }

    pub(super) fn new(
        stream: Box<dyn Stream>,
        place: String,
        medium: Medium,
        limits: Limits,
        statistics: Arc<Statistics>,
    ) -> Self {
        statistics.line_opened();
        let now = Instant::now();
        Self { stream, place, medium, limits, statistics, has_ended: false, heard_at: now, sent_at: now }
    }

    /// The other end, for messages: a device, or host and port.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Waits for bytes; at least one. Dropping the future loses none.
    ///
    /// Errors: the device is gone, the connection ended, or the other side was silent for longer than
    /// [`Limits::silence`]. The line has then ended.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, LineError> {
        if self.has_ended {
            return Err(LineError::Ended { place: self.place.clone() });
        }
        let came = match self.limits.silence {
            None => self.stream.read(buffer).await,
            Some(limit) => {
                if let Ok(came) = timeout_at(self.heard_at + limit, self.stream.read(buffer)).await {
                    came
                } else {
                    self.has_ended = true;
                    return Err(LineError::Silent { place: self.place.clone(), seconds: limit.as_secs() });
                }
            }
        };
        match came {
            Ok(0) if !buffer.is_empty() => Err(self.lost(None)),
            Ok(bytes) => {
                self.heard_at = Instant::now();
                self.statistics.received(bytes);
                Ok(bytes)
            }
            Err(error) => Err(self.lost(Some(error))),
        }
    }

    /// Writes a whole frame, after the pause that is due since the last one.
    ///
    /// Errors: always [`LineError::Write`] (or [`LineError::Ended`]), which tells how many bytes certainly went nowhere. What
    /// the system took may still not have reached the other side. The line has then ended. Dropping the future in the
    /// middle ends the line too, and nobody knows how far it came.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), LineError> {
        if self.has_ended {
            return Err(LineError::Ended { place: self.place.clone() });
        }
        if !self.limits.pause.is_zero() {
            sleep_until(self.sent_at + self.limits.pause).await;
        }
        self.has_ended = true;
        let deadline = Instant::now() + self.limits.write;
        let mut rest = bytes;
        let failed = loop {
            if rest.is_empty() {
                break self.flush(deadline).await.err();
            }
            match timeout_at(deadline, self.stream.write(rest)).await {
                Ok(Ok(0)) => break Some(self.lost(None)),
                Ok(Ok(taken)) => {
                    rest = rest.get(taken..).unwrap_or_default();
                    self.statistics.sent(taken);
                }
                Ok(Err(error)) => break Some(self.lost(Some(error))),
                Err(_) => break Some(self.stuck()),
            }
        };
        let on_the_wire = match self.medium {
            Medium::Network => Duration::ZERO,
            Medium::Serial { character } => character.saturating_mul(u32::try_from(bytes.len()).unwrap_or(u32::MAX)),
        };
        self.sent_at = self.sent_at.max(Instant::now()) + on_the_wire;
        match failed {
            None => {
                self.has_ended = false;
                Ok(())
            }
            Some(source) => Err(LineError::Write { unsent: rest.len(), total: bytes.len(), source: Box::new(source) }),
        }
    }

    /// TLS holds bytes back until told. A port is not told: there it means to wait for the last bit, and blocks.
    async fn flush(&mut self, deadline: Instant) -> Result<(), LineError> {
        if self.medium != Medium::Network {
            return Ok(());
        }
        match timeout_at(deadline, self.stream.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.lost(Some(error))),
            Err(_) => Err(self.stuck()),
        }
    }

    fn lost(&mut self, error: Option<io::Error>) -> LineError {
        self.has_ended = true;
        let place = self.place.clone();
        match (self.medium, error) {
            // A port that is gone gives EIO, ENXIO or the end of the file, by driver and moment.
            (Medium::Serial { .. }, _) => LineError::Unplugged { place },
            (Medium::Network, Some(source)) => LineError::Lost { place, source },
            (Medium::Network, None) => LineError::Closed { place },
        }
    }

    fn stuck(&self) -> LineError {
        LineError::WriteTimedOut { place: self.place.clone(), seconds: self.limits.write.as_secs() }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.statistics.line_ended();
    }
}
