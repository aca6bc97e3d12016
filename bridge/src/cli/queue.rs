//! `lockbridge queue`: what has not ended, next first.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::output::{table, time};
use super::{Failure, Output, ask, words};
use crate::control::Request;
use crate::dispatch::CommandSummary;

/// What to list.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Most rows to list.
    #[arg(long, default_value_t = 100, value_name = "ROWS")]
    limit: usize,
}

pub(super) async fn run(arguments: &Arguments, socket: &Path, output: &mut Output) -> Result<ExitCode, Failure> {
    let rows: Vec<CommandSummary> = ask(socket, &Request::Queue { limit: arguments.limit }).await?;
    output.show(&rows, |rows| {
        if rows.is_empty() {
            return "Nothing waits.".to_owned();
        }
        let cells: Vec<Vec<String>> = rows
            .iter()
            .map(|row| {
                vec![
                    row.command_id.clone(),
                    words::kind(&row.kind).to_owned(),
                    words::urgency(row.priority).to_owned(),
                    row.state.replace('_', " "),
                    row.lane.clone(),
                    time(row.received_ms),
                    waits(row),
                ]
            })
            .collect();
        table(&["COMMAND", "WHAT", "URGENCY", "STATE", "FOR", "RECEIVED", "WAITS FOR"], &cells)
    });
    Ok(ExitCode::SUCCESS)
}

fn waits(row: &CommandSummary) -> String {
    let mut parts = vec![words::waits_for(&row.waits_for)];
    parts.extend(row.encoder_job.as_ref().map(words::encoder_job));
    if !row.last_error.is_empty() {
        parts.push(format!("last try: {}", row.last_error));
    }
    parts.retain(|part| !part.is_empty());
    parts.join("; ")
}
