//! `lockbridge-torture`: breaks the bridge on purpose and counts what came of it.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lockbridge_tests::torture::{Options, kill};

/// Breaks the bridge on purpose, and judges by the simulator's count. Exit code 0 only if everything promised held.
#[derive(Debug, Parser)]
#[command(name = "lockbridge-torture", version)]
struct Arguments {
    #[command(subcommand)]
    how: How,
}

#[derive(Debug, Subcommand)]
enum How {
    /// Random `kill -9` of the bridge under load.
    Kill {
        /// How many deaths.
        #[arg(long, default_value_t = 200)]
        cycles: u64,
        /// Draws the load and the moments of death; without it, the time does.
        #[arg(long)]
        seed: Option<u64>,
        /// Write the figures as JSON to this file.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let How::Kill { cycles, seed, json } = Arguments::parse().how;
    let seed = seed.unwrap_or_else(|| jiff::Timestamp::now().as_millisecond().unsigned_abs());
    say(&format!("{cycles} cycles, seed {seed}"));
    let ran = tokio::select! {
        ran = kill(Options { cycles, seed }, say) => ran,
        _interrupt = tokio::signal::ctrl_c() => return ExitCode::from(130),
    };
    let figures = match ran {
        Ok(figures) => figures,
        Err(error) => {
            say(&format!("The run ended early (seed {seed}): {error:#}"));
            return ExitCode::FAILURE;
        }
    };
    say(&figures.table());
    if let Some(file) = json {
        let written = serde_json::to_vec_pretty(&figures)
            .map_err(std::io::Error::other)
            .and_then(|bytes| std::fs::write(&file, bytes));
        if let Err(error) = written {
            say(&format!("{}: {error}", file.display()));
            return ExitCode::FAILURE;
        }
    }
    if figures.held() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A closed pipe changes nothing: the exit code still tells.
fn say(line: &str) {
    let _closed_pipe = writeln!(std::io::stdout(), "{line}");
}
