//! Log lines: to stderr, for people or as JSON, as the configuration says. Never: a secret, a name, a card serial.

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogFormat;

/// Installs the subscriber of this process. A second call changes nothing.
pub fn install(format: LogFormat, level: tracing::Level) {
    let level = LevelFilter::from_level(level);
    // An error means that a subscriber is there already, which only happens in tests.
    let _already_there = match format {
        LogFormat::Text => {
            registry().with(level).with(fmt::layer().with_writer(std::io::stderr).with_ansi(colour())).try_init()
        }
        LogFormat::Json => {
            registry().with(level).with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init()
        }
    };
}

/// Colour only for a person at a terminal who did not say no (<https://no-color.org>).
fn colour() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none()
}
