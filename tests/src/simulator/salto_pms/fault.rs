//! Faults that a test asks for, each for the next few requests it fits.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

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

impl FaultKind {
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

/// A fault and whom it hits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What goes wrong.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// Only this command (`CN`, `CC`, ...); without: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Only this encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<String>,
    /// How many times.
    #[serde(default = "once")]
    pub times: u32,
}

fn once() -> u32 {
    1
}

/// The faults still to come, in the order they were asked for.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    /// Asks for a fault.
    pub fn add(&self, fault: Fault) {
        if fault.times > 0 {
            self.lock().push(fault);
        }
    }

    /// Forgets all; returns how many there were.
    pub fn clear(&self) -> usize {
        std::mem::take(&mut *self.lock()).len()
    }

    /// The faults still to come.
    pub fn list(&self) -> Vec<Fault> {
        self.lock().clone()
    }

    /// Uses up one fault of a stage that fits.
    pub fn take(&self, stage: Stage, request: &str, encoder: Option<&str>) -> Option<FaultKind> {
        let mut faults = self.lock();
        let fits = |fault: &Fault| {
            fault.kind.stage() == stage
                && fault.request.as_deref().is_none_or(|wanted| wanted == request)
                && fault.encoder.as_deref().is_none_or(|wanted| Some(wanted) == encoder)
        };
        let index = faults.iter().position(fits)?;
        let fault = faults.get_mut(index)?;
        fault.times = fault.times.saturating_sub(1);
        let (kind, is_spent) = (fault.kind.clone(), fault.times == 0);
        if is_spent {
            faults.remove(index);
        }
        Some(kind)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
