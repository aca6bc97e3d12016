//! Sequences in order, and credits: the arithmetic both machines share.
//!
//! Deliveries and reports flow alike: numbered without gaps, resent from a cursor at the start of a session, acknowledged
//! cumulatively. One end holds an [`Outgoing`], the other an [`Incoming`]. An acknowledgement may run ahead of what this
//! session has sent, because the receiver may still be making durable what an earlier session brought; then both ends skip.

use crate::proto::tunnel::{Priority, PriorityCredit};

/// The receiving end of one numbered flow.
#[derive(Debug)]
pub(super) struct Incoming {
    expected: u64,
    acknowledged: u64,
}

impl Incoming {
    /// A flow whose values up to `through` are durable here.
    pub(super) fn after(through: u64) -> Self {
        Self { expected: through.saturating_add(1), acknowledged: through }
    }

    /// Takes the next value; the sequence that was due, if another came.
    pub(super) fn accept(&mut self, sequence: u64) -> Result<(), u64> {
        let furthest = self.expected.max(self.acknowledged.saturating_add(1));
        if sequence < self.expected || sequence > furthest {
            return Err(self.expected);
        }
        self.expected = sequence.saturating_add(1);
        Ok(())
    }

    /// Records that all up to `through` is durable; whether that is news.
    pub(super) fn acknowledge(&mut self, through: u64) -> bool {
        let news = through > self.acknowledged;
        self.acknowledged = self.acknowledged.max(through);
        news
    }

    /// All up to here is durable.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Values received and not acknowledged.
    pub(super) fn in_flight(&self) -> u64 {
        self.expected.saturating_sub(1).saturating_sub(self.acknowledged)
    }
}

/// The sending end of one numbered flow.
#[derive(Debug)]
pub(super) struct Outgoing {
    next: u64,
    last: u64,
    acknowledged: u64,
}

impl Outgoing {
    /// A flow of which the peer holds all up to `through`, and which has been numbered up to `last`.
    pub(super) fn after(through: u64, last: u64) -> Self {
        Self { next: through.saturating_add(1), last: last.max(through), acknowledged: through }
    }

    /// Next sequence to send.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Highest sequence that exists.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// More values exist now.
    pub(super) fn grow(&mut self, last: u64) {
        self.last = self.last.max(last);
    }

    /// The next value was sent.
    pub(super) fn sent(&mut self) {
        self.last = self.last.max(self.next);
        self.next = self.next.saturating_add(1);
    }

    /// The peer holds all up to `through`; whether that is news. The last sequence that exists, if it claims more.
    pub(super) fn acknowledge(&mut self, through: u64) -> Result<bool, u64> {
        if through > self.last {
            return Err(self.last);
        }
        let news = through > self.acknowledged;
        self.acknowledged = self.acknowledged.max(through);
        self.next = self.next.max(self.acknowledged.saturating_add(1));
        Ok(news)
    }

    /// Values sent and not acknowledged.
    pub(super) fn in_flight(&self) -> u64 {
        self.next.saturating_sub(1).saturating_sub(self.acknowledged)
    }
}

/// Running totals of one session by priority: what may be sent against what was sent.
#[derive(Debug, Default)]
pub(super) struct Credits {
    granted: [u64; 4],
    used: [u64; 4],
}

impl Credits {
    /// Raises the totals; a lower total than before is ignored, credit once given is not taken back. Whether any grew.
    pub(super) fn grant(&mut self, totals: [u64; 4]) -> bool {
        let mut news = false;
        for (held, total) in self.granted.iter_mut().zip(totals) {
            news |= total > *held;
            *held = (*held).max(total);
        }
        news
    }

    /// Uses one unit; the total granted, if it is spent.
    pub(super) fn take(&mut self, priority: Priority) -> Result<(), u64> {
        let granted = self.granted.get(slot(priority)).copied().unwrap_or_default();
        if self.used.get(slot(priority)).is_none_or(|used| *used >= granted) {
            return Err(granted);
        }
        self.overdraw(priority);
        Ok(())
    }

