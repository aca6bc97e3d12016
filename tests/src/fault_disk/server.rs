//! FUSE on one side, the volume on the other. Nothing is cached by the kernel: times to live are zero and files are opened
//! for direct I/O, so that every call arrives here and arrives in order.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags, RenameFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite,
    Request, TimeOrNow, WriteFlags,
};
use nix::errno::Errno;
use nix::unistd::{getegid, geteuid};

use super::change::Entry;
use super::content::BLOCK;
use super::image::{Body, Image, ROOT};
use super::rule::Call;
use super::volume::{Volume, directory, file};

const NO_CACHE: Duration = Duration::ZERO;

/// One directory as it was when it was opened: names that go while it is read must not make others be skipped.
type Listing = Vec<(u64, FileType, OsString)>;

pub(super) struct Server {
    volume: Arc<Mutex<Volume>>,
    listings: Mutex<BTreeMap<u64, Listing>>,
    next_handle: AtomicU64,
}

impl Server {
    pub(super) fn new(volume: Arc<Mutex<Volume>>) -> Self {
        Self { volume, listings: Mutex::default(), next_handle: AtomicU64::new(1) }
    }

    fn volume(&self) -> MutexGuard<'_, Volume> {
        self.volume.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listings(&self) -> MutexGuard<'_, BTreeMap<u64, Listing>> {
        self.listings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn made(&self, request: &Request, parent: u64, name: &OsStr, node: super::image::Node) -> Result<FileAttr, Errno> {
        let call = if matches!(node.body, Body::File(_)) { Call::Create } else { Call::MakeDirectory };
        let mut volume = self.volume();
        let number = volume.operate(request.pid(), call, (parent, Some(name)), 0, |volume, _| {
            let number = volume.make(parent, name, node)?;
            if call == Call::Create {
                volume.opened(number);
            }
            Ok(number)
        })?;
        attributes(volume.look()?, number)
    }

    fn listing(&self, number: u64) -> Result<Listing, Errno> {
        let volume = self.volume();
        let image = volume.look()?;
        let dots = [(number, FileType::Directory, ".".into()), (ROOT, FileType::Directory, "..".into())];
        let entries = image.entries(number)?.iter().map(|(name, child)| {
            let kind = if image.content(*child).is_ok() { FileType::RegularFile } else { FileType::Directory };
            (*child, kind, name.clone())
        });
        Ok(dots.into_iter().chain(entries).collect())
    }
}

fn attributes(image: &Image, number: u64) -> Result<FileAttr, Errno> {
    let node = image.node(number)?;
    let (kind, size, blocks, nlink) = match &node.body {
        Body::File(content) => (
            FileType::RegularFile,
            content.length(),
            content.allocated() * (BLOCK as u64 / 512),
            image.names_of(number),
        ),
        Body::Directory(_) => (FileType::Directory, 0, 0, 2),
    };
    // Times are not kept.
    let time = SystemTime::UNIX_EPOCH;
    Ok(FileAttr {
        ino: INodeNo(number),
        size,
        blocks,
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind,
        perm: node.permissions,
        nlink,
        uid: geteuid().as_raw(),
        gid: getegid().as_raw(),
        rdev: 0,
        blksize: u32::try_from(BLOCK).unwrap_or(512),
        flags: 0,
    })
}

fn permissions(mode: u32, umask: u32) -> u16 {
    u16::try_from(mode & !umask & 0o7777).unwrap_or(0o600)
}

fn errno(errno: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(errno as i32)
}

macro_rules! answer {
    ($reply:expr, $result:expr, |$value:pat_param| $then:expr) => {
        match $result {
            Ok($value) => $then,
            Err(error) => $reply.error(errno(error)),
        }
    };
}

