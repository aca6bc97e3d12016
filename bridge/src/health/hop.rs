//! Which stretch of the way a reason belongs to, in the order in which a person looks for a fault (rule L3).

use serde::Serialize;

use super::ReasonCode;

/// A stretch of the way from the cloud to the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Hop {
    /// Name resolution and the way out of the site.
    Internet,
    /// The configured proxy.
    Proxy,
    /// The secure connection.
    Tls,
    /// The cloud itself.
    Cloud,
    /// Who this bridge is.
    Identity,
    /// The clock of this machine.
    Clock,
    /// The lock server.
    LockServer,
    /// An encoder.
    Encoder,
    /// The property software of the site.
    FrontDesk,
    /// The disk of the state directory, and what is kept there.
    Disk,
    /// Effects of which nobody knows whether they happened.
    Doubt,
    /// What holds work back although every hop is well.
    Work,
}

impl ReasonCode {
    /// The stretch it belongs to.
    pub fn hop(self) -> Hop {
        match self {
            Self::Dns | Self::Internet => Hop::Internet,
            Self::Proxy => Hop::Proxy,
            Self::Tls | Self::TlsIntercepted => Hop::Tls,
            Self::Connecting | Self::HubRefused | Self::HubSilent => Hop::Cloud,
            Self::NotEnrolled | Self::Identity | Self::Quarantine => Hop::Identity,
            Self::Clock | Self::ClockUntrusted => Hop::Clock,
            Self::LockConnecting
            | Self::LockServer
            | Self::LockLogin
            | Self::LockLicence
            | Self::LockProtocol
            | Self::LockClock
            | Self::LockLine => Hop::LockServer,
            Self::Encoder => Hop::Encoder,
            Self::FrontDesk => Hop::FrontDesk,
            Self::DiskLow | Self::Disk | Self::StateRebuilt | Self::StateInMemory | Self::JournalDamaged => Hop::Disk,
            Self::Doubt => Hop::Doubt,
            Self::InboxFull | Self::OutboxFull | Self::LaneGap | Self::Brake | Self::Policy | Self::Draining => {
                Hop::Work
            }
        }
    }
}
