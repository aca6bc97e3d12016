//! What can go wrong at a Salto server on demand.

use serde::{Deserialize, Serialize};

use crate::simulator::fault;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum FaultKind {
    /// The message is refused by NAK although it is good.
    Nak,
    /// An ENQ gets no reply. (`request`: "ENQ")
    SilentEnquiry,
    /// Work begins only after a while.
    Delay { milliseconds: u64 },
    /// Answered with an error; nothing is done.
    Refuse {
        code: String,
        #[serde(default)]
        text: String,
    },
    /// No answer ever, the server is idle again; the work is done only if asked for.
    NeverAnswer {
        #[serde(default)]
        perform: bool,
    },
    /// The work is done, and the answer comes after a while. The server says that it is busy until then.
    LateAnswer { milliseconds: u64 },
    /// The work is done, and the server is idle; the answer comes after a while all the same.
    StrayAnswer { milliseconds: u64 },
    /// The work is done and the answer is damaged; a NAK gets it whole.
    DamagedAnswer,
    /// The work is done and half of the answer is sent.
    HalfAnswer,
    /// The connection is closed behind the acknowledgement; the work is done only if asked for. TCP only.
    Close {
        #[serde(default)]
        perform: bool,
    },
    /// Another clerk uses the encoder: OV.
    EncoderBusy,
    /// The encoder is not there: NC.
    EncoderUnplugged,
    /// Nobody puts a card on the encoder: ED after the wait.
    NoCard,
    /// The card is lifted in the middle of the write: EP, and a partly written card.
    CardLifted,
}

/// Where a fault takes hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// At an ENQ.
    Enquiry,
    /// Before the message is acknowledged.
    Offer,
    /// Before the work.
    Delay,
    /// Around the answer.
    Answer,
    /// At the encoder.
    Encoder,
}

impl fault::FaultKind for FaultKind {
    type Stage = Stage;

    fn stage(&self) -> Stage {
        match self {
            Self::SilentEnquiry => Stage::Enquiry,
            Self::Nak => Stage::Offer,
            Self::Delay { .. } => Stage::Delay,
            Self::EncoderBusy | Self::EncoderUnplugged | Self::NoCard | Self::CardLifted => Stage::Encoder,
            _ => Stage::Answer,
        }
    }
}

/// A fault that a test asks for.
pub type Fault = fault::Fault<FaultKind>;
/// Those still to come.
pub type Faults = fault::Faults<FaultKind>;
