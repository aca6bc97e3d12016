//! Sees both sides of the noise: which frames were altered in a way that their checksum does not show.
//!
//! One byte of exclusive or misses two flips of the same bit, and a byte that was doubled where its double was lost. Nobody at
//! either end can tell such a frame from a good one; only who made the noise knows what was meant.

use std::time::Duration;

use data_encoding::HEXLOWER;
use lockbridge_protocol::line::{Checksum, FrameReader, Token};
use serde::Serialize;
use tokio::time::Instant;

use super::noise::Fate;

/// Longest frame.
const FRAME_BYTES: usize = 8192;
/// Altered frames that are kept; more are only counted.
pub(super) const KEPT: usize = 10_000;

/// Which way a frame went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// From the client to the machine.
    ToMachine,
    /// From the machine to the client.
    ToClient,
}

/// A frame that arrived with a checksum that fits, and is not the one that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Altered {
    /// Which way it went.
    pub way: Way,
    /// The body that was sent.
    #[serde(serialize_with = "hexadecimal")]
    pub meant: Vec<u8>,
    /// The body that arrived.
    #[serde(serialize_with = "hexadecimal")]
    pub arrived: Vec<u8>,
}

fn hexadecimal<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&HEXLOWER.encode(bytes))
}

/// What frames look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frames {
    /// What follows a frame.
    pub checksum: Checksum,
    /// Bytes of one frame never lie further apart.
    pub silence: Duration,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Witness {
    way: Way,
    silence: Duration,
    sent: FrameReader,
    arrived: FrameReader,
    last_sent: Vec<u8>,
    /// Arrived as a whole frame before the one that was meant has ended.
    early: Option<Vec<u8>>,
    last_at: Instant,
}

impl Witness {
    pub(super) fn new(way: Way, frames: Frames) -> Self {
        let reader = || FrameReader::new(frames.checksum, FRAME_BYTES);
        let (sent, arrived, last_sent) = (reader(), reader(), Vec::new());
        Self { way, silence: frames.silence, sent, arrived, last_sent, early: None, last_at: Instant::now() }
    }

    /// Takes what became of bytes that arrive now.
    pub(super) fn take(&mut self, fates: &[Fate], now: Instant) -> Vec<Altered> {
        if now.duration_since(self.last_at) >= self.silence {
            self.sent.abandon();
            self.arrived.abandon();
        }
        self.last_at = now;
        let mut found = Vec::new();
        for fate in fates {
            if let Some(Token::Frame(body)) = self.sent.read(&mut &[fate.sent][..]) {
                self.last_sent = body.to_vec();
                if let Some(arrived) = self.early.take() {
                    found.push(Altered { way: self.way, meant: self.last_sent.clone(), arrived });
                }
            }
            for _ in 0..fate.times {
                if let Some(Token::Frame(body)) = self.arrived.read(&mut &[fate.arrived][..])
                    && body != self.last_sent
                {
                    let arrived = body.to_vec();
                    if self.sent.is_inside_frame() {
                        self.early = Some(arrived);
                    } else {
                        found.push(Altered { way: self.way, meant: self.last_sent.clone(), arrived });
                    }
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMES: Frames = Frames { checksum: Checksum::Checked, silence: Duration::from_secs(1) };

    fn fates(bytes: &[u8], change: impl Fn(usize, u8) -> (u8, u8)) -> Vec<Fate> {
        let fate = |(index, sent): (usize, &u8)| {
            let (arrived, times) = change(index, *sent);
            Fate { sent: *sent, arrived, times }
        };
        bytes.iter().enumerate().map(fate).collect()
    }

    #[test]
    fn only_what_the_checksum_does_not_show_is_told_with_what_was_meant() {
        let frame = b"\x02KR|12\x03\x56";
        let sum = frame[1..7].iter().fold(0, |sum, byte| sum ^ byte);
        let frame = [&frame[..7], &[sum]].concat();
        let mut witness = Witness::new(Way::ToMachine, FRAMES);
        let now = Instant::now();
        assert_eq!(witness.take(&fates(&frame, |_, byte| (byte, 1)), now), []);
        // One flip is seen by the checksum.
        assert_eq!(witness.take(&fates(&frame, |index, byte| (byte ^ u8::from(index == 4), 1)), now), []);
        // The same bit in two bytes is not.
        let twice = fates(&frame, |index, byte| (byte ^ u8::from(index == 4 || index == 5), 1));
        let altered = Altered { way: Way::ToMachine, meant: b"KR|12".to_vec(), arrived: b"KR|03".to_vec() };
        assert_eq!(witness.take(&twice, now), [altered]);
        // A byte is lost: the frame is short, and its checksum tells.
        assert_eq!(witness.take(&fates(&frame, |index, byte| (byte, u8::from(index != 2))), now), []);
        assert_eq!(witness.take(&fates(&frame, |_, byte| (byte, 1)), now), []);
    }

    #[test]
    fn a_frame_that_arrives_short_is_told_when_what_was_meant_is_known() {
        // "AC" becomes A, ETX; and the byte behind fits as its checksum.
        let body = [b'A', b'C', b'A' ^ 3, b'x'];
        let sum = body.iter().fold(3, |sum, byte| sum ^ byte);
        let frame = [&[2][..], &body, &[3, sum]].concat();
        let mut witness = Witness::new(Way::ToClient, FRAMES);
        let found = witness.take(&fates(&frame, |index, byte| (if index == 2 { 3 } else { byte }, 1)), Instant::now());
        assert_eq!(found, [Altered { way: Way::ToClient, meant: body.to_vec(), arrived: b"A".to_vec() }]);
    }
}
