//! The journal on the real disk; what a power cut leaves is in `crash_tests`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::*;
use crate::clock::ManualClock;
use crate::health::{Health, LATE};
use lockbridge_protocol::journal::HEADER_BYTES;

pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// Small enough that a few entries roll a segment.
pub(super) fn small(disk: Arc<dyn Disk>) -> JournalOptions {
    JournalOptions {
        segment_bytes: 4096,
        reserve_bytes: 8192,
        queue_bytes: 64 * 1024,
        entry_bytes: 512,
        look_interval: Duration::from_millis(20),
        disk,
        ..JournalOptions::default()
    }
}

pub(super) fn append(journal: &Journal, payload: &[u8], reserve: Reserve) -> Result<u64, AppendError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        tokio::time::timeout(DEADLINE, journal.append(payload.to_vec(), reserve)).await.expect("room in time")
    })
}

pub(super) fn append_durably(journal: &Journal, payload: &[u8]) -> u64 {
    let sequence = append(journal, payload, Reserve::Ordinary).expect("appended");
    assert!(journal.wait_durable(sequence, DEADLINE), "durable in time");
    sequence
}

pub(super) fn entries(journal: &Journal, from: u64) -> Vec<(u64, Vec<u8>)> {
    let replayed = journal.replay(from).map(|replayed| replayed.expect("readable"));
    let entries = replayed.filter_map(|replayed| match replayed {
        Replayed::Entry { sequence, payload, .. } => Some((sequence, payload)),
        Replayed::Lost { .. } => None,
    });
    entries.collect()
}

pub(super) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = std::time::Instant::now();
    while !condition() {
        assert!(begin.elapsed() < DEADLINE, "{what} did not happen in time");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

pub(super) fn segment_files(state: &Path) -> Vec<PathBuf> {
    let names = std::fs::read_dir(state.join("journal")).expect("a directory");
    let mut paths: Vec<PathBuf> = names.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|it| it == "segment"));
    paths.sort();
    paths
}

pub(super) fn used_files(state: &Path) -> Vec<PathBuf> {
    let mut paths = segment_files(state);
    paths.retain(|path| std::fs::read(path).expect("readable")[..HEADER_BYTES] != [0; HEADER_BYTES]);
    paths
}

#[test]
fn what_is_durable_is_there_after_reopening() {
    let state = tempfile::tempdir().expect("a directory");
    let mut all = Vec::new();
    let mut store_id = None;
    for boot in 1..=4 {
        let (journal, opened) = Journal::open(state.path(), small(Arc::new(RealDisk))).expect("opens");
        assert_eq!(opened.boot_counter, boot);
        assert_eq!(opened.last_sequence, all.len() as u64);
        assert_eq!(*store_id.get_or_insert(opened.store_id), opened.store_id);
        assert_eq!(opened.damage, Vec::new());
        assert_eq!(entries(&journal, 0), all);
        for number in 0..40_u64 {
            let payload =
                format!("entry {number} of boot {boot} {}", "x".repeat(usize::try_from(number).expect("small") * 5));
            let sequence = append_durably(&journal, payload.as_bytes());
            assert_eq!(sequence, all.len() as u64 + 1);
            all.push((sequence, payload.into_bytes()));
        }
        assert_eq!(entries(&journal, 0), all);
        assert_eq!(entries(&journal, 30), all[29..]);
    }
}

#[test]
fn a_commit_is_one_write_and_one_flush() {
    let state = tempfile::tempdir().expect("a directory");
    let disk = Arc::new(FaultDisk::default());
    let (journal, _) =
        Journal::open(state.path(), JournalOptions { disk: disk.clone(), ..Default::default() }).expect("opens");
    until("preparing", || journal.space().borrow().ordinary_bytes > 0 && journal.shared.segments().prepared.len() == 3);
    let (syncs, before) = (disk.syncs.load(Ordering::SeqCst), journal.statistics());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut durable = journal.durable();
        for number in 0..500_u64 {
            let sequence = journal.append(number.to_le_bytes().to_vec(), Reserve::Ordinary).await.expect("appended");
            if number % 100 == 99 {
                durable.wait_for(|durable| durable.through >= sequence).await.expect("durable");
            }
        }
    });
    let after = journal.statistics();
    assert_eq!(after.entries - before.entries, 500);
    assert_eq!(after.commits - before.commits, after.flushes - before.flushes);
    assert_eq!(disk.syncs.load(Ordering::SeqCst) - syncs, after.commits - before.commits, "nothing else flushed");
    assert!(after.commits - before.commits < 500, "batched");
}

