//! The mounted disk: what programs see, what is durable, what is in flight, and what is done to which call.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::rngs::StdRng;
use tokio::sync::watch;

use super::change::{Change, Entry, Tear};
use super::content::{BLOCK, Content};
use super::image::{Body, Image, Node, ROOT};
use super::rule::{Call, Effect, Operation, Rule};

/// Bytes in flight; beyond them the oldest go to the disk by themselves, as a kernel writes back.
const IN_FLIGHT_BYTES: usize = 32 * 1024 * 1024;
/// Operations that one recording holds; what comes afterwards is counted and not written down.
const RECORDED: usize = 200_000;

#[derive(Debug)]
pub(super) struct Volume {
    /// As programs see it.
    current: Image,
    /// As it is on the disk.
    durable: Image,
    /// The way from one to the other, oldest first.
    pending: Vec<Change>,
    pending_bytes: usize,
    /// Where each node is, relative to the root.
    paths: BTreeMap<u64, PathBuf>,
    /// How often each file is open.
    open: BTreeMap<u64, u64>,
    next: u64,
    capacity: u64,
    /// Blocks taken, of removed files that are still open too.
    used: u64,
    operations: u64,
    recording: Option<Vec<Operation>>,
    rules: Vec<Rule>,
    /// The power failed.
    frozen: bool,
    /// The sync being carried out is only said to be.
    lying: bool,
    crashed: watch::Sender<Option<Operation>>,
}

impl Volume {
    pub(super) fn new(image: Image, capacity_bytes: u64) -> Self {
        let mut volume = Self {
            used: image.allocated(),
            next: image.next_number(),
            durable: image.clone(),
            current: image,
            pending: Vec::new(),
            pending_bytes: 0,
            paths: BTreeMap::new(),
            open: BTreeMap::new(),
            capacity: capacity_bytes / BLOCK as u64,
            operations: 0,
            recording: None,
            rules: Vec::new(),
            frozen: false,
            lying: false,
            crashed: watch::Sender::new(None),
        };
        volume.find_paths();
        volume
    }

    fn find_paths(&mut self) {
        let mut ahead = vec![(ROOT, PathBuf::new())];
        while let Some((number, path)) = ahead.pop() {
            if let Ok(entries) = self.current.entries(number) {
                ahead.extend(entries.iter().map(|(name, child)| (*child, path.join(name))));
            }
            self.paths.insert(number, path);
        }
    }

    pub(super) fn crashed(&self) -> watch::Receiver<Option<Operation>> {
        self.crashed.subscribe()
    }

