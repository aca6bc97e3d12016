//! Deliveries: what is wanted next, and as many of them sent as credit allows.

use super::super::{priority_of, slot};
use super::{DeliverError, HubAction, HubSession, Phase, Wanted, close_for};
use crate::limits::COMMAND_BYTES;
use crate::proto::tunnel::{Delivery, DeliveryBatch, Priority, hub_frame as body};
use crate::tunnel::frame;

impl HubSession {
    /// What could be sent now.
    pub fn wanted(&self) -> Wanted {
        if !self.may_deliver() {
            return Wanted::Nothing;
        }
        let (from, through) = (self.deliveries.next(), self.deliveries.last());
        if !self.credited {
            return Wanted::Nothing;
        }
        if from <= self.numbered_before {
            return Wanted::Resend { from, through: self.numbered_before };
        }
        let room = self.room();
        if self.blocked || room == [0; 4] {
            return Wanted::Nothing;
        }
        if from <= through { Wanted::Resend { from, through } } else { Wanted::New { from, room } }
    }

    /// Sends a prefix of `deliveries`: as many, from the first on, as credit allows. Says how many are dealt with (sent, or
    /// decided by the bridge meanwhile); the rest is to be offered again when [`wanted`](Self::wanted) names it.
    pub fn deliver(&mut self, deliveries: Vec<Delivery>) -> Result<(usize, Vec<HubAction>), DeliverError> {
        if !self.may_deliver() {
            return Ok((0, Vec::new()));
        }
        // All that is offered is numbered, and so comes before anything new even if credit ends before it.
        if !self.credited {
            return Ok((0, Vec::new()));
        }
        let offered = deliveries.last().map_or(0, |last| last.delivery_sequence);
        let mut taken = 0_usize;
        let mut due = Vec::new();
        let mut failed = None;
        for delivery in deliveries {
            let (sequence, expected) = (delivery.delivery_sequence, self.deliveries.next());
            if sequence < expected && due.is_empty() {
                taken = taken.saturating_add(1);
                continue;
            }
            let size = delivery.command.as_ref().map_or(0, prost::Message::encoded_len);
            if sequence != expected {
                failed = Some(DeliverError::OutOfOrder { expected, found: sequence });
                break;
            }
            if size > COMMAND_BYTES || size == 0 {
                failed = Some(DeliverError::TooLarge { sequence, size });
                break;
            }
            if sequence <= self.numbered_before {
                self.credits.overdraw(priority_of(&delivery));
            } else if self.credits.take(priority_of(&delivery)).is_err() {
                self.blocked = true;
                break;
            }
            self.deliveries.sent();
            taken = taken.saturating_add(1);
            due.push(delivery);
        }
        if failed.is_none() {
            self.deliveries.grow(offered);
        }
        // What was good before a mistake is sent: it is numbered and holds credit.
        let mut actions = Vec::new();
        for deliveries in frame::batches(due) {
            let sent = self.send(body::Body::Deliveries(DeliveryBatch { deliveries }), &mut actions);
            if let Err(end) = sent {
                self.phase = Phase::Ended;
                actions.push(HubAction::Close(close_for(&end), end));
            }
        }
        match failed {
            Some(error) if actions.is_empty() => Err(error),
            _ => Ok((taken, actions)),
        }
    }

    /// Whether a command of this priority could be sent now, once what is numbered before it is sent.
    pub fn has_room(&self, priority: Priority) -> bool {
        self.may_deliver() && self.room().get(slot(priority)).is_some_and(|room| *room > 0)
    }

    /// Credit, less what a bridge in quarantine is not given (rule H9).
    fn room(&self) -> [u64; 4] {
        let [safety, interactive, convergent, background] = self.credits.room();
        if self.quarantine.is_some() && self.deliveries.next() > self.deliveries.last() {
            [safety, 0, 0, background]
        } else {
            [safety, interactive, convergent, background]
        }
    }

    fn may_deliver(&self) -> bool {
        self.phase == Phase::Open && !self.bridge_drains && self.close_at.is_none()
    }
}
