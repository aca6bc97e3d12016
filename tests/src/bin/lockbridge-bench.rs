//! Measures Lockbridge against the machine it runs on: tables on stdout, and the same as JSON on request.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand};
use lockbridge_tests::bench::{Table, daemon, drain, installed, journal, latency, recovery, reopen};

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

#[derive(Debug, Clone, Subcommand)]
enum Bench {
    /// The journal against raw write and fdatasync, on the disk as found and with slow flushes.
    Journal,
    /// Opening after a kill with 100,000 entries pending.
    Reopen,
    /// Time and memory of recovery, cost of the chain, pause of a checkpoint, size of the state folder.
    Recovery {
        /// Entries pending at an opening.
        #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000", value_name = "COUNTS")]
        entries: Vec<u64>,
        /// Commands that come and go.
        #[arg(long, default_value_t = 200_000, value_name = "COUNT")]
        commands: u64,
        /// Keys in the working set while it is checkpointed.
        #[arg(long, default_value_t = 50_000, value_name = "COUNT")]
        keys: u64,
    },
    /// One opening of the state directory given as `--directory`; run by `recovery`, each in a process of its own.
    #[command(hide = true)]
    OpenOnce,
    /// From the hub's command to the first byte at the lock server, one command at a time.
    Latency {
        /// Openings measured.
        #[arg(long, default_value_t = 300, value_name = "COUNT")]
        samples: usize,
    },
    /// A backlog of grants that waited at the cloud, to a lock server that answers at once.
    Drain {
        /// Grants made while the link is cut.
        #[arg(long, default_value_t = 10_000, value_name = "COUNT")]
        commands: usize,
    },
    /// Size, start, idle memory and CPU of the daemon, and its start with a long journal.
    Daemon {
        /// Entries of the long journal.
        #[arg(long, default_value_t = 100_000, value_name = "COUNT")]
        entries: u64,
    },
    /// The packages on a Debian with systemd, booted for it (root): the first hour as it is typed, then sizes, start, idle, upgrade.
    Installed {
        /// Where `lockbridge-package` put the packages.
        #[arg(long, default_value = "target/package", value_name = "DIR")]
        packages: PathBuf,
        /// How long the installed bridge is left alone.
        #[arg(long, default_value_t = 10, value_name = "MINUTES")]
        idle: u64,
        /// Writes what was typed and shown into this file.
        #[arg(long, value_name = "FILE")]
        transcript: Option<PathBuf>,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let tables: Vec<Table> = match arguments.bench {
        Bench::Journal => journal::run(&arguments.directory)?,
        Bench::Reopen => reopen::run(&arguments.directory)?,
        Bench::Recovery { entries, commands, keys } => {
            recovery::run(&arguments.directory, &recovery::Sizes { entries, commands, keys })?
        }
        Bench::OpenOnce => {
            let opening = recovery::open_once(&arguments.directory)?;
            writeln!(std::io::stdout(), "{}", serde_json::to_string(&opening)?)?;
            return Ok(());
        }
        Bench::Latency { samples } => latency::run(&arguments.directory, samples)?,
        Bench::Drain { commands } => drain::run(commands)?,
        Bench::Daemon { entries } => daemon::run(entries)?,
        Bench::Installed { packages, idle, transcript } => installed::run(&packages, idle, transcript.as_deref())?,
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
