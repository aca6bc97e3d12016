//! The session with the hub as the engine sees it: cursors, credits, the end of what nobody waits for any more.

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::limits::{INBOX_BACKGROUND, INBOX_COMMANDS, INBOX_INTERACTIVE, INBOX_SAFETY_RESERVE};
use lockbridge_protocol::proto::journal::{ReportsAcknowledged, SessionOpened, Witnessed, entry};
use lockbridge_protocol::proto::tunnel::{Quarantine, Witness};
use prost::Message;
use tokio::sync::oneshot;

use super::Resume;
use super::engine::{Engine, EngineError};
use super::finish::Detail;
use super::log::Room;
use super::work::error;
use crate::command::machine::Event;
use crate::health::{ReasonCode, Scope};
use crate::journal::Reserve;
use crate::limits::OUTBOX_REPORTS;
use crate::state::fold::Phase;

/// What the hub may send, as running totals of one session (rule D3).
#[derive(Debug, Default)]
pub(super) struct Credits {
    received: [u64; 4],
    totals: [u64; 4],
}

/// Rooms of the inbox by priority; they do not overlap, so that no backlog can take the place of a revoke (rule D4).
const ROOMS: [u64; 4] = [
    INBOX_SAFETY_RESERVE,
    INBOX_INTERACTIVE,
    INBOX_COMMANDS - INBOX_SAFETY_RESERVE - INBOX_INTERACTIVE - INBOX_BACKGROUND,
    INBOX_BACKGROUND,
];

/// What is left of them beside `live` commands.
pub(super) fn room_beside(live: [u64; 4]) -> [u64; 4] {
    std::array::from_fn(|rank| ROOMS[rank].saturating_sub(live[rank]))
}

impl Credits {
    pub(super) fn received(&mut self, rank: usize) {
        if let Some(count) = self.received.get_mut(rank) {
            *count += 1;
        }
    }

    /// Totals by what is live; a total never shrinks. `safety_only`: the others stay where they are.
    fn grow(&mut self, live: [u64; 4], safety_only: bool) -> [u64; 4] {
        for (rank, room) in ROOMS.iter().enumerate() {
            if safety_only && rank > 0 {
                continue;
            }
            let free = room.saturating_sub(live.get(rank).copied().unwrap_or_default());
            let (Some(total), Some(received)) = (self.totals.get_mut(rank), self.received.get(rank)) else { continue };
            *total = (*total).max(received + free);
        }
        self.totals
    }
}

impl Engine {
    pub(super) fn resume(&self) -> Resume {
        let shown = self.feed.borrow();
        Resume {
            store_id: self.identity.store_id,
            boot_counter: self.identity.boot_counter,
            journal_sequence: self.durable.through,
            commands_durable_through: shown.commands_durable_through,
            reports_first_kept: self.meta.reports_acknowledged.saturating_add(1),
            reports_last: shown.reports_last,
            highest_epoch_seen: self.meta.epoch,
            quarantine: shown.quarantine.clone(),
            quarantine_left: shown.quarantine_left,
        }
    }

    pub(super) async fn session_opened(
        &mut self,
        epoch: u64,
        reports_durable_through: u64,
        quarantine: Option<Quarantine>,
        done: oneshot::Sender<()>,
    ) -> Result<(), EngineError> {
        self.session = Credits::default();
        self.append(entry::Body::SessionOpened(SessionOpened { epoch }), Reserve::Safety).await?;
        if let Some(told) = quarantine {
            self.told_quarantine(told, Some(reports_durable_through)).await?;
        }
        self.reports_durable(reports_durable_through).await?;
        self.fill_lost_reports().await?;
        self.show();
        self.answer(done, ());
        Ok(())
    }

    /// Rule C8: the person at the desk has already seen an error.
    pub(super) async fn session_lost(&mut self) -> Result<(), EngineError> {
        self.end_interactive("session_lost", "the connection to the cloud was lost before it could begin", false).await
    }