    /// Uses one unit, granted or not.
    pub(super) fn overdraw(&mut self, priority: Priority) {
        if let Some(used) = self.used.get_mut(slot(priority)) {
            *used = used.saturating_add(1);
        }
    }

    /// What may still be sent, in the order safety, interactive, convergent, background.
    pub(super) fn room(&self) -> [u64; 4] {
        let mut room = self.granted;
        for (left, used) in room.iter_mut().zip(self.used) {
            *left = left.saturating_sub(used);
        }
        room
    }
}

const ORDER: [Priority; 4] = [Priority::Safety, Priority::Interactive, Priority::Convergent, Priority::Background];

/// Place of a priority in `[u64; 4]` arrays. What has no priority counts as background: the least it could be.
pub fn slot(priority: Priority) -> usize {
    ORDER.iter().position(|held| *held == priority).unwrap_or(3)
}

/// Totals as the wire carries them.
pub(super) fn to_wire(totals: [u64; 4]) -> Vec<PriorityCredit> {
    ORDER.iter().zip(totals).map(|(priority, total)| PriorityCredit { priority: i32::from(*priority), total }).collect()
}

/// Totals from the wire; priorities this version does not know are left out.
pub(super) fn from_wire(credits: &[PriorityCredit]) -> [u64; 4] {
    let mut totals = [0; 4];
    for credit in credits {
        let known = ORDER.iter().position(|priority| *priority == credit.priority());
        if let Some(total) = known.and_then(|place| totals.get_mut(place)) {
            *total = credit.total;
        }
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incoming_refuses_gaps_and_repeats_but_skips_what_is_durable() {
        let mut flow = Incoming::after(4);
        assert_eq!(flow.accept(4), Err(5));
        assert_eq!(flow.accept(6), Err(5));
        assert_eq!(flow.accept(5), Ok(()));
        assert_eq!(flow.in_flight(), 1);
        assert!(flow.acknowledge(8), "an earlier session brought 6 to 8");
        assert_eq!(flow.accept(10), Err(6));
        assert_eq!(flow.accept(9), Ok(()));
        assert_eq!(flow.in_flight(), 1);
        assert!(!flow.acknowledge(8));
    }

    #[test]
    fn outgoing_knows_what_was_never_sent() {
        let mut flow = Outgoing::after(4, 6);
        assert_eq!((flow.next(), flow.last(), flow.in_flight()), (5, 6, 0));
        assert_eq!(flow.acknowledge(7), Err(6));
        flow.sent();
        assert_eq!(flow.acknowledge(6), Ok(true), "the peer held 6 from an earlier session");
        assert_eq!((flow.next(), flow.in_flight()), (7, 0));
        assert_eq!(flow.acknowledge(5), Ok(false));
        flow.sent();
        assert_eq!((flow.last(), flow.in_flight()), (7, 1));
    }

    #[test]
    fn credit_is_a_running_total_per_priority() {
        let mut credits = Credits::default();
        assert_eq!(credits.take(Priority::Safety), Err(0));
        assert!(credits.grant([1, 0, 2, 0]));
        assert!(!credits.grant([1, 0, 1, 0]), "credit is not taken back");
        assert_eq!(credits.room(), [1, 0, 2, 0]);
        assert_eq!(credits.take(Priority::Convergent), Ok(()));
        assert_eq!(credits.take(Priority::Convergent), Ok(()));
        assert_eq!(credits.take(Priority::Convergent), Err(2));
        assert_eq!(credits.take(Priority::Safety), Ok(()), "priorities do not share");
        assert_eq!(credits.room(), [0, 0, 0, 0]);
    }

    #[test]
    fn totals_cross_the_wire() {
        assert_eq!(from_wire(&to_wire([4, 3, 2, 1])), [4, 3, 2, 1]);
        assert_eq!(from_wire(&[PriorityCredit { priority: 77, total: 9 }]), [0; 4]);
    }
}
