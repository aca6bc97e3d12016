//! The engine's task: one owner of the state, one loop, one way for every change.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::journal::{Entry, IdentityInUse, Machine, Started, Stopped, entry};
use lockbridge_protocol::proto::tunnel::{Quarantine, Report};
use lockbridge_protocol::signed::command::{Audience, AuthorityKeys};
use lockbridge_protocol::signed::report::SigningFailed;
use prost::Message;
use thiserror::Error;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::audit::Credentials;
use super::effect::Ended;
use super::front_desk::{Jobs, Stays};
use super::log::Log;
use super::queue::{LaneKey, Queue, Slot};
use super::work::Work;
use super::{ControlError, EngineRequest, TunnelFeed};
use crate::clock::Clock;
use crate::command::policy::Policy;
use crate::config::LockSystemConfig;
use crate::grant::Catalog;
use crate::health::{Health, Pulse, ReasonCode, Scope};
use crate::history::{self, History, Note};
use crate::journal::{AppendError, Durable, Reserve};
use crate::seal::{SealError, Sealer};
use crate::state::fold::{Meta, Pairs, View};
use crate::state::store::StoreError;
use crate::system::{LockSystem, OperationError};

/// Between two tries to write what must be written to a full disk.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// Why the engine ended by itself: the process must end too (exit code 74), and the next start recovers.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The journal takes no more entries.
    #[error("cannot write to the journal")]
    Append(#[from] AppendError),
    /// The journal could not make an entry durable.
    #[error("the journal could not be written to disk; nothing since is promised")]
    DiskFailed,
    /// The working set failed.
    #[error("cannot use the working set")]
    Store(#[from] StoreError),
    /// The random source failed.
    #[error("cannot seal an entry")]
    Seal(#[from] SealError),
    /// The random source failed.
    #[error("cannot sign an audit checkpoint")]
    Sign(#[from] SigningFailed),
}

/// The folded state as the engine owns it.
pub trait State: Pairs + fmt::Debug + Send {
    /// Folds the entry that the log gave `sequence`.
    fn apply(&mut self, sequence: u64, payload: &[u8]) -> Result<(), StoreError>;
    /// A way to read from other tasks.
    fn reader(&self) -> Arc<dyn Pairs + Send + Sync>;
    /// Closes in order, so that the next start need not doubt it. Blocks on the disk; all readers are gone by then.
    fn close(self: Box<Self>);
}

/// Who this bridge is to the cloud and to its journal.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Made with the journal.
    pub store_id: [u8; 16],
    /// Starts of the journal, this one included.
    pub boot_counter: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub kernel_boot_id: String,
    /// The machine that this process runs on, as hashes.
    pub machine: Machine,
    /// Whom commands must be for.
    pub audience: Audience,
    /// Who may sign them.
    pub authority: AuthorityKeys,
}

/// One lock system in the engine.
#[derive(Debug)]
pub(super) struct System {
    pub(super) config: LockSystemConfig,
    pub(super) adapter: Arc<dyn LockSystem>,
    pub(super) catalog: Catalog,
    /// `None`: not probed yet.
    pub(super) reachable: Option<bool>,
    /// Why, when it is not known to be reachable; for people.
    pub(super) unreachable: String,
    pub(super) leases: BTreeSet<String>,
    /// Since when the last job at an encoder is over: its card may still lie there.
    pub(super) freed: BTreeMap<String, Duration>,
    /// Rooms that work under way is about.
    pub(super) rooms_held: BTreeSet<String>,
    pub(super) running: usize,
    pub(super) probe_now: Arc<Notify>,
    pub(super) scan_now: Arc<Notify>,
    /// Makes event reading begin again from the stored cursor.
    pub(super) reread_events: Arc<Notify>,
    /// A batch of events was not taken: all that follow are refused until reading begins again before it.
    pub(super) events_refused: bool,
    pub(super) scan_waiters: Vec<oneshot::Sender<Result<(), OperationError>>>,
    pub(super) scan: super::intake::Scan,
    /// Doors and groups are known: a complete scan came in, now or before.
    pub(super) inventoried: bool,
}

/// A command that is under way.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) lane: LaneKey,
    pub(super) encoder: Option<String>,
    /// Rooms that nothing else may be about meanwhile.
    pub(super) rooms: BTreeSet<String>,
    /// `None`: its holder is being observed, nothing has begun.
    pub(super) work: Option<Box<Work>>,
}

/// A doubt, or a question about a lost attempt.
#[derive(Debug)]
pub(super) struct Question {
    /// Since boot.
    pub(super) next: Duration,
    pub(super) asked: u32,
    pub(super) under_way: bool,
    /// Class Q, before it is a doubt: the answer decides whether the command may run again.
    pub(super) asking: bool,
    /// The encoder's own waiting is over by then, since boot.
    pub(super) settled_at: Duration,
}

/// What is held back until an entry is durable.
pub(super) enum Act {
    /// Begin the effect of an attempt.
    Perform(CommandId, u32),
    /// Show the hub how far decisions and reports are durable.
    Show(u64, u64),
    /// Tell the hub of the quarantine, and how far quarantines were left.
    ShowQuarantine(Option<Quarantine>, u64),
    /// Answer somebody.
    Answer(Box<dyn FnOnce() + Send>),
    /// Tell the history.
    Tell(Note),
}

pub(super) struct Engine {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) health: Health,
    pub(super) history: History,
    pub(super) sealer: Sealer,
    pub(super) log: Arc<dyn Log>,
    pub(super) state: Box<dyn State>,
    pub(super) identity: Identity,
    pub(super) credentials: Arc<dyn Credentials>,
    /// As last written down.
    pub(super) identity_noted: Option<IdentityInUse>,
    pub(super) systems: BTreeMap<String, System>,
    pub(super) policy_file: PathBuf,
    pub(super) policy: Option<Policy>,
    pub(super) disk_reserve_bytes: u64,
    pub(super) inventory_at: watch::Sender<BTreeMap<String, i64>>,
    /// As of the last entry folded.
    pub(super) meta: Meta,
    pub(super) last_sequence: u64,
    pub(super) durable: Durable,
    pub(super) held: VecDeque<(u64, Act)>,
    pub(super) queue: Queue,
    pub(super) running: HashMap<CommandId, Running>,
    pub(super) questions: HashMap<CommandId, Question>,
    pub(super) effects: JoinSet<Ended>,
    pub(super) desk: HashMap<CommandId, oneshot::Sender<Result<Report, ControlError>>>,
    /// Keys of the front desk by holder, and its orders that are being carried out.
    pub(super) stays: Stays,
    pub(super) jobs: Jobs,
    pub(super) session: super::session::Credits,
    pub(super) loss: super::loss::Loss,
    pub(super) feed: watch::Sender<TunnelFeed>,
    pub(super) draining: bool,
    pub(super) drained: Vec<oneshot::Sender<()>>,
    /// Entries since the last reported head of the chain, and when that was.
    pub(super) unreported: u64,
    pub(super) reported_at: Duration,
    pub(super) clock_seen: (i64, Duration),
    pub(super) shutdown: CancellationToken,
    /// Turned by the loop, and by every entry that is given to the journal.
    pub(super) pulse: Pulse,
}

