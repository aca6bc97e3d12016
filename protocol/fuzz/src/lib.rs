//! What has to hold for any bytes, one function a parser or machine: the fuzzer calls them with bytes of its own, and an ordinary
//! test of the protocol calls them with the corpus that is kept in `corpus/`.
//!
//! Each takes plain bytes, so that a corpus outlives a change of the fuzzer. Never: depends on the fuzzer itself.
#![allow(clippy::expect_used, clippy::panic, reason = "whatever does not hold has to end the run")]
#![allow(unreachable_pub, reason = "a library for the fuzzer, a module for the test")]

mod fias;
mod fias_wire;
mod journal;
mod line;
mod salto_pms;
mod ship;
mod steps;
mod tunnel;

/// Ends the process if something does not hold for these bytes.
pub type Check = fn(&[u8]);

/// Every check by the name of its fuzz target and of its folder in `corpus/`.
pub const CHECKS: [(&str, Check); 14] = [
    ("enrollment_token", tunnel::enrollment_token),
    ("fias_link", fias::link),
    ("fias_record", fias::record),
    ("fias_wire", fias_wire::wire),
    ("journal_segment", journal::segment),
    ("line_frame", line::frame),
    ("salto_pms_client", salto_pms::client),
    ("salto_pms_message", salto_pms::message),
    ("ship_answer", ship::answer),
    ("ship_frame", ship::frame),
    ("ship_stream", ship::stream),
    ("signed_command", tunnel::signed_command),
    ("tunnel_frame", tunnel::frame),
    ("tunnel_session", tunnel::session),
];

/// The check of this name.
pub fn check(name: &str) -> Check {
    let found = CHECKS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("there is no check {name}")).1
}
