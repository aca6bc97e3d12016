//! A disk in memory under the journal that puts every operation, and every mark of the world around it, into one order.
//!
//! Owns what the running journal sees (the page cache, so to speak) and the record from which `image` rebuilds what a power
//! cut at any place would have left. A commit can be held at its flush, as a slow disk would: between the write and the
//! flush the world goes on. Never: loses anything by itself.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockbridge::journal::{Disk, DiskFile};

use super::image::Image;

/// Number of a file, whatever it is called.
pub(crate) type Inode = u64;

/// One change asked of the disk.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    /// A new, empty file.
    Create(String, Inode),
    /// Bytes at an offset.
    Write(Inode, usize, Arc<[u8]>),
    /// The file's bytes are durable.
    Sync(Inode),
    /// Another name, over whatever had it.
    Rename(String, String),
    /// A name is gone.
    Remove(String),
    /// The names are durable.
    SyncDirectory,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub(crate) enum Event<M> {
    /// At the disk.
    Disk(Operation),
    /// In the world.
    Mark(M),
}

#[derive(Debug)]
struct State<M> {
    names: BTreeMap<String, Inode>,
    files: BTreeMap<Inode, Vec<u8>>,
    next: Inode,
    record: Vec<Event<M>>,
    gate: Gate,
}

/// Where the journal's writer waits before a flush.
#[derive(Debug, Clone, Copy, Default)]
struct Gate {
    closed: bool,
    waiting: bool,
    permits: u64,
}

#[derive(Debug)]
struct Shared<M> {
    state: Mutex<State<M>>,
    changed: Condvar,
    /// Flushes are promised and not done.
    lies: bool,
}

/// The disk. Clones are the same disk.
#[derive(Debug)]
pub(crate) struct PowerDisk<M>(Arc<Shared<M>>);

impl<M> Clone for PowerDisk<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Name of the thread of the journal that commits.
const WRITER: &str = "journal";

impl<M: std::fmt::Debug + Send + 'static> PowerDisk<M> {
    /// A disk that holds `image`. `lies`: it says that it flushed, and did not; a checker must notice.
    pub(crate) fn new(image: &Image, lies: bool) -> Self {
        let mut state = State {
            names: BTreeMap::new(),
            files: BTreeMap::new(),
            next: 1,
            record: Vec::new(),
            gate: Gate::default(),
        };
        for (name, data) in &image.files {
            state.names.insert(name.clone(), state.next);
            state.files.insert(state.next, data.to_vec());
            state.next += 1;
        }
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), lies }))
    }

    fn state(&self) -> MutexGuard<'_, State<M>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a mark into the order.
    pub(crate) fn mark(&self, mark: M) {
        self.state().record.push(Event::Mark(mark));
    }

    /// How much has happened.
    pub(crate) fn length(&self) -> usize {
        self.state().record.len()
    }

    /// Everything that happened so far; the disk begins a new record.
    pub(crate) fn take_record(&self) -> Vec<Event<M>> {
        std::mem::take(&mut self.state().record)
    }

    /// What it holds now, flushed or not.
    pub(crate) fn image(&self) -> Image {
        let state = self.state();
        let data = |inode| Arc::new(state.files.get(inode).cloned().unwrap_or_default());
        Image { files: state.names.iter().map(|(name, inode)| (name.clone(), data(inode))).collect() }
    }

    /// From now on commits wait before their flush for a [`permit`](Self::permit).
    pub(crate) fn close_gate(&self) {
        self.state().gate.closed = true;
    }

    /// Lets everything through again.
    pub(crate) fn open_gate(&self) {
        self.state().gate.closed = false;
        self.0.changed.notify_all();
    }

    /// Lets one commit through.
    pub(crate) fn permit(&self) {
        self.state().gate.permits += 1;
        self.0.changed.notify_all();
    }

    /// Blocks until a commit waits at the gate or the gate is open; false after `deadline`.
    pub(crate) fn wait_at_gate(&self, deadline: Duration) -> bool {
        let waits = |state: &mut State<M>| state.gate.closed && !state.gate.waiting;
        let waited = self.0.changed.wait_timeout_while(self.state(), deadline, waits);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn pass_gate(&self) {
        if std::thread::current().name() != Some(WRITER) {
            return;
        }
        let mut state = self.state();
        state.gate.waiting = true;
        self.0.changed.notify_all();
        while state.gate.closed && state.gate.permits == 0 {
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.gate.waiting = false;
        state.gate.permits = state.gate.permits.saturating_sub(1);
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

/// The journal's directory is the only one; files are known by their names in it.
fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

impl<M: std::fmt::Debug + Send + 'static> Disk for PowerDisk<M> {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        let inode = state.next;
        state.next += 1;
        state.files.insert(inode, Vec::new());
        state.names.insert(name_of(path), inode);
        state.record.push(Event::Disk(Operation::Create(name_of(path), inode)));
        Ok(Box::new(PowerFile(self.clone(), inode)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let inode = *self.state().names.get(&name_of(path)).ok_or_else(missing)?;
        Ok(Box::new(PowerFile(self.clone(), inode)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.names.remove(&name_of(from)).ok_or_else(missing)?;
        state.names.insert(name_of(to), inode);
        state.record.push(Event::Disk(Operation::Rename(name_of(from), name_of(to))));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.names.remove(&name_of(path)).ok_or_else(missing)?;
        state.record.push(Event::Disk(Operation::Remove(name_of(path))));
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        // The directory above holds only the name of this one, which is there from the beginning.
        if path.ends_with("journal") {
            self.state().record.push(Event::Disk(Operation::SyncDirectory));
        }
        Ok(())
    }

    fn list(&self, _path: &Path) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

#[derive(Debug)]
struct PowerFile<M>(PowerDisk<M>, Inode);

impl<M: std::fmt::Debug + Send + 'static> DiskFile for PowerFile<M> {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.0.state();
        let data = state.files.get(&self.1).ok_or_else(missing)?;
        let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(data.len());
        let count = into.len().min(data.len() - begin);
        into[..count].copy_from_slice(&data[begin..begin + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.0.state();
        let begin = usize::try_from(offset).map_err(io::Error::other)?;
        let data = state.files.get_mut(&self.1).ok_or_else(missing)?;
        overwrite(data, begin, bytes);
        state.record.push(Event::Disk(Operation::Write(self.1, begin, bytes.into())));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.pass_gate();
        if !self.0.0.lies {
            self.0.state().record.push(Event::Disk(Operation::Sync(self.1)));
        }
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.state().files.get(&self.1).ok_or_else(missing)?.len() as u64)
    }
}

/// Writes into `data`, which grows when it must.
pub(crate) fn overwrite(data: &mut Vec<u8>, begin: usize, bytes: &[u8]) {
    data.resize(data.len().max(begin + bytes.len()), 0);
    data[begin..begin + bytes.len()].copy_from_slice(bytes);
}