impl Engine {
    /// Runs until `shutdown`, or until the disk fails, and gives the state back.
    pub(super) async fn run(
        mut self,
        mut requests: mpsc::Receiver<EngineRequest>,
    ) -> (Result<(), EngineError>, Box<dyn State>) {
        let result = self.serve(&mut requests).await;
        (result, self.state)
    }

    async fn serve(&mut self, requests: &mut mpsc::Receiver<EngineRequest>) -> Result<(), EngineError> {
        let mut durable = self.log.durable();
        self.durable = *durable.borrow_and_update();
        self.recover().await?;
        let shutdown = self.shutdown.clone();
        let mut ticked = Instant::now();
        loop {
            self.begin_ready().await?;
            self.finish_drain().await?;
            self.show();
            // What was held when everything was durable already: no later commit may come to set it free.
            if self.held.front().is_some_and(|(sequence, _)| *sequence <= self.durable.through) {
                self.became_durable(self.durable).await?;
            }
            self.pulse.turn();
            let wake = self.next_wake(ticked);
            tokio::select! {
                biased;
                changed = durable.changed() => {
                    if changed.is_err() {
                        return Err(EngineError::DiskFailed);
                    }
                    let position = *durable.borrow_and_update();
                    self.became_durable(position).await?;
                }
                Some(ended) = self.effects.join_next(), if !self.effects.is_empty() => match ended {
                    Ok(ended) => self.effect_ended(ended).await?,
                    // A panic in an adapter (only with unwinding): recovery at the next start treats it like a crash.
                    Err(error) => tracing::error!(%error, "An effect's task ended without a result."),
                },
                () = shutdown.cancelled() => return self.stop(durable).await,
                // Before requests: a steady stream of them must not keep deadlines from being seen.
                () = tokio::time::sleep_until(wake) => {
                    ticked = Instant::now();
                    self.tick().await?;
                }
                Some(request) = requests.recv() => self.request(request).await?,
                // Only to be seen alive.
                () = self.pulse.rest() => {}
            }
        }
    }

