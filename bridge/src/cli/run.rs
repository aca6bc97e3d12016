//! `lockbridge run`: the daemon in the foreground.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::{Failure, exit, load};
use crate::app::{self, AppError, RunOptions};
use crate::identity::Hint as _;
use crate::net::chain_text;
use crate::telemetry;

/// How it runs under a supervisor of tests and demos.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print one JSON line with the bound health address when ready.
    #[arg(long, hide = true)]
    announce: bool,
    /// Stop when standard input is closed, so that no daemon outlives the one who started it.
    #[arg(long, hide = true)]
    exit_with_stdin: bool,
}

pub(super) fn run(arguments: &Arguments, file: &Path) -> Result<ExitCode, Failure> {
    let config = load(file)?;
    telemetry::install(config.log_format, config.log_level);
    let options = RunOptions { announce: arguments.announce, exit_with_stdin: arguments.exit_with_stdin };
    // Two workers: the engine on one while TLS and the lock systems use the other. Disk and health have threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(8)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(exit::ERROR, format!("no runtime for the daemon: {error}")))?;
    // Boxed: the whole daemon would stand in the program once for each way that the runtime has to poll it.
    let ended = runtime.block_on(Box::pin(app::run(config, options)));
    // A read of standard input cannot be cancelled; it must not hold up the end.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS).map_err(|error| failure(&error))
}

fn failure(error: &AppError) -> Failure {
    let failure = Failure::new(exit_code(error), chain_text(error)).reason("daemon");
    match error {
        AppError::Journal(_) | AppError::JournalFailed => {
            failure.hint("Look at the disk; recovery reads the journal anew at the next start.")
        }
        AppError::StateKey(error) => failure.hint(error.hint()),
        AppError::Identity(error) => failure.hint(error.hint()),
        AppError::Address { .. } => failure.hint("Set `health.address` to a free loopback port."),
        _ => failure,
    }
}

fn exit_code(error: &AppError) -> u8 {
    match error {
        AppError::Lock(_) => exit::BUSY,
        AppError::StateKey(_) | AppError::Identity(_) => exit::NO_IDENTITY,
        AppError::Journal(_) | AppError::WorkingSet(_) | AppError::JournalFailed => exit::DISK,
        AppError::LockSystem { .. } => exit::CONFIG,
        AppError::Address { .. } | AppError::ControlSocket { .. } | AppError::Runtime(_) => exit::ERROR,
    }
}