    pub(super) fn add_rule(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    pub(super) fn clear_rules(&mut self) {
        self.rules.clear();
        self.crashed.send_replace(None);
    }

    pub(super) fn record(&mut self) {
        self.recording = Some(Vec::new());
    }

    pub(super) fn take_recorded(&mut self) -> Vec<Operation> {
        self.recording.take().unwrap_or_default()
    }

    pub(super) fn set_capacity(&mut self, bytes: u64) {
        self.capacity = bytes / BLOCK as u64;
    }

    /// Blocks: capacity, free.
    pub(super) fn space(&self) -> (u64, u64) {
        (self.capacity.max(self.used), self.capacity.saturating_sub(self.used))
    }

    /// Everything that was written, synced or not.
    pub(super) fn written(&self) -> Image {
        let mut image = self.current.clone();
        image.sweep(&BTreeSet::new());
        image
    }

    pub(super) fn torn(&self, tear: Tear, random: &mut StdRng) -> Image {
        tear.leave(&self.durable, &self.pending, random)
    }

    pub(super) fn freeze(&mut self) {
        self.frozen = true;
    }

    /// The image, for calls that only look.
    pub(super) fn look(&self) -> Result<&Image, Errno> {
        if self.frozen { Err(Errno::EIO) } else { Ok(&self.current) }
    }

    pub(super) fn path(&self, number: u64) -> &Path {
        self.paths.get(&number).map_or_else(|| Path::new(""), PathBuf::as_path)
    }

    /// Counts a call on `node` or on `name` in it, does to it what is due, or carries it out: `act` gets the most bytes
    /// that it may take.
    pub(super) fn operate<T>(
        &mut self,
        caller: u32,
        call: Call,
        (node, name): (u64, Option<&OsStr>),
        bytes: usize,
        act: impl FnOnce(&mut Self, usize) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        if self.frozen {
            return Err(Errno::EIO);
        }
        self.operations += 1;
        let path = name.map_or_else(|| self.path(node).to_owned(), |name| self.path(node).join(name));
        let operation = Operation { number: self.operations, call, path, bytes };
        if let Some(recording) = self.recording.as_mut().filter(|recording| recording.len() < RECORDED) {
            recording.push(operation.clone());
        }
        let mut due = None;
        for rule in &mut self.rules {
            if rule.meets(&operation) {
                due = due.or(Some(rule.effect));
            }
        }
        match due {
            None => act(self, bytes),
            Some(Effect::Short(most)) => act(self, bytes.min(most)),
            Some(Effect::Lie) => {
                self.lying = true;
                let told = act(self, bytes);
                self.lying = false;
                told
            }
            Some(Effect::NoSpace) => Err(Errno::ENOSPC),
            Some(Effect::InputOutput) => {
                if call == Call::Sync {
                    self.pending.retain(|change| change.file() != Some(node));
                }
                Err(Errno::EIO)
            }
            Some(effect @ (Effect::KillBefore | Effect::KillAfter | Effect::PowerCut)) => {
                // A sync in flight when the power fails has not answered: whatever it was to flush is in flight as well.
                let carried_out = match effect {
                    Effect::KillBefore => false,
                    Effect::PowerCut => !matches!(call, Call::Sync | Call::SyncDirectory),
                    _ => true,
                };
                if carried_out {
                    // Nobody hears how it went.
                    drop(act(self, bytes));
                }
                self.frozen |= effect == Effect::PowerCut;
                end(caller);
                self.crashed.send_replace(Some(operation));
                Err(Errno::EIO)
            }
        }
    }

    fn change(&mut self, change: Change) {
        self.pending_bytes += change.weight();
        self.pending.push(change);
        let mut excess = 0;
        while self.pending_bytes > IN_FLIGHT_BYTES
            && let Some(oldest) = self.pending.get(excess)
        {
            self.pending_bytes -= oldest.weight();
            oldest.apply(&mut self.durable);
            excess += 1;
        }
        self.pending.drain(..excess);
    }

    /// Makes those of the changes in flight durable.
    fn flush(&mut self, which: impl Fn(&Change) -> bool) {
        if self.lying {
            return;
        }
        let durable = &mut self.durable;
        self.pending.retain(|change| {
            let now = which(change);
            if now {
                change.apply(durable);
            }
            !now
        });
        self.pending_bytes = self.pending.iter().map(Change::weight).sum();
    }

    pub(super) fn sync(&mut self, node: u64) {
        self.flush(|change| change.file() == Some(node));
    }

    pub(super) fn sync_directory(&mut self, directory: u64) {
        self.flush(|change| change.touches(directory));
        // Nodes without a name on the disk, now or later, are not needed any more.
        let mut also: BTreeSet<u64> = self.pending.iter().map(Change::node).collect();
        also.extend(self.paths.keys().chain(self.open.keys()));
        self.durable.sweep(&also);
    }

    pub(super) fn make(&mut self, directory: u64, name: &OsStr, node: Node) -> Result<u64, Errno> {
        if self.current.entries(directory)?.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        let number = self.next;
        self.next += 1;
        let path = self.path(directory).join(name);
        self.paths.insert(number, path);
        self.current.add(number, node.clone());
        self.durable.add(number, node);
        self.current.entries_mut(directory)?.insert(name.to_owned(), number);
        self.change(Change::Name { entry: Entry { directory, name: name.to_owned() }, node: number });
        Ok(number)
    }

    pub(super) fn set_permissions(&mut self, node: u64, permissions: u16) -> Result<(), Errno> {
        self.current.node_mut(node)?.permissions = permissions;
        // Journaled with the node on real systems; nothing here depends on losing it.
        if let Ok(node) = self.durable.node_mut(node) {
            node.permissions = permissions;
        }
        Ok(())
    }

    /// Takes as much as fits; gives how much that was.
    pub(super) fn write(&mut self, node: u64, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let free = self.capacity.saturating_sub(self.used);
        let content = self.current.content_mut(node)?;
        let mut take = bytes.len();
        while take > 0 && content.missing(offset, take) > free {
            // One block less; the border is the file's, not the write's.
            let end = offset + take as u64 - 1;
            take = usize::try_from((end - end % BLOCK as u64).saturating_sub(offset)).unwrap_or(0);
        }
        if take == 0 && !bytes.is_empty() {
            return Err(Errno::ENOSPC);
        }
        self.used += content.missing(offset, take);
        content.write(offset, &bytes[..take]);
        self.change(Change::Write { node, offset, bytes: bytes[..take].to_vec() });
        Ok(take)
    }

    pub(super) fn set_length(&mut self, node: u64, length: u64) -> Result<(), Errno> {
        let content = self.current.content_mut(node)?;
        let before = content.allocated();
        content.set_length(length);
        self.used -= before - content.allocated();
        self.change(Change::Length { node, length });
        Ok(())
    }

    pub(super) fn rename(&mut self, from: Entry, to: Entry) -> Result<(), Errno> {
        let node = self.current.child(from.directory, &from.name)?;
        let replaced = self.current.child(to.directory, &to.name).ok();
        if replaced == Some(node) {
            return Ok(());
        }
        if let Some(replaced) = replaced
            && self.current.entries(replaced).is_ok_and(|entries| !entries.is_empty())
        {
            return Err(Errno::ENOTEMPTY);
        }
        self.current.entries_mut(from.directory)?.remove(&from.name);
        self.current.entries_mut(to.directory)?.insert(to.name.clone(), node);
        self.change(Change::Rename { from, to, node });
        self.find_paths();
        if let Some(replaced) = replaced {
            self.unnamed(replaced);
        }
        Ok(())
    }

    /// A second name for a file.
    pub(super) fn link(&mut self, node: u64, directory: u64, name: &OsStr) -> Result<(), Errno> {
        self.current.content(node)?;
        let entries = self.current.entries_mut(directory)?;
        if entries.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        entries.insert(name.to_owned(), node);
        self.change(Change::Name { entry: Entry { directory, name: name.to_owned() }, node });
        Ok(())
    }

    pub(super) fn remove(&mut self, directory: u64, name: &OsStr) -> Result<(), Errno> {
        let node = self.current.child(directory, name)?;
        match self.current.entries(node) {
            Ok(entries) if !entries.is_empty() => return Err(Errno::ENOTEMPTY),
            _ => {}
        }
        self.current.entries_mut(directory)?.remove(name);
        self.change(Change::Forget { entry: Entry { directory, name: name.to_owned() }, node });
        self.unnamed(node);
        Ok(())
    }

    pub(super) fn opened(&mut self, node: u64) {
        *self.open.entry(node).or_default() += 1;
    }

    pub(super) fn closed(&mut self, node: u64) {
        if let Some(count) = self.open.get_mut(&node) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&node);
                if !self.paths.contains_key(&node) {
                    self.unnamed(node);
                }
            }
        }
    }

    /// The node lost a name. It goes when that was the last one and nobody has it open.
    fn unnamed(&mut self, node: u64) {
        self.paths.remove(&node);
        if self.current.names_of(node) > 0 {
            self.find_paths();
            return;
        }
        if !self.open.contains_key(&node)
            && let Some(Node { body: Body::File(content), .. }) = self.current.remove(node)
        {
            self.used -= content.allocated();
        }
    }
}

/// A new, empty file.
pub(super) fn file(permissions: u16) -> Node {
    Node { permissions, body: Body::File(Content::default()) }
}

/// A new, empty directory.
pub(super) fn directory(permissions: u16) -> Node {
    Node { permissions, body: Body::Directory(BTreeMap::new()) }
}

/// `SIGKILL` to the process that a thread belongs to, unless it is our own: tests look at the disk, too.
fn end(thread: u32) {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let group = status.lines().find_map(|line| line.strip_prefix("Tgid:")).and_then(|group| group.trim().parse().ok());
    if let Some(group) = group.filter(|group| u32::try_from(*group) != Ok(std::process::id())) {
        // A process that is gone already is what was wanted.
        let _gone = kill(Pid::from_raw(group), Signal::SIGKILL);
    }
}