    /// First entry of this process, then rule B5 for whatever was under way when the last one ended.
    async fn recover(&mut self) -> Result<(), EngineError> {
        self.meta = self.view().meta()?;
        // What was recovered is durable. A session that is prepared before `Started` is must not hear zeros: its Hello would
        // contradict the acknowledgements that are remembered.
        let (commands, reports) = (self.meta.deliveries_through, self.meta.reports_last);
        self.feed.send_modify(|feed| (feed.commands_durable_through, feed.reports_last) = (commands, reports));
        self.load_catalogs()?;
        let now = self.clock.since_boot();
        self.reported_at = now;
        self.clock_seen = (self.clock.wall_ms(), now);
        let started = Started {
            boot_counter: self.identity.boot_counter,
            kernel_boot_id: self.identity.kernel_boot_id.clone(),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            bridge_id: self.identity.audience.bridge_id.clone(),
            machine: Some(self.identity.machine.clone()),
        };
        self.append(entry::Body::Started(started), Reserve::Safety).await?;
        self.note_identity().await?;
        self.show_durable_state();
        self.recover_quarantine().await?;
        if let Err(error) = self.load_policy().await? {
            tracing::warn!(%error, "No valid policy: only revokes are allowed.");
        }
        self.recover_loss();
        let commands = self.view().commands()?;
        for (id, record) in &commands {
            self.queue.put(*id, Slot::new(record, now, None));
        }
        if self.meta.brake {
            self.health.raise(Scope::Bridge, ReasonCode::Brake, "set before the last start");
        }
        self.recover_stays()?;
        for (id, record) in commands {
            self.restarted(id, &record).await?;
        }
        let lanes: BTreeSet<LaneKey> = self.queue.iter().map(|(_, slot)| slot.lane.clone()).collect();
        for lane in lanes {
            self.refresh_lane(&lane)?;
        }
        Ok(())
    }

    /// Journal first, then the fold. What may only follow durability is held with the sequence given back.
    pub(super) async fn append(&mut self, body: entry::Body, reserve: Reserve) -> Result<u64, EngineError> {
        let counts = !matches!(
            body,
            entry::Body::ReportsAcknowledged(_) | entry::Body::Witnessed(_) | entry::Body::SessionOpened(_)
        ) && !matches!(&body, entry::Body::Reported(reported) if reported.kind == "audit_checkpoint");
        let entry = Entry { wall_ms: self.clock.wall_ms(), body: Some(body) };
        let known = |id: &CommandId| Some(history::Command::of(*id, &self.view().command(id).ok()??));
        let note = Note::of(&entry, known);
        let payload = entry.encode_to_vec();
        let sequence = self.written(payload.clone(), reserve).await?;
        self.state.apply(sequence, &payload)?;
        let before = (self.meta.deliveries_through, self.meta.reports_last);
        self.meta = self.view().meta()?;
        self.last_sequence = sequence;
        self.unreported += u64::from(counts);
        let after = (self.meta.deliveries_through, self.meta.reports_last);
        if before != after {
            self.held.push_back((sequence, Act::Show(after.0, after.1)));
        }
        self.held.extend(note.map(|note| (sequence, Act::Tell(note))));
        Ok(sequence)
    }

    /// What must not be refused waits for space, and with it everything else (rule D6): the session and health are kept by
    /// tasks of their own, and the file system is asked again every 10 s.
    async fn written(&mut self, payload: Vec<u8>, reserve: Reserve) -> Result<u64, EngineError> {
        loop {
            // Also while the disk is full: that is waited for, and a new start would only wait for the same.
            self.pulse.turn();
            let full = match self.log.append(payload.clone(), reserve).await {
                Err(full @ AppendError::Full) if reserve == Reserve::Safety => full,
                result => return Ok(result?),
            };
            let message = "the reserve of the journal is used up, too; everything waits for space";
            self.health.raise(Scope::Bridge, ReasonCode::Disk, message);
            tokio::select! {
                () = tokio::time::sleep(FULL_PAUSE) => {}
                () = self.shutdown.cancelled() => return Err(full.into()),
            }
        }
    }

    /// Does something once everything appended so far is durable.
    pub(super) fn when_durable(&mut self, act: Act) {
        self.held.push_back((self.last_sequence, act));
    }

