//! What a command prints: text or JSON on stdout, failures with their cause and the next step on stderr.

use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use super::exit;
use crate::config::ConfigError;
use crate::control::CallError;

/// Stdout in the form the caller asked for. A closed pipe ends output silently, as a filter's reader expects.
#[derive(Debug)]
pub struct Output {
    json: bool,
}

impl Output {
    /// Text, or JSON.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Says on stderr how far something has come; not to scripts.
    pub fn progress(&mut self, line: &str) {
        if !self.json {
            let _closed_pipe = writeln!(io::stderr(), "{line}");
        }
    }

    /// Prints `value` as JSON, or what `text` makes of it.
    pub fn show<T: Serialize>(&mut self, value: &T, text: impl FnOnce(&T) -> String) {
        let shown = if self.json {
            serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
        } else {
            text(value)
        };
        let _closed_pipe = writeln!(io::stdout(), "{}", shown.trim_end());
    }
}

/// Why a command did not do what was asked.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    code: u8,
    reason: String,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// With an exit code and one sentence.
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, reason: "error".to_owned(), message: message.into(), hint: None }
    }

    /// Adds the next step.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Adds a stable word for scripts.
    #[must_use]
    pub fn reason(self, reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..self }
    }

    /// Prints it and gives the exit code.
    pub fn print(&self, output: &mut Output) -> ExitCode {
        if output.json {
            let value = json!({ "error": { "code": self.reason, "message": self.message, "hint": self.hint } });
            output.show(&value, |_| String::new());
        }
        let mut stderr = io::stderr();
        let _closed_pipe = writeln!(stderr, "lockbridge: {}", self.message);
        if let Some(hint) = &self.hint {
            let _closed_pipe = writeln!(stderr, "  -> {hint}");
        }
        ExitCode::from(self.code)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(exit::CONFIG, error.to_string())
            .reason("configuration")
            .hint("Correct the values above, then run `lockbridge config check`.")
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let message = match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        match error {
            CallError::NotRunning { .. } | CallError::Broken { .. } => Self::new(exit::UNAVAILABLE, message)
                .reason("not_running")
                .hint("Start it with `systemctl start lockbridge`, or look at `journalctl -u lockbridge`."),
            CallError::NotAllowed { .. } => Self::new(exit::ERROR, message)
                .reason("not_allowed")
                .hint("Run the command with sudo, or join the group that owns the socket."),
            CallError::Refused { code, hint, .. } => {
                let exit = if code == "disk_low" { exit::DISK } else { exit::ERROR };
                Self { hint: Some(hint).filter(|hint| !hint.is_empty()), ..Self::new(exit, message).reason(code) }
            }
            CallError::Unreadable { .. } => Self::new(exit::ERROR, message)
                .reason("version_mismatch")
                .hint("Command and daemon may be of different versions; restart the daemon after an upgrade."),
        }
    }
}

/// Milliseconds since the epoch as local time for people; "-" for 0.
pub(super) fn time(milliseconds: i64) -> String {
    match jiff::Timestamp::from_millisecond(milliseconds) {
        Ok(time) if milliseconds != 0 => {
            time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
        }
        _ => "-".to_owned(),
    }
}

/// Rows under a head, columns as wide as they need.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(head.to_vec())];
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let text = table(&["a", "name"], &[vec!["12".into(), "x".into()], vec!["3".into(), "yy".into()]]);
        assert_eq!(text, "a   name\n12  x\n3   yy");
    }

    #[test]
    fn no_time_is_a_dash() {
        assert_eq!(time(0), "-");
        assert!(time(1_790_000_000_000).starts_with("2026-"));
    }
}
