//! `lockbridge queue`: what has not ended, next first.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::output::{table, time};
use super::{Failure, Output, ask};
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
                    format!("P{}", row.priority),
                    row.kind.clone(),
                    row.state.clone(),
                    row.lane.clone(),
                    time(row.received_ms),
                    [row.waits_for.as_str(), row.last_error.as_str()]
                        .iter()
                        .filter(|text| !text.is_empty())
                        .copied()
                        .collect::<Vec<_>>()
                        .join("; "),
                ]
            })
            .collect();
        table(&["COMMAND", "PRIORITY", "KIND", "STATE", "LANE", "RECEIVED", "WAITS FOR"], &cells)
    });
    Ok(ExitCode::SUCCESS)
}
