//! What a bad line does to bytes.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

/// Longest that glued bytes are held back when nothing follows.
pub const GLUE: Duration = Duration::from_millis(100);
/// Between two bytes that are split.
const SPLIT: Duration = Duration::from_millis(1);

/// How often each thing happens, 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rates {
    /// A byte is lost.
    pub drop: f64,
    /// A bit of a byte turns over.
    pub flip: f64,
    /// A byte comes twice.
    pub duplicate: f64,
    /// A byte and all behind it wait for [`Self::delay_milliseconds`].
    pub delay: f64,
    /// How long a delay is.
    pub delay_milliseconds: u64,
    /// A piece arrives byte by byte.
    pub split: f64,
    /// A piece is held back until the next one comes, for at most [`GLUE`].
    pub glue: f64,
    /// A piece also goes back to where it came from.
    pub echo: f64,
}

/// Noise in both directions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoiseSettings {
    /// The same seed does the same to the same bytes.
    pub seed: u64,
    /// From the client to the machine.
    pub to_machine: Rates,
    /// From the machine to the client.
    pub to_client: Rates,
}

impl NoiseSettings {
    /// Every rate lies between 0 and 1; else the name of the first that does not.
    pub fn fault(&self) -> Option<&'static str> {
        [self.to_machine, self.to_client].iter().find_map(|rates| {
            let named = [
                ("drop", rates.drop),
                ("flip", rates.flip),
                ("duplicate", rates.duplicate),
                ("delay", rates.delay),
                ("split", rates.split),
                ("glue", rates.glue),
                ("echo", rates.echo),
            ];
            named.into_iter().find(|(_, rate)| !(0.0..=1.0).contains(rate)).map(|(name, _)| name)
        })
    }

    /// Drop, flip and duplicate at the same rate in both directions.
    pub fn even(seed: u64, rate: f64) -> Self {
        let rates = Rates { drop: rate, flip: rate, duplicate: rate, ..Rates::default() };
        Self { seed, to_machine: rates, to_client: rates }
    }
}

/// Bytes that arrive together, after a wait.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Piece {
    /// Before them.
    pub wait: Duration,
    /// Never empty.
    pub bytes: Vec<u8>,
}

/// What became of a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    /// As it was.
    pub sent: u8,
    /// As it comes.
    pub arrived: u8,
    /// How often.
    pub times: u8,
}

/// What became of a piece.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passed {
    /// In order.
    pub pieces: Vec<Piece>,
    /// Goes back.
    pub echo: Vec<u8>,
    /// Of each byte.
    pub fates: Vec<Fate>,
}

/// One direction. What happens to a byte depends on the seed and the byte's place in the stream only.
#[derive(Debug)]
pub struct Noise {
    rates: Rates,
    bytes: StdRng,
    pieces: StdRng,
    held: Vec<u8>,
}

impl Noise {
    /// At the start of a stream.
    pub fn new(rates: Rates, seed: u64) -> Self {
        let (bytes, pieces) = (StdRng::seed_from_u64(seed), StdRng::seed_from_u64(!seed));
        Self { rates, bytes, pieces, held: Vec::new() }
    }

    /// Takes on other rates; what is held back stays.
    pub fn change(&mut self, rates: Rates, seed: u64) {
        let held = std::mem::take(&mut self.held);
        *self = Self { held, ..Self::new(rates, seed) };
    }

    /// Carries a piece.
    pub fn pass(&mut self, piece: &[u8]) -> Passed {
        let rates = self.rates;
        let mut passed = Passed::default();
        if self.pieces.random_bool(rates.echo) {
            passed.echo = piece.to_vec();
        }
        let splits = self.pieces.random_bool(rates.split);
        let holds = self.pieces.random_bool(rates.glue);
        let mut current = Piece { wait: Duration::ZERO, bytes: std::mem::take(&mut self.held) };
        for byte in piece {
            // Every byte takes the same draws, whatever happens to it.
            let (drop, flip) = (self.bytes.random_bool(rates.drop), self.bytes.random_bool(rates.flip));
            let (bit, twice) = (self.bytes.random_range(0..8_u32), self.bytes.random_bool(rates.duplicate));
            if self.bytes.random_bool(rates.delay) {
                push(&mut passed.pieces, std::mem::take(&mut current));
                current.wait = Duration::from_millis(rates.delay_milliseconds);
            }
            let arrived = if flip { byte ^ 1_u8.wrapping_shl(bit) } else { *byte };
            let times = if drop { 0 } else { 1 + u8::from(twice) };
            passed.fates.push(Fate { sent: *byte, arrived, times });
            if drop {
                continue;
            }
            current.bytes.extend(std::iter::repeat_n(arrived, times.into()));
            if splits {
                push(&mut passed.pieces, std::mem::replace(&mut current, Piece { wait: SPLIT, bytes: Vec::new() }));
            }
        }
        if holds {
            self.held = current.bytes;
        } else {
            push(&mut passed.pieces, current);
        }
        passed
    }

    /// Bytes are held back.
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Lets go what is held back.
    pub fn release(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

fn push(pieces: &mut Vec<Piece>, piece: Piece) {
    if !piece.bytes.is_empty() {
        pieces.push(piece);
    }
}
