//! What is wrong now, since when, by hop; written by all rooms, read by the health server, the CLI and the heartbeat.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::vitals::{Pulse, Vitals};
use crate::clock::Clock;

/// Which part of the way a reason belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The link to the cloud.
    Cloud,
    /// One configured lock system.
    LockSystem(String),
    /// One encoder of a lock system.
    Encoder(String, String),
    /// The wire to the property software of one front desk.
    FrontDesk(String),
    /// This machine and process: disk, clock, identity, brake.
    Bridge,
}

macro_rules! reason_codes {
    ($($(#[$meta:meta])* $name:ident = $code:literal, $sentence:literal, $remedy:literal;)*) => {
        /// Every reason this daemon can give (rule L3): a stable code, one sentence, one remedy.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ReasonCode {
            $($(#[$meta])* #[doc = $sentence] $name,)*
        }

        impl ReasonCode {
            /// Every code, for documentation and tests.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Stable name for machines.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What it means, for people.
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)* }
            }

            /// What to do about it.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)* }
            }
        }
    };
}

reason_codes! {
    NotEnrolled = "not_enrolled", "This bridge has no identity yet.", "Run `lockbridge enroll` with the token from the cloud.";
    Connecting = "connecting", "The first connection to the cloud is being made.", "Wait a minute; another reason appears if it fails.";
    Dns = "dns", "The cloud's name does not resolve.", "Check the site's DNS server and the `cloud` address.";
    Internet = "internet", "The cloud's address cannot be reached.", "Check the internet connection and that outbound TCP to the cloud's port is allowed.";
    Proxy = "proxy", "The configured proxy refuses or does not answer.", "Check `network.proxy` and the proxy's rules for the cloud's host.";
    TlsIntercepted = "tls_intercepted", "Something on the way presents another certificate than the cloud's.", "Exempt the cloud's host from TLS inspection.";
    Tls = "tls", "The secure connection to the cloud could not be made.", "Look at the message; check the clock of this machine.";
    HubRefused = "hub_refused", "The cloud refuses this bridge.", "Look at the message; the cloud's operator can tell why.";
    HubSilent = "hub_silent", "The cloud accepted the connection and then went silent.", "Wait; if it stays, a firewall cuts idle connections.";
    Identity = "identity", "The identity of this bridge is expired, revoked or unreadable.", "Enroll again with a fresh token.";
    Clock = "clock", "The clock of this machine differs from the cloud's.", "Set up time synchronisation (systemd-timesyncd or chrony).";
    ClockUntrusted = "clock_untrusted", "The clock of this machine is so wrong that no dates are written: no grants, no cards, only revokes.", "Set the clock; set up time synchronisation (systemd-timesyncd or chrony).";
    LockConnecting = "lock_connecting", "The lock server has not answered since the start.", "Wait a minute; another reason appears if it fails.";
    LockServer = "lock_server", "The lock server does not answer.", "Check that its service runs and that host and port in the configuration are right.";
    LockLogin = "lock_login", "The lock server refuses our credentials.", "Check user, password or key of this lock system; then reload.";
    LockLicence = "lock_licence", "The lock server's licence does not cover what was asked.", "Ask the lock system's installer for the licence named in the message.";
    LockProtocol = "lock_protocol", "The lock server answers in a way that cannot be understood.", "Check that host and port belong to the lock system; send a support bundle.";
    LockClock = "lock_clock", "The lock server's clock or zone differs from this machine's.", "Set the clock and the zone of the lock server, and `time_zone` of the lock system.";
    LockLine = "lock_line", "The line to hotel keys does not answer; the lock server itself does.", "Check that its PMS interface is switched on, and address, port or device of the line (`pms` of the lock system).";
    Encoder = "encoder", "An encoder does not answer.", "Check its power, network and name.";
    FrontDesk = "front_desk", "The property software at the front desk is not connected.", "Check that it runs, that its key interface is switched on, and the settings of this front desk: address or device, speed, checksum.";
    DiskLow = "disk_low", "The disk of the state directory is nearly full.", "Free space under the state directory.";
    Disk = "disk", "The disk of the state directory is full: work waits, only revokes are carried out.", "Free space under the state directory; work goes on by itself.";
    InboxFull = "inbox_full", "As many commands wait as this bridge may hold.", "Bring the lock server back; new commands wait in the cloud.";
    OutboxFull = "outbox_full", "As many reports wait for the cloud as this bridge may hold.", "Bring the cloud link back; door events are dropped oldest first, outcomes never.";
    Doubt = "doubt", "It is not known whether a card was written.", "Run `lockbridge doubt` and say what came of it.";
    LaneGap = "lane_gap", "Commands of one resource are missing and later ones wait for them.", "Wait for the cloud to resend; if it stays, ask the cloud's operator.";
    Brake = "brake", "The local brake is on: no encoding, no new grants; revokes go on.", "Run `lockbridge brake off` when it is safe.";
    Quarantine = "quarantine", "State or identity of this bridge may exist twice or be out of date: no encoding, no new grants; revokes go on.", "Make sure that only one copy runs; then let the cloud's operator release it and run `lockbridge quarantine lift --yes` here.";
    Policy = "policy", "The local policy file is missing or not valid: nothing but revokes is allowed.", "Run `lockbridge config check`.";
    StateRebuilt = "state_rebuilt", "The working set was rebuilt from the journal at the last start.", "Nothing to do; it clears after an hour.";
    StateInMemory = "state_in_memory", "The working set is held in memory, because the disk refused its files at the start.", "Free space under the state directory; the next start of the service uses the disk again.";
    JournalDamaged = "journal_damaged", "A part of the journal could not be read and was set aside.", "Keep the file named in the message for support; check the disk.";
    Draining = "draining", "The bridge is stopping.", "Nothing to do.";
}

