//! Space, to the byte: what is taken in on a full disk finds its place, and what waits is bounded.

use std::sync::Arc;

use lockbridge_protocol::journal::{ChainHash, RECORD_OVERHEAD};

use super::tests::{DEADLINE, FaultDisk, small, until};
use super::*;

/// A journal whose disk takes no more files and whose flushes do not return until `release` is dropped.
fn hung(options: JournalOptions, disk: &FaultDisk, state: &Path) -> Journal {
    let (journal, _) = Journal::open(state, options).expect("opens");
    let target = journal.shared.reserve_segments() + 1;
    until("preparing", || journal.shared.segments().prepared.len() == target);
    disk.full.store(true, Ordering::SeqCst);
    journal
}

/// Appends entries of `bytes` until one is not taken at once.
fn fill(journal: &Journal, bytes: usize) -> (u64, Result<Option<u64>, AppendError>) {
    let mut last = 0;
    loop {
        match journal.try_append(&vec![7; bytes], Reserve::Safety) {
            Ok(Some(sequence)) => last = sequence,
            end => return (last, end),
        }
    }
}

#[test]
fn all_that_a_full_disk_takes_in_while_a_flush_hangs_finds_its_place() {
    for bytes in [20, 150, 333, 420, 480, 512] {
        let state = tempfile::tempdir().expect("a directory");
        let disk = Arc::new(FaultDisk::default());
        let hangs = Arc::clone(&disk.hangs);
        // A reserve of many segments: each of them may end in a gap that the next entry did not fit in.
        let journal = hung(
            JournalOptions { reserve_bytes: 24 * 4096, queue_bytes: 1 << 20, ..small(disk.clone()) },
            &disk,
            state.path(),
        );
        let flush = hangs.lock().expect("no panic");
        let (last, end) = fill(&journal, bytes);
        drop(flush);
        assert!(end == Ok(None) || end == Err(AppendError::Full), "{end:?}");
        assert!(journal.wait_durable(last, DEADLINE), "{bytes} bytes each: {last} entries taken in, not all durable");
    }
}

#[test]
fn what_waits_for_the_writer_is_bounded_to_the_byte() {
    let state = tempfile::tempdir().expect("a directory");
    let disk = Arc::new(FaultDisk::default());
    let hangs = Arc::clone(&disk.hangs);
    let record = 100 + RECORD_OVERHEAD;
    for (queue_bytes, fits) in [(record * 10, 10), (record * 10 + 1, 10), (record * 11 - 1, 10), (record * 11, 11)] {
        let journal = hung(JournalOptions { queue_bytes, ..small(disk.clone()) }, &disk, state.path());
        let flush = hangs.lock().expect("no panic");
        let before = journal.durable().borrow().through;
        let (last, end) = fill(&journal, 100);
        drop(flush);
        assert_eq!((last - before, end), (fits, Ok(None)), "a queue of {queue_bytes} bytes");
        assert!(journal.wait_durable(last, DEADLINE));
        disk.full.store(false, Ordering::SeqCst);
    }
}

#[test]
fn a_checkpoint_of_many_pieces_reads_back_and_a_shorter_one_does_not() {
    let state = tempfile::tempdir().expect("a directory");
    let disk = Arc::new(FaultDisk::default());
    let (journal, _) = Journal::open(state.path(), small(disk)).expect("opens");
    let items: Vec<(Vec<u8>, Vec<u8>)> =
        (0..900_u32).map(|number| (number.to_be_bytes().to_vec(), vec![number.to_le_bytes()[0]; 1000])).collect();
    let mut sink = journal.checkpoints().begin(1, 0, ChainHash::genesis(journal.store_id())).expect("begins");
    for (key, value) in &items {
        sink.item(key, value).expect("written");
        assert!(sink.buffer.len() < checkpoint::PIECE, "what is in memory is bounded");
        assert!(sink.offset == 0 || sink.offset >= checkpoint::PIECE as u64, "and written in pieces, not pair by pair");
    }
    let (_, bytes) = sink.finish().expect("finished");
    let path = names::checkpoint(&journal.shared.directory, 0);
    assert_eq!(std::fs::metadata(&path).expect("there").len(), bytes);
    let read = |journal: &Journal| {
        let mut found = Vec::new();
        let [file] = &journal.checkpoints().newest_first()[..] else { panic!("one checkpoint") };
        let end = file.read(|key, value| {
            found.push((key.to_vec(), value.to_vec()));
            Ok::<(), CheckpointFileError>(())
        });
        end.map(|()| found)
    };
    assert!(read(&journal).expect("whole") == items);
    let whole = std::fs::read(&path).expect("readable");
    for kept in [whole.len() - 1, whole.len() - 40, checkpoint::PIECE + 7, 300] {
        std::fs::write(&path, &whole[..kept]).expect("written");
        assert!(matches!(read(&journal), Err(CheckpointFileError::Content { .. })), "{kept} bytes of it");
    }
}

#[test]
fn a_checkpoint_that_finds_no_space_waits_and_a_failing_disk_ends_the_journal() {
    let state = tempfile::tempdir().expect("a directory");
    let disk = Arc::new(FaultDisk::default());
    let (journal, _) = Journal::open(state.path(), small(disk.clone())).expect("opens");
    let checkpoints = journal.checkpoints();
    let begin = || checkpoints.begin(1, 0, ChainHash::genesis(journal.store_id()));
    disk.full.store(true, Ordering::SeqCst);
    let Err(CheckpointFileError::Io { source, .. }) = begin() else { panic!("no space") };
    assert!(prepare::is_full(&source) && !journal.durable().borrow().failed, "it may be tried again");
    assert!(checkpoints.wait_durable(0, Duration::ZERO) && !checkpoints.wait_durable(1, Duration::ZERO));
    disk.full.store(false, Ordering::SeqCst);
    begin().expect("space").finish().expect("written");

    std::fs::rename(state.path().join("journal"), state.path().join("elsewhere")).expect("moved away");
    assert!(begin().is_err() && journal.durable().borrow().failed, "nothing is durable on such a disk (rule F3)");
}

#[test]
fn free_space_is_what_the_file_system_says() {
    let told = nix::sys::statvfs::statvfs("/tmp").expect("there");
    let free = RealDisk.free_bytes(Path::new("/tmp")).expect("told");
    let about = told.blocks_available() * told.fragment_size();
    assert!(free > 0 && free.abs_diff(about) < about / 4 + (1 << 30), "{free} against {about}");
    assert!(RealDisk.free_bytes(Path::new("/nowhere")).is_err());
    assert!(RealDisk.sync_directory(Path::new("/nowhere")).is_err());
}
