//! `lockbridge logs`: the daemon's lines out of the journal of systemd, by time and severity.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use clap::Args;

use super::{Failure, exit};

/// Which lines.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// From this time on, as journalctl takes it: "2026-11-22 09:00", yesterday, -2h.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Go on with new lines until interrupted.
    #[arg(long, short)]
    follow: bool,
    /// Only lines of this severity and above.
    #[arg(long, value_enum, default_value = "info", value_name = "LEVEL")]
    level: Level,
    /// Most lines, the newest.
    #[arg(long, short = 'n', default_value_t = 1_000, value_name = "LINES")]
    lines: usize,
    /// Name of the systemd unit.
    #[arg(long, default_value = "lockbridge", value_name = "UNIT")]
    unit: String,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

impl Level {
    /// As the daemon gives them to journald, and as syslog counts.
    fn priority(self) -> &'static str {
        match self {
            Self::Error => "3",
            Self::Warn => "4",
            Self::Info => "6",
            Self::Debug => "7",
        }
    }
}

pub(super) fn run(arguments: &Arguments, json: bool) -> Result<ExitCode, Failure> {
    let mut command = Command::new("journalctl");
    command.args(words(arguments, json));
    // Returns only when it could not become journalctl.
    let error = command.exec();
    if error.kind() == std::io::ErrorKind::NotFound {
        return Err(Failure::new(exit::UNAVAILABLE, "journalctl is not there: this machine does not run systemd")
            .reason("no_journald")
            .hint("The daemon then writes its lines to standard error: look where whoever started it sends that."));
    }
    Err(Failure::new(exit::ERROR, format!("journalctl could not be started: {error}")))
}

fn words(arguments: &Arguments, json: bool) -> Vec<String> {
    let mut words: Vec<String> =
        ["--unit", &arguments.unit, "--priority", arguments.level.priority()].map(str::to_owned).into();
    words.extend(["--lines".to_owned(), arguments.lines.to_string()]);
    words.extend(["--output", if json { "json" } else { "short-iso" }].map(str::to_owned));
    if let Some(since) = &arguments.since {
        // One word, so that a time that begins with a dash is no option.
        words.push(format!("--since={since}"));
    }
    words.push(if arguments.follow { "--follow" } else { "--no-pager" }.to_owned());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_become_words_of_journalctl() {
        let arguments = Arguments {
            since: Some("-2h".into()),
            follow: true,
            level: Level::Warn,
            lines: 50,
            unit: "lockbridge".into(),
        };
        assert_eq!(
            words(&arguments, false).join(" "),
            "--unit lockbridge --priority 4 --lines 50 --output short-iso --since=-2h --follow"
        );
        let quiet = Arguments { since: None, follow: false, level: Level::Debug, ..arguments };
        assert_eq!(words(&quiet, true).join(" "), "--unit lockbridge --priority 7 --lines 50 --output json --no-pager");
    }
}
