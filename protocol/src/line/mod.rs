//! Byte lines of front desks: control bytes, checksum and frames, as SALTO's PMS protocol and FIAS share them.
//!
//! * [`code_page`]: bytes above ASCII.
//! * [`control`]: the bytes with a meaning of their own, and the checksum behind a frame.
//! * [`frame`]: frames written strictly, and found in a noisy stream that arrives in any pieces.
//! * [`statistics`]: what a reader met.
//!
//! ```text
//!  STX body ETX [trailer]      trailer: nothing, the XOR of body and ETX, or 0D for "not checked"
//! ```
//!
//! Promises: no input panics; a reader holds at most one frame and, once its buffer has grown, allocates nothing; every byte
//! it was given is counted once, as part of a good frame, as a control byte or as discarded. Never: decides what a frame or a
//! control byte means, waits, answers.

pub mod code_page;
pub mod control;
pub mod frame;
pub mod statistics;

#[cfg(test)]
mod tests;

pub use code_page::CodePage;
pub use control::{ACK, Checksum, Control, ENQ, ETX, NAK, STX, UNCHECKED, longitudinal_redundancy_check};
pub use frame::{FrameError, FrameFault, FrameReader, Token, write_frame};
pub use statistics::LineStatistics;