    /// Answers once everything appended so far is durable.
    pub(super) fn answer<T: Send + 'static>(&mut self, done: oneshot::Sender<T>, value: T) {
        self.when_durable(Act::Answer(Box::new(move || {
            // Who asked may have gone.
            drop(done.send(value));
        })));
    }

    async fn became_durable(&mut self, position: Durable) -> Result<(), EngineError> {
        if position.failed {
            return Err(EngineError::DiskFailed);
        }
        self.durable = position;
        while self.held.front().is_some_and(|(sequence, _)| *sequence <= position.through) {
            let Some((_, act)) = self.held.pop_front() else { break };
            match act {
                Act::Perform(id, attempt) => self.perform(id, attempt).await?,
                Act::Show(commands, reports) => {
                    self.feed.send_if_modified(|feed| {
                        let changed = feed.commands_durable_through != commands || feed.reports_last != reports;
                        feed.commands_durable_through = commands;
                        feed.reports_last = reports;
                        changed
                    });
                }
                Act::ShowQuarantine(holds, left) => {
                    self.feed.send_modify(|feed| (feed.quarantine, feed.quarantine_left) = (holds, left));
                }
                Act::Answer(answer) => answer(),
                Act::Tell(note) => self.history.take(note, self.clock.wall_ms()),
            }
        }
        Ok(())
    }

    /// At the start everything in the journal is durable already.
    fn show_durable_state(&mut self) {
        let (commands, reports) = (self.meta.deliveries_through, self.meta.reports_last);
        self.when_durable(Act::Show(commands, reports));
    }

    /// Writes the last entry and waits for the disk, so that a clean stop leaves nothing open.
    async fn stop(&mut self, mut durable: watch::Receiver<Durable>) -> Result<(), EngineError> {
        self.effects.abort_all();
        let last = self.append(entry::Body::Stopped(Stopped {}), Reserve::Safety).await?;
        let reached = durable.wait_for(|position| position.failed || position.through >= last).await;
        let position = reached.map(|position| *position).map_err(|_| EngineError::DiskFailed)?;
        self.became_durable(position).await
    }

    pub(super) fn view(&self) -> View<'_, dyn State> {
        View::new(&*self.state)
    }

    /// Reads a live command anew and puts it where it now belongs.
    pub(super) fn sync(&mut self, id: &CommandId) -> Result<(), EngineError> {
        let record = self.view().command(id)?;
        let old = self.queue.get(id).cloned();
        let Some(lane) = old
            .as_ref()
            .map(|slot| slot.lane.clone())
            .or_else(|| record.as_ref().map(|record| (record.lock_system.clone(), record.lane.clone())))
        else {
            return Ok(());
        };
        if let Some(record) = record {
            let now = self.clock.since_boot();
            let received = old.as_ref().map_or(now, |slot| slot.received);
            let mut slot = Slot::new(&record, received, old.as_ref().and_then(|slot| slot.begin_by));
            slot.retry_at = old.as_ref().and_then(|slot| slot.retry_at);
            slot.waits_for = old.as_ref().map_or("", |slot| slot.waits_for);
            slot.encoder = old.and_then(|slot| slot.encoder);
            self.queue.put(*id, slot);
        } else {
            self.queue.forget(id);
            self.questions.remove(id);
        }
        self.refresh_lane(&lane)
    }

    pub(super) fn refresh_lane(&mut self, lane: &LaneKey) -> Result<(), EngineError> {
        let record = self.view().lane(&lane.0, &lane.1)?;
        self.queue.refresh(lane, record, self.clock.since_boot(), self.clock.wall_ms());
        Ok(())
    }

    /// Gives lane, encoder, rooms and place back.
    pub(super) fn release(&mut self, id: &CommandId) -> Option<Running> {
        let running = self.running.remove(id)?;
        if let Some(system) = self.systems.get_mut(&running.lane.0) {
            system.running = system.running.saturating_sub(1);
            if let Some(encoder) = &running.encoder {
                system.leases.remove(encoder);
                if running.work.is_some() {
                    system.freed.insert(encoder.clone(), self.clock.since_boot());
                }
            }
            system.rooms_held.retain(|room| !running.rooms.contains(room));
        }
        self.queue.set_busy(&running.lane, false);
        Some(running)
    }

    fn next_wake(&self, ticked: Instant) -> Instant {
        let busy = self.queue.len() > 0 || !self.questions.is_empty() || self.draining;
        let regular = ticked + Duration::from_secs(if busy { 1 } else { 10 });
        let now = self.clock.since_boot();
        let pause = |due: Duration| due.saturating_sub(now).max(Duration::from_millis(1));
        self.queue.next_due().map_or(regular, |due| regular.min(Instant::now() + pause(due)))
    }
}
