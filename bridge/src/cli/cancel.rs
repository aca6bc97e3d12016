//! `lockbridge cancel`: take back a command that has not begun.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::{Failure, Output, ask};
use crate::control::Request;

/// Which.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Id of the command, as `lockbridge queue` shows it.
    command_id: String,
}

pub(super) async fn run(arguments: &Arguments, socket: &Path, output: &mut Output) -> Result<ExitCode, Failure> {
    let cancelled: bool = ask(socket, &Request::Cancel { command_id: arguments.command_id.clone() }).await?;
    output.show(&cancelled, |_| "Taken back; it had not begun.".to_owned());
    Ok(ExitCode::SUCCESS)
}
