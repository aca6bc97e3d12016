//! Every bound of FIAS, by name, with the reason for the number.

/// Longest record that may be sent; the specification sets it.
pub const RECORD_BYTES: usize = 2_000;
/// Longest record that is read. Some peers exceed what the specification allows.
pub const READ_BYTES: usize = 8 * 1024;
/// Fields of one record that are kept although nobody knows their meaning.
pub const OTHER_FIELDS: usize = 64;
/// Record types a peer may describe; the specification knows about 40.
pub const DESCRIBED_RECORDS: usize = 64;
/// Fields in one description; the specification knows about 100.
pub const DESCRIBED_FIELDS: usize = 128;
/// Key requests open at one time, one an encoder.
pub const OPEN_KEYS: usize = 256;
/// Rooms in the list of further rooms.
pub const MORE_ROOMS: usize = 32;
/// Text that goes with an answer to a key request; clerks see it.
pub const ANSWER_TEXT_CHARACTERS: usize = 40;
