//! `lockbridge brake on|off`: the local brake (rule I9).

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{Failure, Output, ask};
use crate::control::Request;

/// On or off.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[arg(value_enum)]
    position: Position,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Position {
    /// No encoding and no new grants until it is off again; revokes go on.
    On,
    /// Normal work.
    Off,
}

pub(super) async fn run(arguments: &Arguments, socket: &Path, output: &mut Output) -> Result<ExitCode, Failure> {
    let on = arguments.position == Position::On;
    let held: bool = ask(socket, &Request::Brake { on }).await?;
    output.show(&held, |held| format!("The brake is {}.", if *held { "on" } else { "off" }));
    Ok(ExitCode::SUCCESS)
}