#[test]
fn a_failed_flush_is_final() {
    let state = tempfile::tempdir().expect("a directory");
    let disk = Arc::new(FaultDisk::default());
    let (journal, _) = Journal::open(state.path(), small(disk.clone())).expect("opens");
    let good = append_durably(&journal, b"good");
    until("preparing", || journal.shared.segments().prepared.len() == 3);
    disk.fail_sync.store(true, Ordering::SeqCst);
    let bad = append(&journal, b"never durable", Reserve::Ordinary).expect("queued");
    assert!(!journal.wait_durable(bad, DEADLINE));
    let durable = *journal.durable().borrow();
    assert_eq!((durable.through, durable.failed), (good, true));
    disk.fail_sync.store(false, Ordering::SeqCst);
    assert_eq!(append(&journal, b"later", Reserve::Safety), Err(AppendError::Stopped), "no second try");
    assert_eq!(journal.durable().borrow().through, good);
    drop(journal);
    let (journal, opened) = Journal::open(state.path(), small(Arc::new(RealDisk))).expect("opens");
    assert!(opened.last_sequence >= good && opened.damage.is_empty());
    assert_eq!(entries(&journal, 1)[0], (good, b"good".to_vec()));
}

#[test]
fn a_full_disk_leaves_the_reserve_to_safety_and_heals_by_itself() {
    let state = tempfile::tempdir().expect("a directory");
    let disk = Arc::new(FaultDisk::default());
    let (journal, _) = Journal::open(state.path(), small(disk.clone())).expect("opens");
    until("preparing", || journal.shared.segments().prepared.len() == 3);
    disk.full.store(true, Ordering::SeqCst);
    let payload = [7; 200];
    let mut last = 0;
    let refused = loop {
        match append(&journal, &payload, Reserve::Ordinary) {
            Ok(sequence) => last = sequence,
            Err(error) => break error,
        }
        assert!(last < 1_000, "a full disk refuses at last");
    };
    assert_eq!(refused, AppendError::Full);
    let space = *journal.space().borrow();
    assert!(space.full && space.reserve_bytes >= 8192, "{space:?}");
    let mut safety = 0;
    while let Ok(sequence) = append(&journal, &payload, Reserve::Safety) {
        (safety, last) = (safety + 1, sequence);
        assert!(safety < 1_000);
    }
    assert!(safety * 200 >= 4096, "the reserve took {safety} entries");
    assert!(journal.wait_durable(last, DEADLINE), "and made them durable");
    assert!(!journal.durable().borrow().failed, "a full disk is not a failed one");
    disk.full.store(false, Ordering::SeqCst);
    until("healing", || !journal.space().borrow().full && journal.space().borrow().ordinary_bytes > 0);
    let after = append_durably(&journal, &payload);
    assert_eq!(entries(&journal, 1).len() as u64, after);
}

#[test]
fn closing_with_a_full_disk_ends() {
    let state = tempfile::tempdir().expect("a directory");
    let disk = Arc::new(FaultDisk::default());
    let (journal, _) = Journal::open(state.path(), small(disk.clone())).expect("opens");
    disk.full.store(true, Ordering::SeqCst);
    while append(&journal, &[7; 300], Reserve::Safety).is_ok() {}
    drop(journal);
}

#[test]
fn retired_segments_serve_again_and_nothing_kept_is_lost() {
    let state = tempfile::tempdir().expect("a directory");
    let (journal, _) = Journal::open(state.path(), small(Arc::new(RealDisk))).expect("opens");
    let mut last = 0;
    for round in 0..60_u64 {
        for number in 0..20_u64 {
            last = append_durably(&journal, &[u8::try_from(number).expect("small"); 150]);
        }
        if round % 3 == 2 {
            journal.retire(last - 10, 0);
        }
    }
    let kept = entries(&journal, last - 9);
    assert_eq!(kept.len(), 10);
    until("sweeping", || segment_files(state.path()).len() <= 4 + 4 + 2);
    let statistics = journal.statistics();
    assert!(statistics.prepared_bytes < statistics.committed_bytes / 2, "reused, not filled anew: {statistics:?}");
    drop(journal);
    let (journal, opened) = Journal::open(state.path(), small(Arc::new(RealDisk))).expect("opens");
    assert_eq!((opened.last_sequence, opened.damage), (last, Vec::new()));
    assert_eq!(entries(&journal, last - 9), kept);
}

#[test]
fn a_writer_that_hangs_in_a_flush_is_late_and_an_idle_one_is_not() {
    let state = tempfile::tempdir().expect("a directory");
    let clock = Arc::new(ManualClock::at(0));
    let health = Health::new(clock.clone());
    let disk = FaultDisk::default();
    let hangs = Arc::clone(&disk.hangs);
    let options = JournalOptions { pulse: health.pulse("journal writer"), ..small(Arc::new(disk)) };
    let (journal, _) = Journal::open(state.path(), options).expect("opens");
    clock.advance(LATE * 2);
    until("an idle writer that turns", || health.late().is_empty());

    let hung = hangs.lock().expect("no panic");
    let sequence = append(&journal, b"entry", Reserve::Ordinary).expect("appended");
    // A turn on the way into the flush may come after one of these steps, not after all of them.
    until("a writer that is late", || {
        clock.advance(Duration::from_secs(1));
        health.late().iter().any(|(name, age)| *name == "journal writer" && *age > LATE * 10)
    });
    assert!(!journal.wait_durable(sequence, Duration::ZERO));
    drop(hung);
    assert!(journal.wait_durable(sequence, DEADLINE), "durable in time");
    until("a writer that turns again", || health.late().is_empty());
}

