//! Log lines: fields for journald under systemd, readable lines on a terminal, JSON on request. Never: a secret, a name, a
//! card serial.
//!
//! What holds is in `status`; the log says what changed, see [`changes`].

pub mod changes;

use std::os::unix::fs::MetadataExt as _;

use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogFormat;

/// Prefix of fields in journald, so that `journalctl LOCKBRIDGE_REASON=lock_server` finds them.
const FIELD_PREFIX: &str = "LOCKBRIDGE";

/// Installs the subscriber of this process. A second call changes nothing.
pub fn install(format: LogFormat, level: tracing::Level) {
    let level = LevelFilter::from_level(level);
    // An error means that a subscriber is there already, which only happens in tests.
    let _already_there = match (format, journald()) {
        (LogFormat::Text, Some(journald)) => registry().with(level).with(journald).try_init(),
        (LogFormat::Text, None) => {
            registry().with(level).with(fmt::layer().with_writer(std::io::stderr).with_ansi(colour())).try_init()
        }
        (LogFormat::Json, _) => {
            registry().with(level).with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init()
        }
    };
}

/// The way to journald, when that is where standard error goes. A service that was told to write elsewhere does.
fn journald() -> Option<tracing_journald::Layer> {
    let stream = std::env::var("JOURNAL_STREAM").ok()?;
    let stderr = std::fs::metadata("/proc/self/fd/2").ok()?;
    if !is_stream(&stream, stderr.dev(), stderr.ino()) {
        return None;
    }
    // Without its socket, lines on standard error reach it, too.
    let layer = tracing_journald::layer().ok()?;
    Some(
        layer
            .with_syslog_identifier("lockbridge".to_owned())
            .with_field_prefix(Some(FIELD_PREFIX.to_owned()))
            .with_priority_mappings(PriorityMappings {
                error: Priority::Error,
                warn: Priority::Warning,
                info: Priority::Informational,
                debug: Priority::Debug,
                trace: Priority::Debug,
            }),
    )
}

/// Whether `JOURNAL_STREAM` names this file by device and inode (systemd.exec(5)).
fn is_stream(named: &str, device: u64, inode: u64) -> bool {
    let parsed = named.split_once(':').map(|(device, inode)| (device.parse().ok(), inode.parse().ok()));
    parsed == Some((Some(device), Some(inode)))
}

/// Colour only for a person at a terminal who did not say no (<https://no-color.org>).
fn colour() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none()
}

#[cfg(test)]
mod tests {
    use super::is_stream;

    #[test]
    fn only_the_stream_that_systemd_made_is_journald() {
        assert!(is_stream("8:1234", 8, 1234));
        // The variable is inherited by whatever is started from a service, with other files behind its standard error.
        for other in ["8:1235", "9:1234", "8", "", "8:12:34", "a:b"] {
            assert!(!is_stream(other, 8, 1234), "{other}");
        }
    }
}
