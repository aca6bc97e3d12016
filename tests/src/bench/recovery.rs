//! What recovery and compaction cost: time and memory to open with much pending, the chain's share of an append, the pause a
//! checkpoint makes, and what the state folder takes after many commands came and went.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use lockbridge::journal::{Journal, JournalOptions, Reserve};
use lockbridge::state::fold::JournalFold;
use lockbridge::state::{WorkingSet, WorkingSetOptions};
use lockbridge_protocol::journal::{ChainHash, StoreId, write_entry};
use lockbridge_protocol::proto::journal::{Entry, Intent, Outcome, Received, ReportsAcknowledged, entry::Body};
use lockbridge_protocol::proto::tunnel::CommandState;
use prost::Message as _;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::reopen::{PAYLOAD_BYTES, Pending, copy, fill, noise};
use super::{Aim, Table, percentile};

const DEADLINE: Duration = Duration::from_secs(120);
const PRODUCERS: u64 = 64;
/// Commands a day that a busy site sees, which decides how many ended ones are remembered (rule C2).
const COMMANDS_A_DAY: u64 = 1_000;
const DAY_MS: i64 = 86_400_000;
const START_MS: i64 = 1_795_000_000_000;

/// How large.
#[derive(Debug, Clone)]
pub struct Sizes {
    /// Entries pending at an opening; one row each.
    pub entries: Vec<u64>,
    /// Commands that come and go.
    pub commands: u64,
    /// Keys in the working set while it is checkpointed.
    pub keys: u64,
}

/// One opening, as the process that did it saw it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Opening {
    journal_ms: f64,
    working_set_ms: f64,
    /// Peak of the process and what it had before, in KiB.
    peak_kib: u64,
    before_kib: u64,
    applied: u64,
}

/// Measures in a fresh directory below `directory`.
pub fn run(directory: &Path, sizes: &Sizes) -> anyhow::Result<Vec<Table>> {
    let folder = tempfile::tempdir_in(directory)?;
    Ok(vec![
        openings(folder.path(), &sizes.entries)?,
        chain(folder.path())?,
        pause(folder.path(), sizes.keys)?,
        size(folder.path(), sizes.commands)?,
    ])
}

/// Opens the state in `state` in this process, which does nothing else, and says what it took.
pub fn open_once(state: &Path) -> anyhow::Result<Opening> {
    let before_kib = memory("VmRSS:")?;
    let begin = Instant::now();
    let (journal, opened) = Journal::open(state, JournalOptions::default())?;
    let journal_ms = begin.elapsed().as_secs_f64() * 1e3;
    ensure!(opened.damage.is_empty(), "the copy is damaged: {:?}", opened.damage);
    let begin = Instant::now();
    let (set, _) = WorkingSet::open(state, &journal, Pending, WorkingSetOptions::default())?;
    let working_set_ms = begin.elapsed().as_secs_f64() * 1e3;
    Ok(Opening { journal_ms, working_set_ms, peak_kib: memory("VmHWM:")?, before_kib, applied: set.applied() })
}

fn memory(key: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key}"))?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

