//! `lockbridge doubt`: cards of which it is not known whether they were written, and a person's word on one of them.

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::output::time;
use super::{Failure, Output, ask, words};
use crate::control::Request;
use crate::dispatch::{DoubtSummary, DoubtVerdict};

/// List, or settle one.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the doubts (the default).
    List,
    /// Say what came of one. It is written into the journal with your user id.
    Resolve {
        /// The command's id, from the list.
        command_id: String,
        /// What you know.
        #[arg(value_enum)]
        verdict: Word,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Word {
    /// The card was written.
    Done,
    /// No card was written.
    NotDone,
    /// Nobody knows: the maybe-card is made worthless.
    Unsure,
}

pub(super) async fn run(arguments: &Arguments, socket: &Path, output: &mut Output) -> Result<ExitCode, Failure> {
    match &arguments.command {
        None | Some(Command::List) => {
            let rows: Vec<DoubtSummary> = ask(socket, &Request::Doubts).await?;
            output.show(&rows, |rows| list(rows));
        }
        Some(Command::Resolve { command_id, verdict }) => {
            let verdict = match verdict {
                Word::Done => DoubtVerdict::Done,
                Word::NotDone => DoubtVerdict::NotDone,
                Word::Unsure => DoubtVerdict::Unsure,
            };
            let resolved: bool = ask(socket, &Request::Resolve { command_id: command_id.clone(), verdict }).await?;
            output.show(&resolved, |_| format!("Noted: {command_id} is settled."));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(rows: &[DoubtSummary]) -> String {
    if rows.is_empty() {
        return "Nothing is in doubt.".to_owned();
    }
    let entries: Vec<String> = rows
        .iter()
        .map(|row| {
            format!(
                "{}: {} at {}, in doubt since {}\n  {}\n  -> {}\n  -> lockbridge doubt resolve {} done|not-done|unsure",
                row.command.command_id,
                words::kind(&row.command.kind),
                if row.device.is_empty() { &row.command.lock_system } else { &row.device },
                time(row.since_ms),
                row.evidence,
                row.advice,
                row.command.command_id
            )
        })
        .collect();
    entries.join("\n\n")
}