#[test]
fn retention_keeps_what_it_may() {
    let state = tempfile::tempdir().expect("a directory");
    let (journal, _) = Journal::open(state.path(), small(Arc::new(RealDisk))).expect("opens");
    let mut last = 0;
    for _ in 0..200 {
        last = append_durably(&journal, &[1; 150]);
    }
    journal.retire(last, 16 * 4096);
    let kept = entries(&journal, 1);
    assert!(kept.len() < 200 && kept.len() > 50, "{}", kept.len());
    assert_eq!(kept.last().map(|(sequence, _)| *sequence), Some(last));
}

#[test]
fn a_full_segment_without_a_prepared_one_does_not_keep_it_from_opening() {
    let state = tempfile::tempdir().expect("a directory");
    let (journal, _) = Journal::open(state.path(), small(Arc::new(RealDisk))).expect("opens");
    append_durably(&journal, b"first");
    drop(journal);
    // Starts fill the rest of the segment with their markers; then every prepared one is taken away.
    let first = used_files(state.path()).remove(0);
    for _ in 0..80 {
        for file in segment_files(state.path()).into_iter().filter(|file| *file != first) {
            std::fs::remove_file(file).expect("removed");
        }
        let (sender, opened) = std::sync::mpsc::channel();
        let path = state.path().to_owned();
        std::thread::spawn(move || {
            let opening = Journal::open(&path, small(Arc::new(RealDisk)));
            sender.send(opening.map(|(journal, _)| entries(&journal, 0)).map_err(|error| error.to_string()))
        });
        let entries = opened.recv_timeout(DEADLINE).expect("it opens in time").expect("opens");
        assert_eq!(entries, [(1, b"first".to_vec())]);
        if used_files(state.path()).len() > 1 {
            return;
        }
    }
    panic!("the segment never filled");
}

/// The real disk, with faults on demand.
#[derive(Debug, Default)]
pub(super) struct FaultDisk {
    pub(super) syncs: Arc<AtomicU64>,
    fail_sync: Arc<AtomicBool>,
    pub(super) full: Arc<AtomicBool>,
    /// Flushes do not return while this is locked.
    pub(super) hangs: Arc<Mutex<()>>,
}

#[derive(Debug)]
struct FaultFile {
    file: Box<dyn DiskFile>,
    syncs: Arc<AtomicU64>,
    fail_sync: Arc<AtomicBool>,
    pub(super) hangs: Arc<Mutex<()>>,
}

impl FaultDisk {
    fn wrap(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let (syncs, fail_sync, hangs) = (self.syncs.clone(), self.fail_sync.clone(), self.hangs.clone());
        Box::new(FaultFile { file, syncs, fail_sync, hangs })
    }
}

impl Disk for FaultDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        if self.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = RealDisk.create(path)?;
        // The note of progress is flushed by the preparing thread, whenever that gets to it.
        let is_note = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("progress"));
        Ok(if is_note { file } else { self.wrap(file) })
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.wrap(RealDisk.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_directory(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(path)
    }
}

impl DiskFile for FaultFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        drop(self.hangs.lock().expect("no panic"));
        self.syncs.fetch_add(1, Ordering::SeqCst);
        if self.fail_sync.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(nix::libc::EIO));
        }
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        self.file.sync_all()
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}

#[test]
fn what_was_journaled_since_an_entry_is_told_in_whole_segments() {
    let state = tempfile::tempdir().expect("a folder");
    let (journal, _) = Journal::open(state.path(), small(Arc::new(RealDisk))).expect("opens");
    for number in 0..60_u8 {
        append_durably(&journal, &[number; 400]);
    }
    let starts: Vec<u64> = journal.shared.segments().list.iter().map(|segment| segment.start.next).collect();
    assert!(starts.len() > 3, "{starts:?}");
    let segments = |count: usize| count as u64 * 4096;
    assert_eq!(journal.bytes_since(0), segments(starts.len()));
    assert_eq!(journal.bytes_since(starts[1] - 1), segments(starts.len() - 1));
    assert_eq!(journal.bytes_since(starts[1]), segments(starts.len() - 2), "that segment began with the entry itself");
    assert_eq!(journal.bytes_since(1_000), 0);
}

#[test]
fn only_a_full_disk_is_waited_for_at_the_start() {
    let failed = |kind: io::ErrorKind| OpenError::Io { attempted: "write", path: PathBuf::new(), source: kind.into() };
    assert!(failed(io::ErrorKind::StorageFull).is_full() && failed(io::ErrorKind::QuotaExceeded).is_full());
    assert!(!failed(io::ErrorKind::PermissionDenied).is_full());
}