fn openings(folder: &Path, entries: &[u64]) -> anyhow::Result<Table> {
    let (mut rows, mut aims) = (Vec::new(), Vec::new());
    for count in entries {
        let killed = folder.join("killed");
        fill(&folder.join("live"), &killed, *count)?;
        for (name, rebuild) in [("usable", false), ("rebuilt", true)] {
            let again = folder.join("again");
            copy(&killed, &again)?;
            if rebuild {
                std::fs::remove_file(again.join("working-set.trust"))?;
            }
            let ran =
                Command::new(std::env::current_exe()?).arg("--directory").arg(&again).arg("open-once").output()?;
            ensure!(ran.status.success(), "opening failed: {}", String::from_utf8_lossy(&ran.stderr));
            let opening: Opening = serde_json::from_slice(&ran.stdout)?;
            ensure!(opening.applied == *count, "only {} entries are there", opening.applied);
            std::fs::remove_dir_all(&again)?;
            let total = opening.journal_ms + opening.working_set_ms;
            rows.push(vec![
                format!("{count}, working set {name}"),
                format!("{:.0}", opening.journal_ms),
                format!("{:.0}", opening.working_set_ms),
                format!("{total:.0}"),
                format!("{:.1}", mebibytes(opening.peak_kib.saturating_sub(opening.before_kib) * 1024)),
            ]);
            if *count == 100_000 {
                let aim = if rebuild { 1_000.0 } else { 100.0 };
                aims.push(Aim::at_most(format!("ms to open with 100,000 pending, {name}"), total, aim));
            }
        }
        std::fs::remove_dir_all(&killed)?;
        std::fs::remove_dir_all(folder.join("live"))?;
    }
    Ok(Table {
        title: format!(
            "Recovery after a kill, entries of {PAYLOAD_BYTES} bytes, all of them pending; one process each"
        ),
        columns: vec!["entries", "journal ms", "working set ms", "together ms", "memory MiB at its peak"],
        rows,
        aims,
    })
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

/// The chain hash and the checksum of an entry, against all that appending it costs.
fn chain(folder: &Path) -> anyhow::Result<Table> {
    const ROUNDS: u64 = 200_000;
    const APPENDS: u64 = 100_000;
    let payload = noise(1, PAYLOAD_BYTES);
    let genesis = ChainHash::genesis(StoreId([1; 16]));
    let nanoseconds = |begin: Instant, count: u64| {
        begin.elapsed().as_secs_f64() * 1e9 / f64::from(u32::try_from(count).unwrap_or(u32::MAX))
    };
    let (mut head, begin) = (genesis, Instant::now());
    for sequence in 1..=ROUNDS {
        head = head.after(sequence, black_box(&payload)).context("short enough")?;
    }
    let hash = nanoseconds(begin, ROUNDS);
    let (mut out, begin) = (Vec::new(), Instant::now());
    for sequence in 1..=ROUNDS {
        out.clear();
        head = write_entry(&mut out, sequence, head, black_box(&payload)).context("short enough")?;
    }
    let record = nanoseconds(begin, ROUNDS);
    black_box(head);
    let (journal, _) = Journal::open(&folder.join("appends"), JournalOptions::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let begin = Instant::now();
    let last = runtime.block_on(async {
        let mut last = 0;
        for _ in 0..APPENDS {
            last = journal.append(payload.clone(), Reserve::Ordinary).await?;
        }
        anyhow::Ok(last)
    })?;
    ensure!(journal.wait_durable(last, DEADLINE), "the journal is not durable");
    let append = nanoseconds(begin, APPENDS);
    drop(journal);
    std::fs::remove_dir_all(folder.join("appends"))?;
    let row =
        |name: &str, cost: f64| vec![name.to_owned(), format!("{cost:.0}"), format!("{:.1}", cost / append * 100.0)];
    Ok(Table {
        title: format!("Cost of an append of {PAYLOAD_BYTES} bytes, one producer that does not wait"),
        columns: vec!["", "ns", "% of the append"],
        rows: vec![
            row("chain hash (BLAKE3)", hash),
            row("checksum (CRC32C) and copying", (record - hash).max(0.0)),
            row("append, all of it, until durable", append),
        ],
        aims: Vec::new(),
    })
}

/// Latency of durable appends by 64 producers, alone and while checkpoints are made all the time.
fn pause(folder: &Path, keys: u64) -> anyhow::Result<Table> {
    let state = folder.join("pause");
    let (journal, _) = Journal::open(&state, JournalOptions::default())?;
    let options =
        WorkingSetOptions { checkpoint_bytes: u64::MAX, audit_retention_bytes: 0, ..WorkingSetOptions::default() };
    let (mut set, _) = WorkingSet::open(&state, &journal, Pending, options)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for number in 0..keys {
            let payload = noise(number, PAYLOAD_BYTES);
            let sequence = journal.append(payload.clone(), Reserve::Ordinary).await?;
            set.apply(sequence, &payload)?;
        }
        anyhow::Ok(())
    })?;
    let (journal, set) = (Arc::new(journal), Arc::new(Mutex::new(set)));
    let mut rows = Vec::new();
    for (name, checkpoints) in [("without checkpoints", false), ("checkpoints all the time", true)] {
        let (mut latencies, made) = runtime.block_on(produce(&journal, &set, checkpoints))?;
        latencies.sort_unstable();
        let cell = |share: f64| format!("{:.2}", percentile(&latencies, share).as_secs_f64() * 1e3);
        rows.push(vec![
            name.to_owned(),
            latencies.len().to_string(),
            made.to_string(),
            cell(0.5),
            cell(0.99),
            cell(1.0),
        ]);
    }
    drop((set, journal));
    std::fs::remove_dir_all(&state)?;
    Ok(Table {
        title: format!("Durable append and fold by {PRODUCERS} producers, {keys} keys in the working set"),
        columns: vec!["", "appends", "checkpoints", "p50 ms", "p99 ms", "longest ms"],
        rows,
        aims: Vec::new(),
    })
}

