//! What is asked on one connection, and what is told: each order once, within its time, and only while the link is alive.

use std::time::Duration;

use lockbridge_protocol::fias::key::{KeyRecord, KeyRecordKind};
use lockbridge_protocol::fias::serial::{Delivery, Repeat};
use lockbridge_protocol::fias::wire::RecordTicket;
use tracing::{debug, info, warn};

use super::super::{answer, request};
use super::Session;
use crate::dispatch::{DeskAnswer, DeskAnswers, DeskOrderRequest, EngineRequest};
use crate::limits::DESK_PENDING;

/// Asking the engine means waiting for a place in its queue, never longer.
const ENGINE_WAIT: Duration = Duration::from_secs(5);
/// Our answer leaves this long before the property software stops waiting.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);

/// An order that waits for its answer.
#[derive(Debug)]
pub(super) struct Pending {
    ticket: u64,
    record: KeyRecord,
    request: [u8; 32],
    asked: Duration,
    pub(super) deadline: Duration,
}

/// An answer whose acknowledgement is awaited.
#[derive(Debug)]
pub(super) struct Told {
    wire: RecordTicket,
    request: [u8; 32],
    asked: Duration,
}

impl Session<'_> {
    pub(super) async fn order(&mut self, record: KeyRecord, request: [u8; 32], is_repeated: bool) {
        let now = self.now();
        let deadline = now.saturating_add(self.patience());
        if self.pending.iter().any(|pending| pending.request == request) {
            debug!(
                front_desk = self.desk.config.name,
                "A record came again while it is carried out; it is answered once."
            );
            return;
        }
        self.next_ticket = self.next_ticket.wrapping_add(1);
        let ticket = self.next_ticket;
        let pending = Pending { ticket, record, request, asked: now, deadline };
        let config = &self.desk.config;
        info!(front_desk = config.name, record = %pending.record.kind.id(), encoder = pending.record.encoder, "The front desk asks.");
        let wish = match request::wish(&pending.record, config, self.desk.clock.wall_ms()) {
            Ok(wish) => wish,
            Err(unusable) => {
                info!(front_desk = config.name, reason = unusable.0, "The front desk's record is no order.");
                let answer = answer::unusable(&pending.record, &unusable.0);
                return self.tell(pending, answer);
            }
        };
        if self.pending.len() >= DESK_PENDING {
            let answer = answer::answer(&pending.record, &DeskAnswer::Busy, config);
            return self.tell(pending, answer);
        }
        let order = DeskOrderRequest {
            desk: config.name.clone(),
            lock_system: config.lock_system.clone(),
            encoder: request::encoder(&pending.record.encoder, config),
            wish,
            request,
            may_be_repeated: self.memory.may_be_repeated(&request, is_repeated, now),
        };
        let answers = DeskAnswers::new(ticket, self.answers.clone());
        let asked = EngineRequest::FrontDesk { order: Box::new(order), answers };
        if let Ok(Ok(())) = tokio::time::timeout(ENGINE_WAIT, self.desk.engine.send(asked)).await {
            self.pending.push(pending);
        } else {
            let stopped = DeskAnswer::Refused { code: "draining".to_owned(), message: String::new() };
            let answer = answer::answer(&pending.record, &stopped, config);
            self.tell(pending, answer);
        }
    }

    /// How long an order may take: as configured, and less if the property software told that it waits less.
    fn patience(&self) -> Duration {
        let told = self.link.configuration().and_then(|told| told.key_timeout_seconds).filter(|seconds| *seconds > 1);
        let own = self.desk.config.answer_timeout;
        told.map_or(own, |seconds| own.min(Duration::from_secs(u64::from(seconds)).saturating_sub(ANSWER_MARGIN)))
    }

    /// Orders whose time is over are answered with what is known.
    pub(super) fn overdue(&mut self) {
        let now = self.now();
        while let Some(at) = self.pending.iter().position(|pending| pending.deadline <= now) {
            let pending = self.pending.swap_remove(at);
            let is_card = matches!(pending.record.kind, KeyRecordKind::Request | KeyRecordKind::Read);
            let answer = answer::overdue(&pending.record, is_card);
            self.tell(pending, answer);
        }
    }

    pub(super) fn answer(&mut self, ticket: u64, told: &DeskAnswer) {
        let Some(at) = self.pending.iter().position(|pending| pending.ticket == ticket) else {
            // Its time was over; the engine's reports tell what came of it.
            return;
        };
        if *told == DeskAnswer::Asking {
            // The lock system may tell while somebody still waits; else the deadline answers.
            return;
        }
        let pending = self.pending.swap_remove(at);
        if let DeskAnswer::Refused { code, message } = told {
            info!(front_desk = self.desk.config.name, code, reason = message, "The front desk's order was refused.");
        }
        let answer = answer::answer(&pending.record, told, &self.desk.config);
        self.tell(pending, answer);
    }

    pub(super) fn tell(&mut self, pending: Pending, mut answer: KeyRecord) {
        if !self.link.is_alive() {
            if self.ready.len() < DESK_PENDING {
                self.ready.push((pending, answer));
            }
            return;
        }
        answer.sent_at = Some(self.moment().local);
        let config = &self.desk.config;
        info!(front_desk = config.name, status = answer.status, text = answer.text, "The front desk is answered.");
        // Who heard that it is not known has not heard how it ended: asking again is no wish for another card.
        let is_end = !answer::is_open(&answer);
        let body = answer.write(None, config.code_page).or_else(|_| {
            // What came in cannot always be said back: without what is not needed, it is plain.
            let plain = KeyRecord { reservation: String::new(), room: "-".to_owned(), ..answer };
            plain.write(None, config.code_page)
        });
        let body = match body {
            Ok(body) => body,
            Err(error) => {
                warn!(front_desk = config.name, %error, "An answer cannot be written; the front desk waits in vain.");
                return;
            }
        };
        match self.wire.send(&body, Repeat::AsSpecified, self.now()) {
            Ok(_) if !is_end => {}
            Ok(wire) if self.wire.acknowledges() => {
                self.told.push(Told { wire, request: pending.request, asked: pending.asked });
            }
            Ok(_) => self.memory.arrived(pending.request, pending.asked, self.now()),
            Err(error) => warn!(front_desk = config.name, %error, "An answer was not sent."),
        }
    }

    pub(super) fn delivered(&mut self, ticket: RecordTicket, delivery: Delivery) {
        let Some(at) = self.told.iter().position(|told| told.wire == ticket) else { return };
        let told = self.told.swap_remove(at);
        if delivery == Delivery::Acknowledged {
            self.memory.arrived(told.request, told.asked, self.now());
        } else {
            warn!(front_desk = self.desk.config.name, ?delivery, "The front desk did not acknowledge an answer.");
        }
    }
}
