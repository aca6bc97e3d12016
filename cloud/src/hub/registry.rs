//! Which bridge has which session: at most one each.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockbridge_protocol::proto::tunnel::Quarantine;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long an older session has to answer a ping before it counts as half-open (rule G8). Well within the 10 s that the
/// newer one waits for Welcome.
const CHALLENGE: Duration = Duration::from_secs(4);
/// Messages waiting for one session: it is asked little, and what does not fit may be lost.
const NOTICES: usize = 4;

/// What a session is told from outside.
#[derive(Debug)]
pub(super) enum Notice {
    /// Prove that the other end lives, by a ping; answered when the pong comes.
    Challenge(oneshot::Sender<()>),
    /// The hub stops.
    Drain { from_s: u32, to_s: u32 },
    /// The bridge was revoked.
    Revoked,
    /// The bridge's quarantine, as it holds now.
    Quarantine(Option<Quarantine>),
}

/// A session as others see it.
#[derive(Debug, Clone)]
pub(super) struct Live {
    id: u64,
    pub(super) boot_nonce: Vec<u8>,
    wake: Arc<Notify>,
    notices: mpsc::Sender<Notice>,
    cut: CancellationToken,
    told: Told,
}

/// The quarantine that a session has told its bridge.
type Told = Arc<Mutex<Option<Quarantine>>>;

impl Live {
    /// Whether the bridge behind this session answers a ping.
    pub(super) async fn answers(&self) -> bool {
        let (sender, answer) = oneshot::channel();
        if self.notices.try_send(Notice::Challenge(sender)).is_err() {
            return false;
        }
        matches!(timeout(CHALLENGE, answer).await, Ok(Ok(())))
    }

    pub(super) fn drain(&self, from_s: u32, to_s: u32) {
        if self.notices.try_send(Notice::Drain { from_s, to_s }).is_err() {
            self.cut();
        }
    }

    pub(super) fn revoked(&self) {
        if self.notices.try_send(Notice::Revoked).is_err() {
            self.cut();
        }
    }

    /// Tells the session its bridge's quarantine, unless it knows. What does not get through is told at the next look.
    pub(super) fn quarantine(&self, holds: Option<&Quarantine>) {
        let known = self.told.lock().unwrap_or_else(PoisonError::into_inner).as_ref() == holds;
        if !known && self.notices.try_send(Notice::Quarantine(holds.cloned())).is_err() {
            tracing::debug!("A session is busy; it is told of the quarantine later.");
        }
    }

    /// Ends the session without another word.
    pub(super) fn cut(&self) {
        self.cut.cancel();
    }
}

/// A session's own end of its entry; the entry goes with it.
#[derive(Debug)]
pub(super) struct Registration {
    bridge_id: String,
    id: u64,
    entries: Entries,
    pub(super) wake: Arc<Notify>,
    pub(super) notices: mpsc::Receiver<Notice>,
    pub(super) cut: CancellationToken,
    told: Told,
}

impl Registration {
    /// Notes what the bridge was told of its quarantine.
    pub(super) fn told(&self, holds: Option<&Quarantine>) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = holds.cloned();
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut entries = lock(&self.entries);
        if entries.get(&self.bridge_id).is_some_and(|live| live.id == self.id) {
            entries.remove(&self.bridge_id);
        }
    }
}

type Entries = Arc<Mutex<HashMap<String, Live>>>;

#[derive(Debug, Default)]
pub(super) struct Registry {
    entries: Entries,
    next: AtomicU64,
}

impl Registry {
    /// Enters a session for the bridge if it has none, or only `instead_of`. The one that stands in the way, otherwise.
    pub(super) fn claim(
        &self,
        bridge_id: &str,
        boot_nonce: &[u8],
        instead_of: Option<&Live>,
    ) -> Result<Registration, Live> {
        let mut entries = lock(&self.entries);
        if let Some(live) = entries.get(bridge_id)
            && instead_of.is_none_or(|old| old.id != live.id)
        {
            return Err(live.clone());
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, notices) = mpsc::channel(NOTICES);
        let (wake, cut) = (Arc::new(Notify::new()), CancellationToken::new());
        let told = Told::default();
        let live = Live {
            id,
            boot_nonce: boot_nonce.to_vec(),
            wake: Arc::clone(&wake),
            notices: sender,
            cut: cut.clone(),
            told: Arc::clone(&told),
        };
        entries.insert(bridge_id.to_owned(), live);
        let bridge_id = bridge_id.to_owned();
        Ok(Registration { bridge_id, id, entries: Arc::clone(&self.entries), wake, notices, cut, told })
    }

    pub(super) fn wake(&self, bridge_id: &str) {
        if let Some(live) = lock(&self.entries).get(bridge_id) {
            live.wake.notify_one();
        }
    }

    pub(super) fn is_live(&self, bridge_id: &str) -> bool {
        lock(&self.entries).contains_key(bridge_id)
    }

    pub(super) fn get(&self, bridge_id: &str) -> Option<Live> {
        lock(&self.entries).get(bridge_id).cloned()
    }

    /// Every session with the id of its bridge.
    pub(super) fn by_bridge(&self) -> Vec<(String, Live)> {
        lock(&self.entries).iter().map(|(bridge_id, live)| (bridge_id.clone(), live.clone())).collect()
    }

    pub(super) fn live(&self) -> Vec<Live> {
        lock(&self.entries).values().cloned().collect()
    }

    pub(super) fn count(&self) -> usize {
        lock(&self.entries).len()
    }
}

fn lock(entries: &Entries) -> MutexGuard<'_, HashMap<String, Live>> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_entry_a_bridge_and_the_replaced_one_does_not_remove_its_successor() {
        let registry = Registry::default();
        let first = registry.claim("bridge", b"one", None).expect("is free");
        let old = registry.claim("bridge", b"two", None).expect_err("is taken");
        assert_eq!(old.boot_nonce, b"one");
        let second = registry.claim("bridge", b"two", Some(&old)).expect("replaces the one it named");
        let newer = registry.claim("bridge", b"three", Some(&old)).expect_err("that one is already replaced");
        assert_eq!(newer.boot_nonce, b"two");
        drop(first);
        assert!(registry.is_live("bridge"));
        drop(second);
        assert!(!registry.is_live("bridge"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_lives_if_it_answers_in_time() {
        let registry = Registry::default();
        let mut session = registry.claim("bridge", b"one", None).expect("is free");
        let live = registry.get("bridge").expect("is there");
        assert!(!live.answers().await, "nobody reads the notices");
        let answering = tokio::spawn(async move {
            while let Some(notice) = session.notices.recv().await {
                if let Notice::Challenge(answer) = notice {
                    answer.send(()).ok();
                }
            }
        });
        assert!(live.answers().await);
        answering.abort();
    }
}
