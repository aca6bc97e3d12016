//! Faults that a test asks for, each for the next few requests it fits. What can go wrong is each simulator's own.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// What can go wrong at a simulator.
pub trait FaultKind: Clone {
    /// Where in a request it takes hold; a request meets at most one fault of each.
    type Stage: Copy + PartialEq;

    /// Of this one.
    fn stage(&self) -> Self::Stage;
}

/// A fault and whom it hits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault<K> {
    /// What goes wrong.
    #[serde(flatten)]
    pub kind: K,
    /// Only this request, by its name in the protocol; without: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Only this encoder.
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
#[derive(Debug)]
pub struct Faults<K>(Mutex<Vec<Fault<K>>>);

impl<K> Default for Faults<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: FaultKind> Faults<K> {
    /// Asks for a fault.
    pub fn add(&self, fault: Fault<K>) {
        if fault.times > 0 {
            self.lock().push(fault);
        }
    }

    /// Forgets all; returns how many there were.
    pub fn clear(&self) -> usize {
        std::mem::take(&mut *self.lock()).len()
    }

    /// The faults still to come.
    pub fn list(&self) -> Vec<Fault<K>> {
        self.lock().clone()
    }

    /// Uses up one fault of a stage that hits this request.
    pub fn take(&self, stage: K::Stage, request: &str, encoder: Option<&str>) -> Option<K> {
        let mut faults = self.lock();
        let hits = |fault: &Fault<K>| {
            fault.kind.stage() == stage
                && fault.request.as_deref().is_none_or(|name| name == request)
                && fault.encoder.as_deref().is_none_or(|name| Some(name) == encoder)
        };
        let index = faults.iter().position(hits)?;
        let fault = faults.get_mut(index)?;
        fault.times = fault.times.saturating_sub(1);
        if fault.times > 0 {
            return Some(fault.kind.clone());
        }
        Some(faults.remove(index).kind)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Fault<K>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case", tag = "kind")]
    enum Kind {
        Refuse { code: u16 },
        Delay,
    }

    impl FaultKind for Kind {
        type Stage = bool;

        fn stage(&self) -> bool {
            matches!(self, Self::Delay)
        }
    }

    fn asked(text: &str) -> Fault<Kind> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_fault_hits_only_its_request_and_only_so_often() {
        let faults = Faults::default();
        faults.add(asked(r#"{"kind":"refuse","code":201,"request":"SaltoDBUser.Update","times":2}"#));
        assert_eq!(faults.take(false, "GetInfo", None), None);
        assert_eq!(faults.take(true, "SaltoDBUser.Update", None), None);
        for left in [1, 0] {
            assert_eq!(faults.take(false, "SaltoDBUser.Update", Some("Desk")), Some(Kind::Refuse { code: 201 }));
            assert_eq!(faults.list().len(), left);
        }
        assert_eq!(faults.take(false, "SaltoDBUser.Update", None), None);
    }

    #[test]
    fn the_first_that_fits_is_used_up_and_the_others_stay() {
        let faults = Faults::default();
        faults.add(asked(r#"{"kind":"refuse","code":1,"encoder":"Back"}"#));
        faults.add(asked(r#"{"kind":"refuse","code":2,"encoder":"Desk"}"#));
        faults.add(asked(r#"{"kind":"delay","times":0}"#));
        assert_eq!(faults.take(false, "CN", None), None, "no encoder, and each is for one");
        assert_eq!(faults.take(false, "CN", Some("Desk")), Some(Kind::Refuse { code: 2 }));
        assert_eq!(faults.take(false, "CN", Some("Desk")), None);
        assert_eq!(faults.clear(), 1);
    }
}
