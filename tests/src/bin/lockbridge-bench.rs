//! Measures Lockbridge against the machine it runs on: tables on stdout, and the same as JSON on request.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand};
use lockbridge_tests::bench::{Table, codec, daemon, drain, installed, journal, latency, lines, recovery, reopen};

/// Counts allocations, for `codec`.
mod counting {
    use std::alloc::{GlobalAlloc, Layout, System};

    use lockbridge_tests::bench::allocations;

    struct Counting;

    #[expect(unsafe_code, reason = "the trait of allocators is unsafe; every call goes to the system's unchanged")]
    // SAFETY: each method hands its arguments on to the system's allocator, whose contract is the same.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            allocations::count();
            // SAFETY: the caller keeps the contract of this same method.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            // SAFETY: as above; the pointer came from the system's allocator.
            unsafe { System.dealloc(pointer, layout) }
        }

        unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            allocations::count();
            // SAFETY: as above; the pointer came from the system's allocator.
            unsafe { System.realloc(pointer, layout, size) }
        }
    }

    #[global_allocator]
    static COUNTING: Counting = Counting;
}

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
    /// The codecs of the front desk's wires: frames a second, and allocations for each.
    Codec,
    /// The front desk's wires: from a command to the first byte, how busy a slow port is kept, and how soon a line is used again.
    Lines {
        /// Keys measured one by one, for each kind of line; 0 leaves this out, as with the others.
        #[arg(long, default_value_t = 200, value_name = "COUNT")]
        samples: usize,
        /// Keys of the burst.
        #[arg(long, default_value_t = 200, value_name = "COUNT")]
        burst: usize,
        /// Times that a line is pulled and put back.
        #[arg(long, default_value_t = 10, value_name = "COUNT")]
        rounds: usize,
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
        Bench::Codec => codec::run()?,
        Bench::Lines { samples, burst, rounds } => lines::run(&arguments.directory, samples, burst, rounds)?,
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
