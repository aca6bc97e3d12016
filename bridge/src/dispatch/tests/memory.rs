//! The journal and the state in memory: a log that is durable at once or when told, and that fills up when told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use lockbridge_protocol::journal::ChainHash;
use tokio::sync::watch;

use crate::dispatch::{Log, Room, State};
use crate::journal::{AppendError, Durable, Reserve};
use crate::state::MemoryStore;
use crate::state::fold::{JournalFold, Pairs};
use crate::state::store::{Fold, Pair, Store, StoreError};

/// A log in memory. Durable at once, or when told.
#[derive(Debug)]
pub(super) struct TestLog {
    pub(super) entries: Mutex<Vec<Vec<u8>>>,
    durable: watch::Sender<Durable>,
    held: Mutex<bool>,
    room: Mutex<Room>,
    /// Not one entry more fits, reserve included.
    used_up: AtomicBool,
    /// Entries are neither taken nor refused.
    stuck: AtomicBool,
}

impl TestLog {
    pub(super) fn with(entries: Vec<Vec<u8>>) -> Arc<Self> {
        let through = entries.len() as u64;
        let durable = watch::Sender::new(Durable { through, chain_head: ChainHash([7; 32]), failed: false });
        Arc::new(Self {
            entries: Mutex::new(entries),
            durable,
            held: Mutex::new(false),
            room: Mutex::new(Room::Plenty),
            used_up: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
        })
    }

    pub(super) fn hold(&self) {
        *self.held.lock().expect("no panic") = true;
    }

    pub(super) fn release(&self) {
        *self.held.lock().expect("no panic") = false;
        let through = self.entries.lock().expect("no panic").len() as u64;
        self.durable.send_modify(|durable| durable.through = through);
    }

    /// The disk fills up, or is emptied.
    pub(super) fn set_room(&self, room: Room) {
        *self.room.lock().expect("no panic") = room;
    }

    pub(super) fn set_used_up(&self, used_up: bool) {
        self.used_up.store(used_up, Ordering::SeqCst);
    }

    pub(super) fn get_stuck(&self) {
        self.stuck.store(true, Ordering::SeqCst);
    }

    pub(super) fn fail(&self) {
        self.durable.send_modify(|durable| durable.failed = true);
    }
}

impl Log for TestLog {
    fn append(&self, payload: Vec<u8>, reserve: Reserve) -> BoxFuture<'_, Result<u64, AppendError>> {
        Box::pin(async move {
            if self.stuck.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            let full = self.room(0) >= Room::Full && reserve == Reserve::Ordinary;
            if full || self.used_up.load(Ordering::SeqCst) {
                return Err(AppendError::Full);
            }
            let mut entries = self.entries.lock().expect("no panic");
            entries.push(payload);
            let through = entries.len() as u64;
            if !*self.held.lock().expect("no panic") {
                self.durable.send_modify(|durable| durable.through = through);
            }
            Ok(through)
        })
    }

    fn durable(&self) -> watch::Receiver<Durable> {
        self.durable.subscribe()
    }

    fn room(&self, _: u64) -> Room {
        *self.room.lock().expect("no panic")
    }
}

/// The fold in memory.
#[derive(Debug, Clone, Default)]
pub(super) struct MemoryState(Arc<Mutex<MemoryStore>>);

impl Pairs for MemoryState {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.lock().expect("no panic").get(key)
    }

    fn pairs(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.0.lock().expect("no panic").scan(prefix, from, limit)
    }
}

impl State for MemoryState {
    fn apply(&mut self, sequence: u64, payload: &[u8]) -> Result<(), StoreError> {
        JournalFold.apply(&mut *self.0.lock().expect("no panic"), sequence, payload)
    }

    fn reader(&self) -> Arc<dyn Pairs + Send + Sync> {
        Arc::new(self.clone())
    }

    fn close(self: Box<Self>) {}
}
