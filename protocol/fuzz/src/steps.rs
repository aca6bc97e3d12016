//! Bytes as a story: pieces of a stream, and the time between them.

use std::time::Duration;

/// What arrives at once, and how long nothing happens afterwards.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step<'input> {
    pub(crate) bytes: &'input [u8],
    pub(crate) pause: Duration,
}

/// `milliseconds (2, least byte first) length (1) bytes`, again and again; the last one may be short.
#[derive(Debug)]
pub(crate) struct Steps<'input>(pub(crate) &'input [u8]);

impl<'input> Iterator for Steps<'input> {
    type Item = Step<'input>;

    fn next(&mut self) -> Option<Step<'input>> {
        let ([low, high, length], rest) = self.0.split_first_chunk()?;
        let (bytes, rest) = rest.split_at_checked(usize::from(*length)).unwrap_or((rest, &[]));
        self.0 = rest;
        Some(Step { bytes, pause: Duration::from_millis(u16::from_le_bytes([*low, *high]).into()) })
    }
}
