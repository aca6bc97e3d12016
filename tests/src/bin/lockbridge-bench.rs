//! Measures Lockbridge against the machine it runs on: tables on stdout, and the same as JSON on request.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand};
use lockbridge_tests::bench::{Table, journal, reopen};

/// Benches of Lockbridge. Each compares with something measured in the same run.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
    /// Writes the tables as JSON to this file too.
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Works below this directory, which should be on the disk in question. Default: the current one.
    #[arg(long, global = true, value_name = "DIRECTORY", default_value = ".")]
    directory: PathBuf,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Bench {
    /// The journal against raw write and fdatasync, on the disk as found and with slow flushes.
    Journal,
    /// Opening after a kill with 100,000 entries pending.
    Reopen,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let tables: Vec<Table> = match arguments.bench {
        Bench::Journal => journal::run(&arguments.directory)?,
        Bench::Reopen => reopen::run(&arguments.directory)?,
    };
    let mut output = std::io::stdout().lock();
    for table in &tables {
        writeln!(output, "{}", table.render())?;
    }
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&tables)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
