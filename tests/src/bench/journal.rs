//! The journal against raw `write` + `fdatasync` of the same bytes, on the disk as found and with slow flushes.
//!
//! Raw is one thread that appends to a growing file and flushes after each write, which is what a program without a
//! journal would do. Rounds of all cases are interleaved, so that a noisy neighbour hits them alike.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use lockbridge::journal::{Disk, DiskFile, Journal, JournalOptions, RealDisk, Reserve};
use lockbridge_protocol::journal::{COMMIT_BYTES, RECORD_OVERHEAD};

use super::{Aim, Table, median, percentile};

/// A grant's command, sealed, is about this long.
const PAYLOAD_BYTES: usize = 512;
const PRODUCERS: [usize; 3] = [1, 64, 256];
const ROUNDS: usize = 3;
/// How long one case of one round runs.
const CASE: Duration = Duration::from_secs(2);
/// 28 MiB of them: all prepared segments, and the pool of retired ones.
const WARM_UP_ENTRIES: u64 = 53_248;
const SLOW_FLUSH: Duration = Duration::from_millis(2);

/// One case of one round.
#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    per_second: f64,
    p50: Duration,
    p99: Duration,
    flushes_per_commit: f64,
    entries_per_commit: f64,
    bytes_ratio: f64,
    bytes_ratio_with_preparing: f64,
}

/// Measures in a fresh directory below `directory`.
pub fn run(directory: &Path) -> anyhow::Result<Vec<Table>> {
    [(Duration::ZERO, "disk as found"), (SLOW_FLUSH, "every flush made to cost 2 ms")]
        .into_iter()
        .map(|(delay, name)| table(directory, delay, name))
        .collect()
}

fn table(directory: &Path, delay: Duration, name: &str) -> anyhow::Result<Table> {
    let mut raw = Vec::new();
    let mut journal: Vec<Vec<Figures>> = vec![Vec::new(); PRODUCERS.len()];
    for _ in 0..ROUNDS {
        raw.push(measure_raw(directory, delay).context("raw")?);
        for (producers, figures) in PRODUCERS.iter().zip(&mut journal) {
            figures.push(measure_journal(directory, delay, *producers).context("journal")?);
        }
    }
    let raw = middle(&raw);
    let mut rows = vec![row("raw write + fdatasync", &raw, raw.per_second)];
    let mut aims = Vec::new();
    for (producers, figures) in PRODUCERS.iter().zip(&journal) {
        let figures = middle(figures);
        rows.push(row(&format!("journal, {producers} producers"), &figures, raw.per_second));
        let ratio = figures.per_second / raw.per_second;
        match (producers, delay.is_zero()) {
            (1, true) => aims.push(Aim::at_least("1 producer / raw rate", ratio, 0.6)),
            (1, false) => aims.push(Aim::at_least("1 producer / raw rate", ratio, 0.9)),
            (64, false) => {
                aims.push(Aim::at_least("64 producers / raw rate", ratio, 35.0));
                let p99 = figures.p99.as_secs_f64() / raw.p50.as_secs_f64();
                aims.push(Aim::at_most("64 producers, p99 of a durable step / raw p50", p99, 5.0));
            }
            (256, false) => aims.push(Aim::at_least("256 producers / raw rate", ratio, 110.0)),
            _ => {}
        }
        aims.push(Aim::at_most(
            format!("{producers} producers, device bytes / payload bytes, preparing included"),
            figures.bytes_ratio_with_preparing,
            2.0,
        ));
        ensure!(
            (figures.flushes_per_commit - 1.0).abs() < 1e-9,
            "a commit took {} flushes",
            figures.flushes_per_commit
        );
    }
    let title = format!(
        "Journal, entries of {PAYLOAD_BYTES} bytes, {name}; medians of {ROUNDS} interleaved rounds of {} s",
        CASE.as_secs()
    );
    let columns = vec![
        "",
        "durable/s",
        "x raw",
        "p50 µs",
        "p99 µs",
        "entries/commit",
        "flushes/commit",
        "bytes/payload",
        "with preparing",
    ];
    Ok(Table { title, columns, rows, aims })
}

fn row(name: &str, figures: &Figures, raw: f64) -> Vec<String> {
    vec![
        name.to_owned(),
        format!("{:.0}", figures.per_second),
        format!("{:.2}", figures.per_second / raw),
        figures.p50.as_micros().to_string(),
        figures.p99.as_micros().to_string(),
        format!("{:.1}", figures.entries_per_commit),
        format!("{:.2}", figures.flushes_per_commit),
        format!("{:.2}", figures.bytes_ratio),
        format!("{:.2}", figures.bytes_ratio_with_preparing),
    ]
}

fn middle(rounds: &[Figures]) -> Figures {
    let of = |figure: fn(&Figures) -> f64| median(rounds.iter().map(figure).collect());
    Figures {
        per_second: of(|it| it.per_second),
        p50: Duration::from_secs_f64(of(|it| it.p50.as_secs_f64())),
        p99: Duration::from_secs_f64(of(|it| it.p99.as_secs_f64())),
        flushes_per_commit: of(|it| it.flushes_per_commit),
        entries_per_commit: of(|it| it.entries_per_commit),
        bytes_ratio: of(|it| it.bytes_ratio),
        bytes_ratio_with_preparing: of(|it| it.bytes_ratio_with_preparing),
    }
}

