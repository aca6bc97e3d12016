//! The command line: one file a command, no logic of its own.
//!
//! The administrative commands work on the data directory, whether or not a server runs on it: SQLite lets them write
//! beside it, and the hub notices a revocation by itself. Data goes to stdout, everything else to stderr.

mod admin;
mod drain;
mod lost;
mod quarantine;
mod serve;
mod upkeep;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use serve::ServeArguments;

/// Lockbridge's reference cloud: authority, hub and API on one SQLite file.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve bridges and the API until SIGTERM.
    Serve(ServeArguments),
    /// Work with workspaces.
    #[command(subcommand)]
    Workspace(WorkspaceCommand),
    /// Work with API keys.
    #[command(subcommand)]
    ApiKey(ApiKeyCommand),
    /// Work with the tokens that enroll bridges.
    #[command(subcommand)]
    EnrollmentToken(TokenCommand),
    /// Work with bridges.
    #[command(subcommand)]
    Bridge(BridgeCommand),
}

#[derive(Debug, Args)]
struct Data {
    /// Data directory: database, keys, CA.
    #[arg(long, value_name = "DIRECTORY")]
    data: PathBuf,
}

#[derive(Debug, Subcommand)]
enum WorkspaceCommand {
    /// Create a workspace and print its id.
    Create {
        #[command(flatten)]
        data: Data,
        /// Name for people.
        #[arg(long)]
        name: String,
    },
}

#[derive(Debug, Subcommand)]
enum ApiKeyCommand {
    /// Create an API key and print it; it cannot be shown again.
    Create {
        #[command(flatten)]
        data: Data,
        /// Workspace id.
        #[arg(long)]
        workspace: String,
        /// What the key is for.
        #[arg(long, default_value = "default")]
        name: String,
    },
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Create an enrollment token and print it; it cannot be shown again.
    Create {
        #[command(flatten)]
        data: Data,
        /// Workspace id.
        #[arg(long)]
        workspace: String,
        /// Name of the site the bridge will stand at; it is made if needed.
        #[arg(long, default_value = "default")]
        site: String,
        /// How long it can be used: a number and s, m or h; at most 24h.
        #[arg(long, default_value = "1h", value_parser = admin::life)]
        life: std::time::Duration,
        /// `https://host:port` of the hub as bridges reach it; by default as the server was last started.
        #[arg(long)]
        hub_url: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum BridgeCommand {
    /// List bridges, one JSON object a line.
    List {
        #[command(flatten)]
        data: Data,
        /// Only of this workspace.
        #[arg(long)]
        workspace: Option<String>,
    },
    /// Print the last witness of each journal of a bridge, one line each: for `lockbridge audit verify --witness`.
    Witness {
        #[command(flatten)]
        data: Data,
        /// Bridge id.
        bridge: String,
    },
    /// Forbid a bridge any further session; a live one is cut within 5 s.
    Revoke {
        #[command(flatten)]
        data: Data,
        /// Bridge id.
        bridge: String,
    },
    /// Look at quarantines, or release one.
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// List commands that bridges lost with a damaged part of their journal, one JSON object a line.
    Lost {
        #[command(flatten)]
        data: Data,
        /// Only of this bridge.
        #[arg(long)]
        bridge: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum QuarantineCommand {
    /// List the bridges in quarantine, one JSON object a line.
    List {
        #[command(flatten)]
        data: Data,
        /// Those that are over too.
        #[arg(long)]
        all: bool,
    },
    /// Say that only one right copy of a bridge runs. Its site has to release it too, before or after.
    Lift {
        #[command(flatten)]
        data: Data,
        /// Bridge id.
        bridge: String,
    },
}

/// Runs one command.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        Command::Serve(arguments) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let done = runtime.block_on(serve::run(arguments));
            // A reader of stdin cannot be interrupted; the process does not wait for it.
            runtime.shutdown_background();
            done
        }
        other => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(administer(other))
        }
    }
}

async fn administer(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(_) => Ok(()),
        Command::Workspace(WorkspaceCommand::Create { data, name }) => admin::create_workspace(&data.data, name).await,
        Command::ApiKey(ApiKeyCommand::Create { data, workspace, name }) => {
            admin::create_api_key(&data.data, workspace, name).await
        }
        Command::EnrollmentToken(TokenCommand::Create { data, workspace, site, life, hub_url }) => {
            admin::create_token(&data.data, workspace, site, life, hub_url).await
        }
        Command::Bridge(BridgeCommand::List { data, workspace }) => admin::list_bridges(&data.data, workspace).await,
        Command::Bridge(BridgeCommand::Witness { data, bridge }) => admin::print_witness(&data.data, bridge).await,
        Command::Bridge(BridgeCommand::Revoke { data, bridge }) => admin::revoke_bridge(&data.data, bridge).await,
        Command::Bridge(BridgeCommand::Quarantine(QuarantineCommand::List { data, all })) => {
            quarantine::list(&data.data, all).await
        }
        Command::Bridge(BridgeCommand::Quarantine(QuarantineCommand::Lift { data, bridge })) => {
            quarantine::lift(&data.data, bridge).await
        }
        Command::Bridge(BridgeCommand::Lost { data, bridge }) => lost::list(&data.data, bridge).await,
    }
}

#[expect(
    clippy::print_stdout,
    reason = "data for whoever called; a closed pipe ends the program, which is done anyway"
)]
fn print_line(line: &str) {
    println!("{line}");
}
