//! Every bound of the tunnel and of signed values, by name, with the reason for the number.

use std::time::Duration;

/// One websocket message, and so one frame. Also the largest buffer a peer can make us hold.
pub const FRAME_BYTES: usize = 256 * 1024;
/// One signed command, envelope included: room for a grant over some 500 doors.
pub const COMMAND_BYTES: usize = 64 * 1024;
/// One signed report, envelope included.
pub const REPORT_BYTES: usize = 64 * 1024;
/// Commands or reports in one batch frame; the byte bound is usually met first.
pub const BATCH_ITEMS: usize = 256;
/// Size a batch frame is filled up to, so that a safety command never waits behind more than this (rule G9).
pub const BATCH_BYTES: usize = 64 * 1024;
/// HTTP head of the websocket upgrade.
pub const HANDSHAKE_HEAD_BYTES: usize = 8 * 1024;
/// Enrollment and renewal bodies.
pub const ENROLLMENT_BYTES: usize = 16 * 1024;
/// Ranges of lost deliveries remembered and told at once; further ones widen the last, which names more than was lost.
pub const LOST_RANGES: usize = 64;
/// Jobs at encoders told in a health report, the first ones in line.
pub const ENCODER_JOBS: usize = 128;
/// The tunnel version this code speaks, lowest and highest.
pub const TUNNEL_VERSIONS: std::ops::RangeInclusive<u32> = 1..=1;
/// Commands the bridge holds that are not yet ended (rule D2).
pub const INBOX_COMMANDS: u64 = 10_000;
/// Part of [`INBOX_COMMANDS`] that only safety commands may use (rule D4: 10 %).
pub const INBOX_SAFETY_RESERVE: u64 = 1_000;
/// Interactive commands accepted at once: a desk has few encoders, and each job waits at most a minute.
pub const INBOX_INTERACTIVE: u64 = 256;
/// Background commands accepted at once.
pub const INBOX_BACKGROUND: u64 = 256;
/// Silence after which a session is dead (rule G3); both ends ping every 20 s.
pub const SILENCE: Duration = Duration::from_secs(45);
/// Interval of transport pings (rule G3).
pub const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Interval of application heartbeats (rule G3).
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(60);
/// From the websocket upgrade to Welcome (rule G2).
pub const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest `max_start_delay_ms` of an interactive command (rule C6).
pub const START_DELAY_MAXIMUM: Duration = Duration::from_secs(60);
/// `max_start_delay_ms` when the command names none (rule C6).
pub const START_DELAY_DEFAULT: Duration = Duration::from_secs(30);
