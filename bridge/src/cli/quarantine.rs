//! `lockbridge quarantine`: why this bridge is held, and the site's half of the way out (rule H9).

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::output::time;
use super::{Failure, Output, ask, exit};
use crate::control::Request;
use crate::dispatch::LiftAnswer;

/// Show it, or release it.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show it (the default).
    Show,
    /// Say that this machine is the only one that runs this bridge. It is written into the journal with your user id; the
    /// cloud's operator has to release it too, before or after.
    Lift {
        /// You have made sure of it.
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn run(arguments: &Arguments, socket: &Path, output: &mut Output) -> Result<ExitCode, Failure> {
    match &arguments.command {
        None | Some(Command::Show) => {
            let snapshot: Value = ask(socket, &Request::Status).await?;
            output.show(&snapshot["engine"]["quarantine"], |held| {
                line(held).unwrap_or_else(|| "The bridge is not in quarantine.".to_owned())
            });
        }
        Some(Command::Lift { yes: false }) => {
            return Err(Failure::new(
                exit::ERROR,
                "Make sure that no other machine runs this bridge's state or a copy of it; then say so with --yes.",
            ));
        }
        Some(Command::Lift { yes: true }) => {
            let answer: LiftAnswer = ask(socket, &Request::LiftQuarantine).await?;
            output.show(&answer, |answer| {
                if answer.left {
                    "The quarantine is over; what waited goes on.".to_owned()
                } else {
                    "Released at this site. It ends when the cloud's operator has released it too.".to_owned()
                }
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The quarantine of a snapshot in one line: since when, why, and who still has to release it.
pub(super) fn line(held: &Value) -> Option<String> {
    let word = |key: &str| held[key].as_str().unwrap_or_default();
    if held.is_null() {
        return None;
    }
    let missing = match (held["released_at_cloud"] == true, held["released_at_site"] == true) {
        (false, false) => "to be released at the cloud and, with `lockbridge quarantine lift --yes`, here",
        (false, true) => "released here; to be released at the cloud",
        (true, false) => "released at the cloud; to be released here with `lockbridge quarantine lift --yes`",
        (true, true) => "released",
    };
    let since = time(held["since_ms"].as_i64().unwrap_or_default());
    Some(format!("since {since}: {} ({}); {missing}", word("message"), word("reason")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_line_says_why_and_what_is_missing() {
        assert_eq!(line(&Value::Null), None);
        let held = |cloud: bool, site: bool| {
            let held = json!({
                "reason": "machine_changed", "message": "another machine", "since_ms": 1,
                "released_at_cloud": cloud, "released_at_site": site,
            });
            line(&held).expect("holds")
        };
        assert!(held(false, false).contains("another machine (machine_changed); to be released at the cloud and"));
        assert!(held(true, false).ends_with("here with `lockbridge quarantine lift --yes`"));
        assert!(held(false, true).ends_with("released here; to be released at the cloud"));
    }
}
