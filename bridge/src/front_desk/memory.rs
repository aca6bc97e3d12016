//! Which answers certainly arrived. Records carry no transaction number: when an answer got lost, the same request comes again
//! and looks like a new one. It is a new one only if the answer to the first certainly arrived.

use std::collections::VecDeque;
use std::time::Duration;

/// Answers remembered.
const REMEMBERED: usize = 64;
/// An answer that was written this shortly before a connection broke may not have arrived.
const ON_THE_WAY: Duration = Duration::from_secs(30);
/// A peer that did not read our acknowledgement sends its record again within this time.
const ECHO: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct Told {
    request: [u8; 32],
    /// When the request came.
    asked: Duration,
    /// When its answer arrived.
    arrived: Duration,
}

/// Of one front desk, over its connections. Times are monotonic.
#[derive(Debug, Default)]
pub(super) struct Memory {
    told: VecDeque<Told>,
}

impl Memory {
    /// The answer to a request arrived, as far as the wire tells.
    pub(super) fn arrived(&mut self, request: [u8; 32], asked: Duration, now: Duration) {
        self.told.retain(|told| told.request != request);
        if self.told.len() >= REMEMBERED {
            self.told.pop_front();
        }
        self.told.push_back(Told { request, asked, arrived: now });
    }

    /// The connection broke: what was on its way may be lost.
    pub(super) fn link_lost(&mut self, now: Duration) {
        self.told.retain(|told| told.arrived.saturating_add(ON_THE_WAY) <= now);
    }

    /// An equal request may be the first one again. `is_echo`: the wire says that the bytes came a second time.
    pub(super) fn may_be_repeated(&self, request: &[u8; 32], is_echo: bool, now: Duration) -> bool {
        let told = self.told.iter().find(|told| told.request == *request);
        told.is_none_or(|told| is_echo && now < told.asked.saturating_add(ECHO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_request_is_new_only_if_the_answer_to_its_like_arrived() {
        let mut memory = Memory::default();
        assert!(memory.may_be_repeated(&[1; 32], false, SECOND), "after a start nobody knows");
        memory.arrived([1; 32], SECOND, SECOND * 5);
        assert!(!memory.may_be_repeated(&[1; 32], false, SECOND * 6));
        assert!(memory.may_be_repeated(&[2; 32], false, SECOND * 6));
        assert!(memory.may_be_repeated(&[1; 32], true, SECOND * 6), "the wire repeated it");
        assert!(!memory.may_be_repeated(&[1; 32], true, SECOND * 30), "too late for the wire");
    }

    #[test]
    fn an_answer_on_a_connection_that_broke_may_be_lost() {
        let mut memory = Memory::default();
        memory.arrived([1; 32], SECOND, SECOND * 5);
        memory.arrived([2; 32], SECOND, SECOND * 90);
        memory.link_lost(SECOND * 100);
        assert!(!memory.may_be_repeated(&[1; 32], false, SECOND * 101));
        assert!(memory.may_be_repeated(&[2; 32], false, SECOND * 101));
        for number in 0..200 {
            memory.arrived([number; 32], SECOND, SECOND);
        }
        assert_eq!(memory.told.len(), REMEMBERED);
    }
}
