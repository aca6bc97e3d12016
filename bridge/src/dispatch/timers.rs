//! What time alone brings about: expiry, waits that end, gaps that last, windows that begin.

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::journal::{ClockJumped, entry};

use super::engine::{Engine, EngineError};
use crate::command::machine::Event;
use crate::health::{ReasonCode, Scope};
use crate::journal::Reserve;
use crate::limits::LANE_GAP_ALERT;
use crate::state::fold::Phase;

/// A jump of the wall clock that is written down (rule N4).
const CLOCK_JUMP_MS: i64 = 60_000;
/// Holders written anew in one look; the next look is a second later.
const REPLANS_AT_ONCE: usize = 256;

impl Engine {
    /// Looks at everything that waits for a time.
    pub(super) async fn tick(&mut self) -> Result<(), EngineError> {
        let now = self.clock.since_boot();
        self.note_clock_jump().await?;
        for lane in self.queue.due(now) {
            self.refresh_lane(&lane)?;
        }
        self.expire().await?;
        self.note_gaps();
        self.ask_due()?;
        self.age_doubts().await?;
        self.replan_due().await?;
        self.note_identity().await?;
        self.report_chain().await
    }

    async fn expire(&mut self) -> Result<(), EngineError> {
        let (now, now_ms) = (self.clock.since_boot(), self.clock.wall_ms());
        let late: Vec<CommandId> = self
            .queue
            .iter()
            .filter(|(_, slot)| {
                slot.phase == Phase::Queued
                    && (slot.expires_at_ms <= now_ms || slot.begin_by.is_some_and(|by| by < now))
            })
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            let Some(record) = self.view().command(&id)? else { continue };
            if let Some(detail) = self.too_late(&id, &record) {
                self.transition(id, Event::DeadlinePassed, detail).await?;
            }
        }
        Ok(())
    }

    fn note_gaps(&self) {
        let now = self.clock.since_boot();
        let lasting = self.queue.gaps().into_iter().find(|(_, since)| now.saturating_sub(*since) >= LANE_GAP_ALERT);
        match lasting {
            Some((gap, _)) => {
                let message = format!(
                    "lane `{}` of `{}` lacks number {}; {} and later wait",
                    gap.lane, gap.lock_system, gap.expected, gap.have
                );
                self.health.raise(Scope::Bridge, ReasonCode::LaneGap, message);
            }
            None => self.health.clear(Scope::Bridge, ReasonCode::LaneGap),
        }
    }

    async fn note_clock_jump(&mut self) -> Result<(), EngineError> {
        let (wall_ms, now) = (self.clock.wall_ms(), self.clock.since_boot());
        let (then_ms, then) = std::mem::replace(&mut self.clock_seen, (wall_ms, now));
        let passed = i64::try_from(now.saturating_sub(then).as_millis()).unwrap_or(i64::MAX);
        let expected = then_ms.saturating_add(passed);
        if wall_ms.saturating_sub(expected).saturating_abs() > CLOCK_JUMP_MS {
            tracing::warn!(from_ms = expected, to_ms = wall_ms, "The wall clock jumped.");
            let jumped = ClockJumped { from_ms: expected, to_ms: wall_ms };
            self.append(entry::Body::ClockJumped(jumped), Reserve::Safety).await?;
        }
        Ok(())
    }

    /// A later window of some door begins to count: the holder's rights are written anew.
    async fn replan_due(&mut self) -> Result<(), EngineError> {
        let now_ms = self.clock.wall_ms();
        if !self.time_is_trusted() {
            return Ok(());
        }
        let due = self.view().replans(REPLANS_AT_ONCE)?.into_iter().take_while(|(at_ms, _, _)| *at_ms <= now_ms);
        for (_, lock_system, user_id) in due.collect::<Vec<_>>() {
            let lane = (lock_system.clone(), format!("user:{user_id}"));
            // The one given for this moment still waits or runs; its success moves the moment on.
            let given = self.queue.has_local(&lane);
            if given {
                continue;
            }
            if let Some(order) = self.stay_over(&lock_system, &user_id)? {
                self.end_stay(&lock_system, &user_id, order, None).await?;
                continue;
            }
            if let Some(body) = self.rewrite(&lock_system, &user_id)? {
                self.give_locally(body, &lock_system, &lane.1, "schedule").await?;
            }
        }
        Ok(())
    }
}
