//! `lockbridge-torture`: breaks the bridge on purpose and counts what came of it.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use lockbridge_tests::harness::pms_server::Way;
use lockbridge_tests::torture::{
    self, DiskOptions, LineOptions, Options, PointOptions, PowerOptions, SoakOptions, corrupt, world,
};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

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
        #[command(flatten)]
        common: Common,
    },
    /// Random power cuts under load, with the state directory on a disk that loses what was not synced.
    Power {
        /// How many cycles; each has one cut or two.
        #[arg(long, default_value_t = 200)]
        cycles: u64,
        /// The disk answers syncs and does nothing: this run must fail, or it would prove nothing.
        #[arg(long)]
        lying_disk: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Power cuts of the core in one process, on a disk in memory, between a scripted cloud and lock server.
    World {
        /// How many cuts.
        #[arg(long, default_value_t = 10_000)]
        cuts: u64,
        /// As with `power`: this run must fail.
        #[arg(long)]
        lying_disk: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Damaged state folders: bytes, files, checkpoints, the working set.
    Corrupt {
        /// How many corruptions.
        #[arg(long, default_value_t = 10_000)]
        count: u64,
        #[command(flatten)]
        common: Common,
    },
    /// Work comes and goes, and memory, files and disk must not grow with it.
    Soak {
        /// Busy minutes.
        #[arg(long, default_value_t = 60)]
        rounds: u64,
        /// Guests that arrive in each, and as many go.
        #[arg(long, default_value_t = 50)]
        guests: u64,
        #[command(flatten)]
        common: Common,
    },
    /// Keys asked for over a line that loses, turns and doubles bytes.
    Line {
        /// How many keys.
        #[arg(long, default_value_t = 10_000)]
        requests: u64,
        /// The share of bytes that meet something.
        #[arg(long, default_value_t = 0.01)]
        noise: f64,
        /// Whose protocol is on the line.
        #[arg(long, value_enum, default_value = "salto-pms")]
        kind: torture::LineKind,
        /// Over TCP, or over a pseudo terminal that looks like a serial port.
        #[arg(long, value_enum, default_value = "tcp")]
        port: Way,
        /// Sites that work side by side; the keys are shared out among them.
        #[arg(long, default_value_t = 4)]
        jobs: u64,
        #[command(flatten)]
        common: Common,
    },
    /// A disk that fills up and fails.
    Disk {
        #[command(flatten)]
        common: Common,
    },
    /// A crash at every call to the disk and every byte to the lock server of one scripted run.
    Points {
        /// One kind of crash only.
        #[arg(long)]
        kind: Option<Kind>,
        /// Every k-th call only.
        #[arg(long, default_value_t = 1, value_name = "K")]
        every: usize,
        /// Every k-th byte only.
        #[arg(long, default_value_t = 1, value_name = "K")]
        every_byte: usize,
        /// From this point, counted from 1.
        #[arg(long, default_value_t = 1)]
        from: usize,
        /// To this point.
        #[arg(long, default_value_t = usize::MAX)]
        to: usize,
        /// Sites that work side by side.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        #[command(flatten)]
        common: Common,
    },
}

/// What all of them know.
#[derive(Debug, Args)]
struct Common {
    /// Draws what is random; without it, the time does.
    #[arg(long)]
    seed: Option<u64>,
    /// Write the figures as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Kill,
    Power,
}

/// What a run told: whether everything held, and the table.
type Told = anyhow::Result<(bool, String)>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let told = tokio::select! {
        told = run(Arguments::parse().how) => told,
        // What was mounted and started is taken down on the way out.
        () = stopped() => return ExitCode::from(130),
    };
    match told {
        Ok((held, table)) => {
            say(&table);
            if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            say(&format!("The run ended early: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(how: How) -> Told {
    match how {
        How::Kill { cycles, common } => {
            let seed = common.seed(&format!("{cycles} cycles"));
            let figures = torture::kill(Options { cycles, seed }, say).await?;
            common.told(figures.held(), figures.table(), &figures)
        }
        How::Power { cycles, lying_disk, common } => {
            let seed = common.seed(&format!("{cycles} cycles of power cuts"));
            let figures = torture::live(PowerOptions { cycles, seed, lying_disk }, say).await?;
            common.told(figures.held(), figures.table(), &figures)
        }
        How::World { cuts, lying_disk, common } => {
            let options = world::Options { cuts, seed: common.seed(&format!("{cuts} power cuts")), lying_disk };
            let figures = apart(move || world::power(options, say)).await?;
            common.told(figures.held(), figures.table(), &figures)
        }
        How::Corrupt { count, common } => {
            let options = corrupt::Options { count, seed: common.seed(&format!("{count} corruptions")) };
            let figures = apart(move || corrupt::corrupt(options, say)).await?;
            common.told(figures.held(), figures.table(), &figures)
        }
        How::Soak { rounds, guests, common } => {
            let seed = common.seed(&format!("{rounds} rounds of {guests} guests"));
            let figures = torture::soak(SoakOptions { rounds, guests, seed }, say).await?;
            common.told(figures.held(), figures.table(), &figures)
        }
        How::Line { requests, noise, kind, port, jobs, common } => {
            let seed = common.seed(&format!("{requests} keys at {noise} noise, {kind:?} over {port:?}"));
            let options = LineOptions { kind, requests, noise, way: port, jobs, seed };
            let figures = torture::line(options, say).await?;
            common.told(figures.held(), figures.table(), &figures)
        }
        How::Disk { common } => {
            let seed = common.seed("a full and failing disk");
            let figures = torture::disk(DiskOptions { seed }, say).await?;
            common.told(figures.held(), figures.table(), &figures)
        }
        How::Points { kind, every, every_byte, from, to, jobs, common } => {
            let seed = common.seed("enumerated crash points");
            let kind = kind.map(|kind| match kind {
                Kind::Kill => torture::Kind::Kill,
                Kind::Power => torture::Kind::Power,
            });
            let figures = torture::points(PointOptions { seed, kind, every, every_byte, from, to, jobs }, say).await?;
            common.told(figures.held(), figures.table(), &figures)
        }
    }
}

/// On a thread of its own, which ends with the process: what runs there has a runtime and a clock of its own.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> anyhow::Result<T> {
    let (done, ended) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("torture".to_owned()).spawn(move || done.send(work()).is_ok())?;
    ended.await?
}

/// Returns when told to stop.
async fn stopped() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _terminated = terminate.recv() => {}
        _interrupted = tokio::signal::ctrl_c() => {}
    }
}

impl Common {
    fn seed(&self, what: &str) -> u64 {
        let seed = self.seed.unwrap_or_else(|| jiff::Timestamp::now().as_millisecond().unsigned_abs());
        say(&format!("{what}, seed {seed}"));
        seed
    }

    fn told(&self, held: bool, table: String, figures: &impl Serialize) -> Told {
        if let Some(file) = &self.json {
            let bytes = serde_json::to_vec_pretty(figures)?;
            std::fs::write(file, bytes).with_context(|| file.display().to_string())?;
        }
        Ok((held, table))
    }
}

/// A closed pipe changes nothing: the exit code still tells.
fn say(line: &str) {
    let _closed_pipe = writeln!(std::io::stdout(), "{line}");
}
