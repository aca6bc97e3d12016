//! `lockbridge-torture`: breaks the bridge on purpose and counts what came of it.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use lockbridge_tests::torture::{Options, corrupt, kill, world};
use serde_json::Value;

/// Breaks the bridge on purpose, and judges by the simulator's count. Exit code 0 only if everything promised held.
#[derive(Debug, Parser)]
#[command(name = "lockbridge-torture", version)]
struct Arguments {
    #[command(subcommand)]
    how: How,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Common {
    /// Draws the load and the places where it breaks; without it, the time does.
    #[arg(long, global = true)]
    seed: Option<u64>,
    /// Write the figures as JSON to this file.
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum How {
    /// Random `kill -9` of the bridge under load.
    Kill {
        /// How many deaths.
        #[arg(long, default_value_t = 200)]
        cycles: u64,
    },
    /// Power cuts of the core in one process, on a disk in memory, between a scripted cloud and lock server.
    World {
        /// How many cuts.
        #[arg(long, default_value_t = 10_000)]
        cuts: u64,
    },
    /// Damaged state folders: bytes, files, checkpoints, the working set.
    Corrupt {
        /// How many corruptions.
        #[arg(long, default_value_t = 10_000)]
        count: u64,
    },
}

/// What came of it.
struct Outcome {
    table: String,
    json: Value,
    held: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Arguments { how, common } = Arguments::parse();
    let seed = common.seed.unwrap_or_else(|| jiff::Timestamp::now().as_millisecond().unsigned_abs());
    say(&format!("{how:?}, seed {seed}"));
    let ran = tokio::select! {
        ran = run(how, seed) => ran,
        _interrupt = tokio::signal::ctrl_c() => return ExitCode::from(130),
    };
    let outcome = match ran {
        Ok(outcome) => outcome,
        Err(error) => {
            say(&format!("The run ended early (seed {seed}): {error:#}"));
            return ExitCode::FAILURE;
        }
    };
    say(&outcome.table);
    if let Some(file) = common.json {
        let written = serde_json::to_vec_pretty(&outcome.json)
            .map_err(std::io::Error::other)
            .and_then(|bytes| std::fs::write(&file, bytes));
        if let Err(error) = written {
            say(&format!("{}: {error}", file.display()));
            return ExitCode::FAILURE;
        }
    }
    if outcome.held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(how: How, seed: u64) -> anyhow::Result<Outcome> {
    match how {
        How::Kill { cycles } => {
            let figures = kill(Options { cycles, seed }, say).await?;
            Ok(Outcome { table: figures.table(), json: serde_json::to_value(&figures)?, held: figures.held() })
        }
        How::World { cuts } => {
            let options = world::Options { cuts, seed, lying_disk: false };
            let figures = apart(move || world::power(options, say)).await?;
            Ok(Outcome { table: figures.table(), json: serde_json::to_value(&figures)?, held: figures.held() })
        }
        How::Corrupt { count } => {
            let figures = apart(move || corrupt::corrupt(corrupt::Options { count, seed }, say)).await?;
            Ok(Outcome { table: figures.table(), json: serde_json::to_value(&figures)?, held: figures.held() })
        }
    }
}

/// On a thread of its own, which ends with the process: what runs there has a runtime and a clock of its own.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> anyhow::Result<T> {
    let (done, ended) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("torture".to_owned()).spawn(move || done.send(work()).is_ok())?;
    ended.await?
}

/// A closed pipe changes nothing: the exit code still tells.
fn say(line: &str) {
    let _closed_pipe = writeln!(std::io::stdout(), "{line}");
}
