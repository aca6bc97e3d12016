//! Feeds the watchdog of the service manager, and says in the log which task stands still.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::Notifier;
use crate::health::Health;

/// Between two looks at the pulses.
const LOOK: Duration = Duration::from_secs(2);

/// Looks until `stop`.
pub async fn feed(notifier: Notifier, health: Health, stop: CancellationToken) {
    // Three looks fit into the time that systemd allows, however short an admin made it.
    let pause = notifier.watchdog().map_or(LOOK, |limit| LOOK.min(limit / 3));
    let mut feeder = Feeder { notifier, health, late: Vec::new() };
    while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        feeder.look();
    }
}

struct Feeder {
    notifier: Notifier,
    health: Health,
    /// As last logged.
    late: Vec<&'static str>,
}

impl Feeder {
    fn look(&mut self) {
        let late: Vec<&'static str> = self.health.late().into_iter().map(|(name, _)| name).collect();
        if late != self.late {
            if late.is_empty() {
                info!(tasks = ?self.late, "The tasks that stood still go on.");
            } else {
                error!(tasks = ?late, "Tasks stand still; the watchdog is not fed.");
            }
            self.late.clone_from(&late);
        }
        if late.is_empty() && self.notifier.watchdog().is_some() {
            self.notifier.alive();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::sync::Arc;

    use super::*;
    use crate::clock::ManualClock;
    use crate::health::{LATE, ReasonCode, Scope};

    fn pings(listener: &UnixDatagram) -> usize {
        let mut bytes = [0; 64];
        std::iter::from_fn(|| listener.recv(&mut bytes).ok().filter(|length| &bytes[..*length] == b"WATCHDOG=1"))
            .count()
    }

    #[test]
    fn one_task_that_stands_still_stops_the_pings_and_nothing_remote_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let clock = Arc::new(ManualClock::at(1_000));
        let health = Health::new(clock.clone());
        let [engine, writer, tunnel] = ["engine", "journal writer", "tunnel"].map(|name| health.pulse(name));
        let notifier = Notifier::to(path.as_os_str(), Some(Duration::from_secs(30))).unwrap();
        let mut feeder = Feeder { notifier, health: health.clone(), late: Vec::new() };

        health.raise(Scope::Cloud, ReasonCode::Internet, "no way to cloud.example.com");
        health.raise(Scope::Bridge, ReasonCode::Disk, "full");
        feeder.look();
        assert_eq!(pings(&listener), 1);
        for _ in 0..10 {
            clock.advance(LATE / 2);
            engine.turn();
            tunnel.turn();
            feeder.look();
        }
        assert_eq!(pings(&listener), 2, "after ten seconds without the writer there are no more");
        writer.turn();
        feeder.look();
        assert_eq!(pings(&listener), 1, "it went on");

        let unasked = Notifier::to(path.as_os_str(), None).unwrap();
        Feeder { notifier: unasked, health, late: Vec::new() }.look();
        assert_eq!(pings(&listener), 0, "nobody waits for a sign of life");
    }

    #[tokio::test(start_paused = true)]
    async fn the_task_looks_often_enough_and_ends_with_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let stop = CancellationToken::new();
        let notifier = Notifier::to(path.as_os_str(), Some(Duration::from_secs(3))).unwrap();
        let fed = tokio::spawn(feed(notifier, Health::new(Arc::new(ManualClock::at(0))), stop.clone()));
        tokio::time::sleep(Duration::from_millis(3_500)).await;
        assert_eq!(pings(&listener), 3);
        stop.cancel();
        fed.await.unwrap();
    }
}