/// One reason that holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Part of the way.
    pub scope: Scope,
    /// What.
    pub code: ReasonCode,
    /// This case, for people; no names of guests, no secrets.
    pub message: String,
    /// Since when, ms since the epoch.
    pub since_ms: i64,
}

type Reasons = BTreeMap<(Scope, ReasonCode), (String, i64)>;

/// The registry. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Health {
    clock: Arc<dyn Clock>,
    reasons: Arc<Mutex<Reasons>>,
    changed: Arc<watch::Sender<u64>>,
    vitals: Vitals,
}

impl Health {
    /// An empty registry.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, reasons: Arc::default(), changed: Arc::new(watch::Sender::new(0)), vitals: Vitals::default() }
    }

    /// Says that `code` holds. Its time of beginning is kept while it holds; only the message is renewed.
    pub fn raise(&self, scope: Scope, code: ReasonCode, message: impl Into<String>) {
        let now = self.clock.wall_ms();
        let message = message.into();
        let mut reasons = self.lock();
        let entry = reasons.entry((scope, code)).or_insert_with(|| (String::new(), now));
        if entry.0 != message || entry.0.is_empty() {
            entry.0 = message;
            drop(reasons);
            self.changed.send_modify(|count| *count += 1);
        }
    }

    /// Says that `code` no longer holds.
    pub fn clear(&self, scope: Scope, code: ReasonCode) {
        if self.lock().remove(&(scope, code)).is_some() {
            self.changed.send_modify(|count| *count += 1);
        }
    }

    /// Leaves exactly `code` (or none) among the reasons of `scope`: for hops that have one state at a time.
    pub fn replace(&self, scope: &Scope, now_holds: Option<(ReasonCode, String)>) {
        let stale: Vec<ReasonCode> = self
            .lock()
            .keys()
            .filter(|(held, code)| held == scope && now_holds.as_ref().is_none_or(|(new, _)| new != code))
            .map(|(_, code)| *code)
            .collect();
        for code in stale {
            self.clear(scope.clone(), code);
        }
        if let Some((code, message)) = now_holds {
            self.raise(scope.clone(), code, message);
        }
    }

    /// All that holds now, ordered by scope and code.
    pub fn reasons(&self) -> Vec<Reason> {
        self.lock()
            .iter()
            .map(|((scope, code), (message, since_ms))| Reason {
                scope: scope.clone(),
                code: *code,
                message: message.clone(),
                since_ms: *since_ms,
            })
            .collect()
    }

    /// Whether `code` holds for `scope`.
    pub fn holds(&self, scope: &Scope, code: ReasonCode) -> bool {
        self.lock().contains_key(&(scope.clone(), code))
    }

    /// Wakes on every change.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The sign of life of a critical task, watched from now on; `name` is for people.
    pub fn pulse(&self, name: &'static str) -> Pulse {
        let pulse = Pulse::new(Arc::clone(&self.clock));
        self.vitals.watch(name, &pulse);
        pulse
    }

    /// The task of that name ended as it should.
    pub fn retire_pulse(&self, name: &'static str) {
        self.vitals.forget(name);
    }

    /// Critical tasks that hang or are gone, and for how long; none on a daemon that lives (rules L1, L4).
    pub fn late(&self) -> Vec<(&'static str, Duration)> {
        self.vitals.late()
    }

    fn lock(&self) -> MutexGuard<'_, Reasons> {
        // A holder that panicked left at worst one reason half-renewed; health goes on telling.
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn since_is_kept_while_a_reason_holds() {
        let clock = Arc::new(ManualClock::at(1_000));
        let health = Health::new(clock.clone());
        let mut changed = health.subscribe();
        health.raise(Scope::Cloud, ReasonCode::Dns, "no address for cloud.example.com");
        assert!(changed.has_changed().expect("the registry lives"));
        changed.mark_unchanged();
        clock.advance(Duration::from_secs(5));
        health.raise(Scope::Cloud, ReasonCode::Dns, "no address for cloud.example.com");
        assert!(!changed.has_changed().expect("the registry lives"), "the same again is no change");
        assert_eq!(health.reasons()[0].since_ms, 1_000);
        health.replace(&Scope::Cloud, Some((ReasonCode::Proxy, "407".into())));
        assert!(!health.holds(&Scope::Cloud, ReasonCode::Dns));
        assert_eq!(health.reasons()[0].since_ms, 6_000);
        health.replace(&Scope::Cloud, None);
        assert_eq!(health.reasons(), []);
    }

    #[test]
    fn codes_are_unique_and_explained() {
        let mut codes: Vec<_> = ReasonCode::ALL.iter().map(|code| code.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ReasonCode::ALL.len());
        assert!(ReasonCode::ALL.iter().all(|code| code.sentence().ends_with('.') && code.remedy().ends_with('.')));
    }
}
