//! Signs of life of the tasks without which the daemon is of no use (rules L1, L4).
//!
//! Each such task has a [`Pulse`] and turns it whenever its own loop has gone round: with real work, or, when there is
//! none, because it woke to look. So a task that hangs, or has ended without saying so, is seen within [`LATE`], and
//! nothing here depends on anything outside of this process.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::clock::Clock;

/// An idle task turns its pulse this often.
pub const TURN: Duration = Duration::from_secs(3);
/// A task that has not turned for so long does not live (rule L1).
pub const LATE: Duration = Duration::from_secs(10);

/// One task's sign of life. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pulse {
    clock: Arc<dyn Clock>,
    /// Milliseconds since boot of the last turn.
    turned: Arc<AtomicU64>,
}

impl Pulse {
    /// A pulse that nobody watches; for a part that runs without the rest of the daemon.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let pulse = Self { clock, turned: Arc::default() };
        pulse.turn();
        pulse
    }

    /// The loop has gone round.
    pub fn turn(&self) {
        self.turned.store(milliseconds(self.clock.since_boot()), Ordering::Relaxed);
    }

    /// The end of the next wait of an idle loop.
    pub async fn rest(&self) {
        tokio::time::sleep(TURN).await;
    }

    /// Awaits `work` while the loop stands still in it. Only for waits with a deadline of their own: the turns prove that
    /// the task is still run, not that the work gets on.
    pub async fn during<F: Future>(&self, work: F) -> F::Output {
        let mut work = std::pin::pin!(work);
        loop {
            self.turn();
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = sleep_until(Instant::now() + TURN) => {}
            }
        }
    }

    fn age(&self) -> Duration {
        let turned = self.turned.load(Ordering::Relaxed);
        Duration::from_millis(milliseconds(self.clock.since_boot()).saturating_sub(turned))
    }
}

/// The pulses of this process.
#[derive(Debug, Clone, Default)]
pub(super) struct Vitals(Arc<Mutex<Vec<(&'static str, Pulse)>>>);

impl Vitals {
    /// Begins to watch a task. A pulse of the same name takes the place of the one before: that task is over.
    pub(super) fn watch(&self, name: &'static str, pulse: &Pulse) {
        let mut pulses = self.lock();
        pulses.retain(|(watched, _)| *watched != name);
        pulses.push((name, pulse.clone()));
    }

    /// No longer watches a task: it ends as it should.
    pub(super) fn forget(&self, name: &'static str) {
        self.lock().retain(|(watched, _)| *watched != name);
    }

    /// The tasks that have not turned in time, and for how long.
    pub(super) fn late(&self) -> Vec<(&'static str, Duration)> {
        let ages = self.lock().iter().map(|(name, pulse)| (*name, pulse.age())).collect::<Vec<_>>();
        ages.into_iter().filter(|(_, age)| *age > LATE).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(&'static str, Pulse)>> {
        // A list is whole between any two of its changes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn a_task_is_late_after_ten_seconds_without_a_turn_and_no_sooner() {
        let clock = Arc::new(ManualClock::at(1_000));
        let vitals = Vitals::default();
        let [engine, writer] = ["engine", "journal writer"].map(|name| {
            let pulse = Pulse::new(clock.clone());
            vitals.watch(name, &pulse);
            pulse
        });
        clock.advance(LATE);
        assert_eq!(vitals.late(), []);
        engine.turn();
        clock.advance(Duration::from_millis(1));
        assert_eq!(vitals.late(), [("journal writer", LATE + Duration::from_millis(1))]);
        writer.turn();
        assert_eq!(vitals.late(), []);
        drop(writer);
        clock.advance(LATE + Duration::from_secs(1));
        engine.turn();
        assert_eq!(vitals.late().len(), 1, "a task that is gone is not forgotten by itself");
        vitals.watch("journal writer", &Pulse::new(clock.clone()));
        assert_eq!(vitals.late(), []);
        clock.advance(LATE * 2);
        vitals.forget("engine");
        vitals.forget("journal writer");
        assert_eq!(vitals.late(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_with_a_deadline_keeps_turning() {
        let clock = Arc::new(ManualClock::at(1_000));
        let pulse = Pulse::new(clock.clone());
        let advancing = async {
            for _ in 0..60 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                clock.advance(Duration::from_secs(1));
                assert!(pulse.age() < TURN * 2, "{:?}", pulse.age());
            }
        };
        let waited = pulse.during(tokio::time::timeout(Duration::from_secs(90), std::future::pending::<()>()));
        tokio::select! {
            () = advancing => {}
            _ = waited => panic!("the wait has a longer deadline"),
        }
    }
}
