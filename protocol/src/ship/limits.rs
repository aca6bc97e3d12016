//! Every bound of SHIP, by name, with the reason for the number.

/// Digits of the length in an STP header; a known client of real servers refuses more.
pub const LENGTH_DIGITS: usize = 6;
/// One body, which is also the largest buffer a server can make us hold: what six digits can say.
pub const BODY_BYTES: usize = 999_999;
/// Elements inside elements. The deepest known answer (a period in a permission in a user in a list) has eight.
pub const DEPTH: usize = 32;
/// Elements of one body. The densest real body is permissions of about 20 bytes an element, some 50,000 in a full body;
/// the bound keeps a body of `<a/>` from becoming hundred times its size in memory.
pub const ELEMENTS: usize = 65_536;
/// Notes about fields that were not understood, kept for one body.
pub const NOTES: usize = 32;
/// Pages of one walk through a list; at 100 a page far more than a Space database holds.
pub const PAGES: u32 = 10_000;
/// One message of the event stream; a UDP datagram cannot be larger.
pub const STREAM_MESSAGE_BYTES: usize = 65_535;
/// Events taken from one message of the stream; an event is rarely below 100 bytes.
pub const STREAM_EVENTS: usize = 1_000;
/// Nesting inside a stream message. Known messages are an array of flat objects.
pub const STREAM_DEPTH: usize = 16;
