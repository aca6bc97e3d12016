//! Talks over a line that nobody uses, to see whether the other end answers and understands us.
//!
//! * `open`: the line, or who else came in place of the one that may.
//! * `salto_pms`: a question that changes nothing, then each encoder.
//! * `fias`: the start of the link, in our part of it; `sample`: what the bytes that came say of speed, checksum and
//!   acknowledgements, whatever is configured.
//!
//! Promises: ends in time; says what was heard and no more. Never: writes a card, asks for a key, or leaves a link behind that
//! the other end takes for alive.

pub(super) mod fias;
mod open;
pub(super) mod salto_pms;
mod sample;

pub(super) use open::NotOpen;