impl Filesystem for Server {
    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let volume = self.volume();
        let found = volume.look().and_then(|image| attributes(image, image.child(parent.0, name)?));
        answer!(reply, found, |found| reply.entry(&NO_CACHE, &found, Generation(0)));
    }

    fn getattr(&self, _request: &Request, node: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        let volume = self.volume();
        let found = volume.look().and_then(|image| attributes(image, node.0));
        answer!(reply, found, |found| reply.attr(&NO_CACHE, &found));
    }

    fn setattr(
        &self,
        request: &Request,
        node: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut volume = self.volume();
        let mut set = || {
            volume.look()?;
            if let Some(mode) = mode {
                volume.set_permissions(node.0, permissions(mode, 0))?;
            }
            if let Some(size) = size {
                volume.operate(request.pid(), Call::SetLength, (node.0, None), 0, |volume, _| {
                    volume.set_length(node.0, size)
                })?;
            }
            attributes(volume.look()?, node.0)
        };
        answer!(reply, set(), |found| reply.attr(&NO_CACHE, &found));
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let created = self.made(request, parent.0, name, directory(permissions(mode, umask)));
        answer!(reply, created, |found| reply.entry(&NO_CACHE, &found, Generation(0)));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let created = self.made(request, parent.0, name, file(permissions(mode, umask)));
        answer!(reply, created, |found| {
            reply.created(&NO_CACHE, &found, Generation(0), FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
        });
    }

    fn link(&self, request: &Request, node: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut volume = self.volume();
        let place = (parent.0, Some(name));
        let linked = volume
            .operate(request.pid(), Call::Link, place, 0, |volume, _| volume.link(node.0, parent.0, name))
            .and_then(|()| attributes(volume.look()?, node.0));
        answer!(reply, linked, |found| reply.entry(&NO_CACHE, &found, Generation(0)));
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed = self
            .volume()
            .operate(request.pid(), Call::Remove, (parent.0, Some(name)), 0, |volume, _| volume.remove(parent.0, name));
        answer!(reply, removed, |()| reply.ok());
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let place = (parent.0, Some(name));
        let removed = self
            .volume()
            .operate(request.pid(), Call::RemoveDirectory, place, 0, |volume, _| volume.remove(parent.0, name));
        answer!(reply, removed, |()| reply.ok());
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(fuser::Errno::EINVAL);
        }
        let from = Entry { directory: parent.0, name: name.to_owned() };
        let to = Entry { directory: new_parent.0, name: new_name.to_owned() };
        let renamed = self
            .volume()
            .operate(request.pid(), Call::Rename, (parent.0, Some(name)), 0, |volume, _| volume.rename(from, to));
        answer!(reply, renamed, |()| reply.ok());
    }

    fn open(&self, _request: &Request, node: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let mut volume = self.volume();
        let found = volume.look().and_then(|image| image.content(node.0).map(drop));
        answer!(reply, found, |()| {
            volume.opened(node.0);
            reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
        });
    }

    fn release(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.volume().closed(node.0);
        reply.ok();
    }

    fn read(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let size = usize::try_from(size).unwrap_or(BLOCK);
        let read = self.volume().look().and_then(|image| Ok(image.content(node.0)?.read(offset, size)));
        answer!(reply, read, |bytes| reply.data(&bytes));
    }

    fn write(
        &self,
        request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        offset: u64,
        bytes: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.volume().operate(request.pid(), Call::Write, (node.0, None), bytes.len(), |volume, most| {
            volume.write(node.0, offset, &bytes[..most])
        });
        answer!(reply, written, |count| reply.written(u32::try_from(count).unwrap_or(u32::MAX)));
    }

    fn flush(&self, _request: &Request, _node: INodeNo, _handle: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        // A close makes nothing durable.
        reply.ok();
    }

    fn fsync(&self, request: &Request, node: INodeNo, _handle: FileHandle, _data_only: bool, reply: ReplyEmpty) {
        let synced = self.volume().operate(request.pid(), Call::Sync, (node.0, None), 0, |volume, _| {
            volume.sync(node.0);
            Ok(())
        });
        answer!(reply, synced, |()| reply.ok());
    }

    fn opendir(&self, _request: &Request, node: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        answer!(reply, self.listing(node.0), |listing| {
            let handle = self.next_handle.fetch_add(1, Ordering::Relaxed);
            self.listings().insert(handle, listing);
            reply.opened(FileHandle(handle), FopenFlags::empty());
        });
    }

    fn readdir(&self, _request: &Request, _node: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listings = self.listings();
        let rest = listings.get(&handle.0).into_iter().flatten().zip(1..);
        for ((number, kind, name), next) in rest.skip(usize::try_from(offset).unwrap_or(usize::MAX)) {
            if reply.add(INodeNo(*number), next, *kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _request: &Request, _node: INodeNo, handle: FileHandle, _flags: OpenFlags, reply: ReplyEmpty) {
        self.listings().remove(&handle.0);
        reply.ok();
    }

    fn fsyncdir(&self, request: &Request, node: INodeNo, _handle: FileHandle, _data_only: bool, reply: ReplyEmpty) {
        let synced = self.volume().operate(request.pid(), Call::SyncDirectory, (node.0, None), 0, |volume, _| {
            volume.sync_directory(node.0);
            Ok(())
        });
        answer!(reply, synced, |()| reply.ok());
    }

    fn statfs(&self, _request: &Request, _node: INodeNo, reply: ReplyStatfs) {
        let (all, free) = self.volume().space();
        let block = u32::try_from(BLOCK).unwrap_or(512);
        reply.statfs(all, free, free, 1 << 20, 1 << 20, block, 255, block);
    }
}