fn measure_raw(directory: &Path, delay: Duration) -> anyhow::Result<Figures> {
    let directory = tempfile::tempdir_in(directory)?;
    let mut file = File::create(directory.path().join("raw"))?;
    let record = vec![7; PAYLOAD_BYTES + RECORD_OVERHEAD + COMMIT_BYTES];
    let (begin, mut steps) = (Instant::now(), Vec::new());
    while begin.elapsed() < CASE {
        let step = Instant::now();
        file.write_all(&record)?;
        file.sync_data()?;
        slow(delay);
        steps.push(step.elapsed());
    }
    let ratio = ratio(record.len() as u64, PAYLOAD_BYTES as u64);
    let figures =
        Figures { flushes_per_commit: 1.0, entries_per_commit: 1.0, bytes_ratio: ratio, ..Figures::default() };
    Ok(Figures { bytes_ratio_with_preparing: ratio, ..timed(figures, steps, begin.elapsed()) })
}

fn measure_journal(directory: &Path, delay: Duration, producers: usize) -> anyhow::Result<Figures> {
    let directory = tempfile::tempdir_in(directory)?;
    let options = JournalOptions { disk: Arc::new(SlowDisk { delay }), ..JournalOptions::default() };
    let (journal, _) = Journal::open(directory.path(), options)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let journal = Arc::new(journal);
    let steps = runtime.block_on(async {
        warm_up(&journal).await?;
        let before = journal.statistics();
        let begin = Instant::now();
        let steps = produce(&journal, producers, CASE).await?;
        anyhow::Ok((before, begin.elapsed(), steps))
    });
    let (before, elapsed, steps) = steps?;
    let after = journal.statistics();
    let payload = after.payload_bytes - before.payload_bytes;
    let committed = after.committed_bytes - before.committed_bytes;
    let commits = after.commits - before.commits;
    let figures = Figures {
        flushes_per_commit: ratio(after.flushes - before.flushes, commits),
        entries_per_commit: ratio(after.entries - before.entries, commits),
        bytes_ratio: ratio(committed, payload),
        bytes_ratio_with_preparing: ratio(committed + after.prepared_bytes - before.prepared_bytes, payload),
        ..Figures::default()
    };
    Ok(timed(figures, steps, elapsed))
}

/// Writes so much that the journal has begun to take back segments, as it does after its first days.
async fn warm_up(journal: &Journal) -> anyhow::Result<()> {
    let mut durable = journal.durable();
    for number in 0..WARM_UP_ENTRIES {
        let sequence = journal.append(vec![7; PAYLOAD_BYTES], Reserve::Ordinary).await?;
        if number % 4_096 == 4_095 {
            let reached = durable.wait_for(|durable| durable.failed || durable.through >= sequence).await?;
            ensure!(!reached.failed, "the journal failed");
            journal.retire(sequence, 0);
        }
    }
    Ok(())
}

/// Each producer appends an entry and waits until it is durable, over and over.
async fn produce(journal: &Arc<Journal>, producers: usize, time: Duration) -> anyhow::Result<Vec<Duration>> {
    let mut tasks = tokio::task::JoinSet::new();
    let end = Instant::now() + time;
    for _ in 0..producers {
        let journal = Arc::clone(journal);
        tasks.spawn(async move {
            let (mut durable, mut steps) = (journal.durable(), Vec::new());
            while Instant::now() < end {
                let step = Instant::now();
                let sequence = journal.append(vec![7; PAYLOAD_BYTES], Reserve::Ordinary).await?;
                let reached = durable.wait_for(|durable| durable.failed || durable.through >= sequence).await?;
                ensure!(!reached.failed, "the journal failed");
                drop(reached);
                steps.push(step.elapsed());
                if sequence % 4_096 == 0 {
                    // As a checkpoint does.
                    journal.retire(sequence, 0);
                }
            }
            Ok(steps)
        });
    }
    let mut steps = Vec::new();
    while let Some(task) = tasks.join_next().await {
        steps.extend(task??);
    }
    Ok(steps)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn timed(figures: Figures, mut steps: Vec<Duration>, elapsed: Duration) -> Figures {
    steps.sort_unstable();
    let per_second = steps.len() as f64 / elapsed.as_secs_f64();
    Figures { per_second, p50: percentile(&steps, 0.5), p99: percentile(&steps, 0.99), ..figures }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[expect(clippy::disallowed_methods, reason = "stands in for a disk that blocks the flushing thread")]
fn slow(delay: Duration) {
    if !delay.is_zero() {
        std::thread::sleep(delay);
    }
}

/// The real disk, with flushes that take longer.
#[derive(Debug, Clone, Copy)]
struct SlowDisk {
    delay: Duration,
}

#[derive(Debug)]
struct SlowFile {
    file: Box<dyn DiskFile>,
    delay: Duration,
}

impl Disk for SlowDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(SlowFile { file: RealDisk.create(path)?, delay: self.delay }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(SlowFile { file: RealDisk.open(path)?, delay: self.delay }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        slow(self.delay);
        RealDisk.sync_directory(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(path)
    }
}

impl DiskFile for SlowFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        slow(self.delay);
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        slow(self.delay);
        self.file.sync_all()
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}