    async fn end_interactive(&mut self, code: &str, message: &str, local_too: bool) -> Result<(), EngineError> {
        let waiting: Vec<CommandId> = self
            .queue
            .iter()
            .filter(|(_, slot)| slot.interactive && slot.phase == Phase::Queued && (local_too || !slot.local))
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            let detail = Detail { error: Some(error(code, message)), ..Detail::default() };
            self.transition(id, Event::DeadlinePassed, detail).await?;
        }
        Ok(())
    }

    pub(super) async fn reports_durable(&mut self, through: u64) -> Result<(), EngineError> {
        // The hub can only have what was durable here; more would be another journal's count.
        let through = through.min(self.feed.borrow().reports_last);
        if through > self.meta.reports_acknowledged {
            self.append(entry::Body::ReportsAcknowledged(ReportsAcknowledged { through }), Reserve::Safety).await?;
        }
        Ok(())
    }

    pub(super) async fn witness(&mut self, witness: Witness) -> Result<(), EngineError> {
        let Some(signed) = witness.witness else { return Ok(()) };
        let checked = self.identity.authority.verify(lockbridge_protocol::signed::WITNESS_TYPE, &signed);
        if let Err(error) = checked {
            tracing::warn!(%error, "Counter-signature of the audit log refused.");
            return Ok(());
        }
        let witnessed = Witnessed { report_sequence: witness.report_sequence, witness: signed.encode_to_vec() };
        self.append(entry::Body::Witnessed(witnessed), Reserve::Safety).await?;
        Ok(())
    }

    /// Rule M1: nothing new; what executes runs to its end.
    pub(super) async fn drain(&mut self, done: oneshot::Sender<()>) -> Result<(), EngineError> {
        self.draining = true;
        self.drained.push(done);
        self.health.raise(Scope::Bridge, ReasonCode::Draining, "stopping; what has begun is finished first");
        self.end_interactive("bridge_disconnected", "the bridge is stopping", true).await?;
        self.finish_drain().await
    }

    /// Answers drains once nothing executes and all of it is durable. The head of the chain is signed then: what was done
    /// until the stop is covered, and the cloud can witness it before the session ends.
    pub(super) async fn finish_drain(&mut self) -> Result<(), EngineError> {
        let quiet = self.running.is_empty() && self.durable.through >= self.last_sequence;
        if !self.draining || !quiet || self.drained.is_empty() {
            return Ok(());
        }
        self.sign_chain().await?;
        for done in std::mem::take(&mut self.drained) {
            self.answer(done, ());
        }
        Ok(())
    }

    /// Why credit is held back; empty when it is not.
    pub(super) fn credit_reason(&self) -> &'static str {
        let waiting = self.meta.reports_last.saturating_sub(self.meta.reports_acknowledged);
        let live: u64 = self.queue.live().iter().sum();
        if self.draining {
            "draining"
        } else if self.log.room(self.disk_reserve_bytes) >= Room::SafetyOnly {
            "disk_low"
        } else if waiting.saturating_add(live.saturating_mul(2)) >= OUTBOX_REPORTS {
            // Each live command still makes an outcome, and maybe a doubt before it.
            "outbox_full"
        } else if self.queue.live().get(2).is_some_and(|convergent| *convergent >= ROOMS[2]) {
            "inbox_full"
        } else {
            ""
        }
    }

    /// Renews what the tunnel shows and what health says of the bounds.
    pub(super) fn show(&mut self) {
        let reason = self.credit_reason();
        let safety_only = matches!(reason, "disk_low" | "outbox_full" | "draining");
        let credits = self.session.grow(self.queue.live(), safety_only);
        let (queued, executing, in_doubt) = self.queue.phases();
        let outbox = self.meta.reports_last.saturating_sub(self.meta.reports_acknowledged);
        let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let gaps = self.gaps_to_tell();
        let lost = self.loss_to_tell();
        let encoder_jobs = self.encoder_jobs();
        let journal_sequence = self.durable.through;
        self.feed.send_if_modified(|feed| {
            let old = feed.clone();
            feed.credits = credits;
            feed.credit_reason = reason;
            feed.lane_gaps = gaps;
            feed.lost = lost;
            feed.encoder_jobs = encoder_jobs;
            feed.journal_sequence = journal_sequence;
            (feed.queued, feed.executing, feed.in_doubt, feed.outbox) =
                (small(queued), small(executing), small(in_doubt), small(outbox));
            *feed != old
        });
        let bound = |code, holds: bool, message: &str| {
            if holds {
                self.health.raise(Scope::Bridge, code, message);
            } else {
                self.health.clear(Scope::Bridge, code);
            }
        };
        let room = self.log.room(self.disk_reserve_bytes);
        bound(ReasonCode::Disk, room >= Room::Full, "the file system has no space for the journal");
        let low = match room {
            Room::SafetyOnly => "less is free than `disk_reserve`: of new commands only revokes are accepted",
            _ => "less than 1 GiB is free",
        };
        bound(ReasonCode::DiskLow, matches!(room, Room::Low | Room::SafetyOnly), low);
        bound(ReasonCode::InboxFull, reason == "inbox_full", "no room for more grants; revokes are still taken");
        bound(
            ReasonCode::OutboxFull,
            reason == "outbox_full",
            "no room for more reports; new commands wait in the cloud",
        );
    }
}
