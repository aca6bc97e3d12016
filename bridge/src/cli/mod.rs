//! The command line: one file a command, no logic of its own.
//!
//! Data goes to stdout, everything else to stderr. Every command that tells something also tells it as JSON. Exit codes
//! are those of `sysexits.h` where one fits, because the unit file acts on them.

mod audit;
mod brake;
mod bundle;
mod cancel;
mod check;
mod config;
mod doubt;
mod encode;
mod enroll;
mod logs;
mod output;
mod quarantine;
mod queue;
mod reload;
mod run;
mod setup;
mod status;
mod words;

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::config::Config;
use crate::control::{self, Request};
pub use output::{Failure, Output};

/// Where the package puts the configuration.
const CONFIG_FILE: &str = "/etc/lockbridge/bridge.toml";

/// Exit codes.
pub mod exit {
    /// Something failed; stderr says what.
    pub const ERROR: u8 = 1;
    /// Flags or answers that will not do; stderr names each.
    pub const USAGE: u8 = 2;
    /// `status`: it runs and something needs a look.
    pub const DEGRADED: u8 = 3;
    /// A file or folder to be read is not there, or is none of ours.
    pub const NO_INPUT: u8 = 66;
    /// The daemon does not run or does not answer.
    pub const UNAVAILABLE: u8 = 69;
    /// The disk or the journal failed: restart, recovery reads everything anew.
    pub const DISK: u8 = 74;
    /// Another daemon uses this state directory.
    pub const BUSY: u8 = 75;
    /// The identity, or the key that seals it, cannot be used.
    pub const NO_IDENTITY: u8 = 77;
    /// The configuration does not hold: a restart cannot help.
    pub const CONFIG: u8 = 78;
}

/// The bridge between the lock systems of a site and the cloud.
#[derive(Debug, Parser)]
#[command(name = "lockbridge", version, max_term_width = 100)]
struct Arguments {
    /// Main configuration file; `bridge.d/*.toml` beside it is read too.
    #[arg(long, global = true, default_value = CONFIG_FILE, value_name = "FILE")]
    config: PathBuf,
    /// Tell it as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lead through the first hour: cloud, lock system, encoder, each verified live and written to bridge.d.
    Setup(setup::Arguments),
    /// Make this machine the bridge that a token from the cloud is for.
    Enroll(enroll::Arguments),
    /// Run the daemon in the foreground.
    Run(run::Arguments),
    /// Look at the whole way to the cloud and to the locks, and say what does not work.
    Check(check::Arguments),
    /// Check or show the configuration.
    #[command(subcommand)]
    Config(config::Command),
    /// Say whether the bridge works, since when, and what is wrong.
    Status,
    /// List commands that have not ended.
    Queue(queue::Arguments),
    /// List cards of which it is not known whether they were written, or settle one.
    Doubt(doubt::Arguments),
    /// Write the card of a known grant now, with or without the cloud.
    Encode(encode::Arguments),
    /// Take back a command that has not begun.
    Cancel(cancel::Arguments),
    /// Stop or allow encoding and new grants on this site; revokes always go on.
    Brake(brake::Arguments),
    /// Check the audit log, or write it into a file; works without the daemon and beside it.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Show the quarantine, or release it at this site.
    Quarantine(quarantine::Arguments),
    /// Let the running daemon read its policy file anew.
    Reload,
    /// Show the daemon's log, when systemd keeps it.
    Logs(logs::Arguments),
    /// Gather what support needs into one file, without secrets and names of guests.
    Bundle(bundle::Arguments),
}

/// The command line as data: man pages and shell completions are made from it.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Parses, runs, prints the failure if there is one, and gives the exit code.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // clap prints to the right stream and knows that --help is no mistake; a closed pipe changes nothing.
            let _closed_pipe = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let mut output = Output::new(arguments.json);
    let result = match arguments.command {
        Command::Setup(command) => setup::run(&command, &arguments.config, &mut output),
        Command::Enroll(command) => enroll::run(&command, &arguments.config, &mut output),
        Command::Run(command) => run::run(&command, &arguments.config),
        Command::Check(command) => check::run(&command, &arguments.config, &mut output),
        Command::Config(command) => config::run(&command, &arguments.config, &mut output),
        Command::Logs(command) => logs::run(&command, arguments.json),
        Command::Bundle(command) => bundle::run(&command, &arguments.config, &mut output),
        Command::Audit(command) => audit::run(&command, &arguments.config, &mut output),
        Command::Status => with_daemon(&arguments.config, async |socket: &Path| status::run(socket, &mut output).await),
        Command::Queue(command) => {
            with_daemon(&arguments.config, async |socket: &Path| queue::run(&command, socket, &mut output).await)
        }
        Command::Doubt(command) => {
            with_daemon(&arguments.config, async |socket: &Path| doubt::run(&command, socket, &mut output).await)
        }
        Command::Encode(command) => {
            with_daemon(&arguments.config, async |socket: &Path| encode::run(&command, socket, &mut output).await)
        }
        Command::Cancel(command) => {
            with_daemon(&arguments.config, async |socket: &Path| cancel::run(&command, socket, &mut output).await)
        }
        Command::Brake(command) => {
            with_daemon(&arguments.config, async |socket: &Path| brake::run(&command, socket, &mut output).await)
        }
        Command::Quarantine(command) => {
            with_daemon(&arguments.config, async |socket: &Path| quarantine::run(&command, socket, &mut output).await)
        }
        Command::Reload => with_daemon(&arguments.config, async |socket: &Path| reload::run(socket, &mut output).await),
    };
    match result {
        Ok(code) => code,
        Err(failure) => failure.print(&mut output),
    }
}

/// Reads the configuration, with all its mistakes as one failure.
fn load(file: &Path) -> Result<Config, Failure> {
    Ok(crate::config::load(file)?.config)
}

fn with_daemon(
    file: &Path,
    command: impl AsyncFnOnce(&Path) -> Result<ExitCode, Failure>,
) -> Result<ExitCode, Failure> {
    let socket = load(file)?.control_socket;
    block_on(command(&socket))?
}

/// One thread is enough for a command. Boxed without its type, so that the runtime stands in the program once for all of them.
fn block_on<T>(command: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(exit::ERROR, format!("no runtime for the command: {error}")))?;
    let command: Pin<Box<dyn Future<Output = T> + '_>> = Box::pin(command);
    Ok(runtime.block_on(command))
}

async fn ask<T: serde::de::DeserializeOwned>(socket: &Path, request: &Request) -> Result<T, Failure> {
    control::call(socket, request).await.map_err(Failure::from)
}
