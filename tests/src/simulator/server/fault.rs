//! What can go wrong at a SHIP server on demand.

use serde::{Deserialize, Serialize};

use crate::simulator::fault;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum FaultKind {
    /// The request is looked at only after a while. Goes together with another fault.
    Delay { milliseconds: u64 },
    /// Answered with an error code; nothing is done.
    Refuse { code: u16 },
    /// The request is carried out and the answer is not XML.
    Garbage,
    /// The request is carried out, half of the answer is sent, the connection closed.
    HalfAnswer,
    /// The connection is closed; nothing is done.
    CloseBeforeAnswer,
    /// The request is carried out and the connection closed.
    PerformThenClose,
    /// No answer ever; the request is carried out only if asked for.
    NeverAnswer {
        #[serde(default)]
        perform: bool,
    },
    /// The encoder says 402.
    EncoderBusy,
    /// The encoder says 401.
    EncoderUnplugged,
    /// Nobody puts a card on the encoder: 403 after the wait.
    NoCard,
    /// The card on the encoder is of a wrong technology: 302.
    WrongBlank,
    /// The card is lifted in the middle of the write: 404, and a partly written card.
    CardLifted,
}

impl fault::FaultKind for FaultKind {
    type Stage = Stage;

    fn stage(&self) -> Stage {
        match self {
            Self::Delay { .. } => Stage::Delay,
            Self::EncoderBusy | Self::EncoderUnplugged | Self::NoCard | Self::WrongBlank | Self::CardLifted => {
                Stage::Encoder
            }
            _ => Stage::Answer,
        }
    }
}

/// Where in a request a fault takes hold; a request meets at most one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before anything.
    Delay,
    /// Around the answer.
    Answer,
    /// At the encoder.
    Encoder,
}

/// A fault that a test asks for.
pub type Fault = fault::Fault<FaultKind>;
/// Those still to come.
pub type Faults = fault::Faults<FaultKind>;