type Set = Arc<Mutex<WorkingSet<Pending>>>;

async fn produce(journal: &Arc<Journal>, set: &Set, checkpoints: bool) -> anyhow::Result<(Vec<Duration>, u64)> {
    const SECONDS: Duration = Duration::from_secs(5);
    let stop = Arc::new(AtomicBool::new(false));
    let mut producers = tokio::task::JoinSet::new();
    for producer in 0..PRODUCERS {
        let (journal, set, stop) = (Arc::clone(journal), Arc::clone(set), Arc::clone(&stop));
        producers.spawn(async move {
            let mut latencies = Vec::new();
            let mut durable = journal.durable();
            while !stop.load(Ordering::Relaxed) {
                let payload = noise(producer, PAYLOAD_BYTES);
                let begin = Instant::now();
                let sequence = {
                    // One at a time, as in the engine: entries are folded in the order they were given.
                    let mut set = set.lock().await;
                    let sequence = journal.append(payload.clone(), Reserve::Ordinary).await?;
                    set.apply(sequence, &payload)?;
                    sequence
                };
                durable.wait_for(|durable| durable.failed || durable.through >= sequence).await?;
                latencies.push(begin.elapsed());
            }
            anyhow::Ok(latencies)
        });
    }
    let before = journal.checkpoints().newest_first().first().map_or(0, |file| file.header.sequence);
    let (begin, mut made, mut newest) = (Instant::now(), 0, before);
    while begin.elapsed() < SECONDS {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if checkpoints {
            set.lock().await.begin_checkpoint();
            let now = journal.checkpoints().newest_first().first().map_or(0, |file| file.header.sequence);
            made += u64::from(now != newest);
            newest = now;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut latencies = Vec::new();
    while let Some(ended) = producers.join_next().await {
        latencies.extend(ended??);
    }
    set.lock().await.settle();
    Ok((latencies, made))
}

/// The state folder while commands come, end, and are told of; a thousand stay pending.
fn size(folder: &Path, commands: u64) -> anyhow::Result<Table> {
    const PENDING: u64 = 1_000;
    let state = folder.join("size");
    let (journal, _) = Journal::open(&state, JournalOptions::default())?;
    let options = WorkingSetOptions { audit_retention_bytes: 0, ..WorkingSetOptions::default() };
    let (mut set, _) = WorkingSet::open(&state, &journal, JournalFold, options)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let step_ms = DAY_MS / i64::try_from(COMMANDS_A_DAY).unwrap_or(1);
    let mut rows = Vec::new();
    let begun = Instant::now();
    for number in 1..=commands {
        let wall_ms = START_MS + step_ms * i64::try_from(number).unwrap_or(0);
        for body in bodies(number, wall_ms, number > commands.saturating_sub(PENDING)) {
            let payload = Entry { wall_ms, body: Some(body) }.encode_to_vec();
            let sequence = runtime.block_on(journal.append(payload.clone(), Reserve::Ordinary))?;
            set.apply(sequence, &payload)?;
        }
        if number % (commands / 4).max(1) == 0 {
            ensure!(journal.wait_durable(set.applied(), DEADLINE), "the journal is not durable");
            set.settle();
            // What was given up is removed by a thread of the journal; its pace is no part of this.
            let sizes = settled(&state)?;
            let total: u64 = sizes.values().sum();
            let of = |name: &str| format!("{:.1}", mebibytes(sizes.get(name).copied().unwrap_or(0)));
            rows.push(vec![
                number.to_string(),
                of("segments"),
                of("checkpoints"),
                of("working set"),
                format!("{:.1}", mebibytes(total)),
                format!("{:.0}", begun.elapsed().as_secs_f64()),
            ]);
        }
    }
    let last: f64 = rows.last().and_then(|row| row.get(4)?.parse().ok()).unwrap_or(0.0);
    drop((set, journal));
    std::fs::remove_dir_all(&state)?;
    Ok(Table {
        title: format!(
            "State folder, {COMMANDS_A_DAY} commands a day that come and go, {PENDING} pending at the end, no audit retention"
        ),
        columns: vec!["commands", "segments MiB", "checkpoints MiB", "working set MiB", "together MiB", "seconds"],
        rows,
        aims: vec![Aim::at_most("MiB of the state folder at the end", last, 10.0)],
    })
}

/// Sizes once two looks in a row are the same.
fn settled(state: &Path) -> anyhow::Result<BTreeMap<&'static str, u64>> {
    let mut before = BTreeMap::new();
    let begin = Instant::now();
    loop {
        let mut sizes = BTreeMap::new();
        // A file may go while it is looked at; then it is looked at again.
        let looked = sum(state, &mut sizes);
        if looked.is_ok() && (sizes == before || begin.elapsed() > DEADLINE) {
            return Ok(sizes);
        }
        before = sizes;
        std::thread::park_timeout(Duration::from_millis(200));
    }
}

/// The entries of one command's life.
fn bodies(number: u64, wall_ms: i64, pending: bool) -> Vec<Body> {
    let mut id = vec![0x40; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let lane = format!("user:{}", number % 5_000);
    let received = Body::Received(Received {
        delivery_sequence: number,
        command_id: id.clone(),
        command_hash: noise(number, 32),
        sealed: noise(number, 420),
        lock_system: "tower".into(),
        lane,
        lane_sequence: number / 5_000 + 1,
        priority: 3,
        mode: 2,
        kind: "put_grant".into(),
        expires_at_ms: wall_ms + DAY_MS,
        ..Received::default()
    });
    if pending {
        return vec![received];
    }
    let intent = Intent { command_id: id.clone(), attempt: 1, class: 1, device: "tower".into(), ..Intent::default() };
    let outcome = Outcome {
        command_id: id,
        attempt: 1,
        state: CommandState::Succeeded as u32,
        sealed_report: noise(number, 260),
        report_sequence: number,
        ..Outcome::default()
    };
    let through = ReportsAcknowledged { through: number };
    vec![received, Body::Intent(intent), Body::Outcome(outcome), Body::ReportsAcknowledged(through)]
}

/// Bytes on the file system, by what they are for.
fn sum(directory: &Path, into: &mut BTreeMap<&'static str, u64>) -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sum(&entry.path(), into)?;
            continue;
        }
        let path = entry.path();
        let text = path.display().to_string();
        let kind = if text.contains("/working-set") {
            "working set"
        } else if text.ends_with(".segment") {
            "segments"
        } else {
            "checkpoints"
        };
        *into.entry(kind).or_default() += entry.metadata()?.blocks() * 512;
    }
    Ok(())
}
