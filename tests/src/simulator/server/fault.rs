//! Faults that a test asks for, each for the next few requests of a name.

use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::lock;

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

impl FaultKind {
    fn stage(self) -> Stage {
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

/// A fault and whom it hits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What goes wrong.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// Only this request name; without: any request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Only this encoder (encoder faults).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<String>,
    /// How many requests.
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
            lock(&self.0).push(fault);
        }
    }

    /// Forgets all faults; returns how many there were.
    pub fn clear(&self) -> usize {
        std::mem::take(&mut *lock(&self.0)).len()
    }

    /// The faults still to come.
    pub fn list(&self) -> Vec<Fault> {
        lock(&self.0).clone()
    }

    /// Uses up one fault of a stage that hits this request.
    pub fn take(&self, stage: Stage, request: &str, encoder: Option<&str>) -> Option<FaultKind> {
        let mut faults = lock(&self.0);
        let hits = |fault: &Fault| {
            fault.kind.stage() == stage
                && fault.request.as_deref().is_none_or(|name| name == request)
                && fault.encoder.as_deref().is_none_or(|name| Some(name) == encoder)
        };
        let index = faults.iter().position(hits)?;
        let fault = faults.get_mut(index)?;
        fault.times -= 1;
        let kind = fault.kind;
        if fault.times == 0 {
            faults.remove(index);
        }
        Some(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_hits_only_its_request_and_only_so_often() {
        let faults = Faults::default();
        let fault = r#"{"kind":"refuse","code":201,"request":"SaltoDBUser.Update","times":2}"#;
        faults.add(serde_json::from_str(fault).unwrap());
        assert_eq!(faults.take(Stage::Answer, "GetInfo", None), None);
        assert_eq!(faults.take(Stage::Delay, "SaltoDBUser.Update", None), None);
        for _ in 0..2 {
            let taken = faults.take(Stage::Answer, "SaltoDBUser.Update", None);
            assert_eq!(taken, Some(FaultKind::Refuse { code: 201 }));
        }
        assert_eq!(faults.take(Stage::Answer, "SaltoDBUser.Update", None), None);
        assert!(faults.list().is_empty());
    }
}
