//! What a reader met on its line, for health and for people who look for a bad cable.

/// Counts since the reader was made. They stop at the largest value instead of starting anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LineStatistics {
    /// Every byte handed to the reader.
    pub bytes: u64,
    /// Good frames.
    pub frames: u64,
    /// Control bytes outside frames.
    pub controls: u64,
    /// Frames whose checksum did not fit.
    pub bad_checksums: u64,
    /// Frames longer than the limit.
    pub oversized: u64,
    /// Frames that another STX or a silence cut short.
    pub cut: u64,
    /// Bytes that belong to no good frame and are no control byte.
    pub discarded: u64,
}

pub(super) fn count(counter: &mut u64, more: usize) {
    *counter = counter.saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
}
