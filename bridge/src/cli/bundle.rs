//! `lockbridge bundle`: one file for support, without secrets and without names of guests.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Failure, Output, block_on, exit};
use crate::bundle::{self, Sources};

/// Where to, and what from.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Folder for the archive.
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    output: PathBuf,
    /// Log file, when the daemon does not write to the journal of systemd.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Name of the systemd unit.
    #[arg(long, default_value = "lockbridge", value_name = "UNIT")]
    unit: String,
}

pub(super) fn run(arguments: &Arguments, file: &Path, output: &mut Output) -> Result<ExitCode, Failure> {
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("lockbridge"));
    let sources =
        Sources { configuration: file.to_owned(), log: arguments.log.clone(), unit: arguments.unit.clone(), program };
    let made = block_on(bundle::make(&sources, &arguments.output, jiff::Timestamp::now()))?;
    let path = made.map_err(|error| {
        Failure::new(exit::ERROR, crate::net::chain_text(&error))
            .hint("Name a folder you may write to: --output FOLDER.")
    })?;
    output.show(&json!({ "bundle": path }), |_| path.display().to_string());
    Ok(ExitCode::SUCCESS)
}
