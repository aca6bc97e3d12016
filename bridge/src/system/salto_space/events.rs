//! Door events: the audit trail, read on from a cursor. It is complete and survives outages; the event stream, when there
//! is one, only says *when* to read, so that no event comes twice and none depends on a datagram.

use lockbridge_protocol::proto::tunnel::{AccessEvent, AccessEventKind};
use lockbridge_protocol::ship::call::ReadAuditTrail;
use lockbridge_protocol::ship::entity::AuditEvent;
use lockbridge_protocol::ship::enumeration::{ShowDoorIdAs, ShowUserIdAs, SubjectType};
use lockbridge_protocol::ship::operation;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::errors::{UNCATEGORIZED, refused};
use super::stream::StreamListener;
use super::{SaltoSpace, mapping};
use crate::system::{Intake, OperationError, Retry};

/// Events of one page and of one intake.
const PAGE: u32 = 100;

impl SaltoSpace {
    pub(super) async fn take_in_events(
        &self,
        cursor: String,
        intake: mpsc::Sender<Intake>,
    ) -> Result<(), OperationError> {
        let mut listener = self.listen().await?;
        let mut next = self.first_event(&cursor).await?;
        if next.to_string() != cursor {
            // From here on nothing is lost, even if we stop before the first event.
            if !deliver(&intake, Vec::new(), next).await {
                return Ok(());
            }
        }
        loop {
            let events = self.read_trail(Some(next), false, PAGE).await?;
            let is_full = events.len() >= usize::try_from(PAGE).unwrap_or(usize::MAX);
            // A server that ignores the start would repeat old events for ever.
            let fresh: Vec<AuditEvent> =
                events.into_iter().filter(|event| event.event_id.is_some_and(|id| id >= next)).collect();
            match fresh.iter().filter_map(|event| event.event_id).max() {
                Some(last) => {
                    next = last.saturating_add(1);
                    let events = fresh.iter().map(|event| self.access_event(event)).collect();
                    if !deliver(&intake, events, next).await {
                        return Ok(());
                    }
                }
                None if is_full => {
                    let message =
                        format!("could not read the audit trail from event {next}: the server sends older ones");
                    return Err(refused(UNCATEGORIZED, message, Retry::Later));
                }
                None => {}
            }
            if is_full {
                continue;
            }
            tokio::select! {
                () = intake.closed() => return Ok(()),
                () = sleep(self.config.audit_interval) => {}
                () = listener.event() => {}
            }
        }
    }

    async fn listen(&self) -> Result<StreamListener, OperationError> {
        let Some(config) = &self.config.event_stream else { return Ok(StreamListener::none()) };
        StreamListener::open(config).await.map_err(|error| {
            let message = format!("could not listen for the event stream on {}: {error}", config.listen);
            refused(UNCATEGORIZED, message, Retry::Later)
        })
    }

    /// Where to go on: the cursor, or after the newest event. A trail that is shorter than the cursor was restored from a
    /// backup or emptied; waiting for it to catch up would hide every event until then.
    async fn first_event(&self, cursor: &str) -> Result<i64, OperationError> {
        let newest = self.read_trail(None, true, 1).await?;
        let after_newest = newest.iter().filter_map(|event| event.event_id).max().map(|id| id.saturating_add(1));
        match (cursor.parse::<i64>(), after_newest) {
            (Ok(cursor), Some(after_newest)) if cursor > after_newest => {
                tracing::warn!(
                    lock_system = self.description.lock_system,
                    cursor,
                    after_newest,
                    "the audit trail is shorter than before: reading goes on at its end"
                );
                Ok(after_newest)
            }
            (Ok(cursor), _) => Ok(cursor),
            (Err(_), after_newest) => Ok(after_newest.unwrap_or(1)),
        }
    }

    async fn read_trail(
        &self,
        starting_from: Option<i64>,
        descending: bool,
        max_count: u32,
    ) -> Result<Vec<AuditEvent>, OperationError> {
        let call = ReadAuditTrail {
            max_count,
            starting_from,
            filter: None,
            doors_as: ShowDoorIdAs::ExternalId,
            users_as: ShowUserIdAs::ExternalId,
            descending,
            in_utc: false,
        };
        self.read(&call, "read the audit trail").await
    }

    fn access_event(&self, event: &AuditEvent) -> AccessEvent {
        let number = event.operation.unwrap_or_default();
        let operation = operation::lookup(number);
        let is_person = event.subject_type == Some(SubjectType::Cardholder);
        let subject = event.subject.as_ref().filter(|_| is_person).map(|subject| subject.0.clone()).unwrap_or_default();
        let method = match operation.method {
            // A phone opens as a card does, so where there are phones it could be either.
            "card" if self.config.mobile_keys => "unknown",
            "" if operation.kind == AccessEventKind::Unlocked => "unknown",
            method => method,
        };
        AccessEvent {
            event_external_id: event.event_id.map(|id| id.to_string()).unwrap_or_default(),
            occurred_at_ms: event.time.and_then(|local| self.time.moment(local)).unwrap_or_default(),
            kind: operation.kind.into(),
            entrance_external_id: event.door.clone().unwrap_or_default(),
            user_id: mapping::user_id(&subject).unwrap_or_default(),
            user_external_id: subject,
            method: method.to_owned(),
            denied_reason: operation.denied_reason.to_owned(),
            operation: u32::try_from(number).unwrap_or_default(),
            operation_text: operation.text.to_owned(),
            is_exit: event.is_exit.unwrap_or_default(),
        }
    }
}

/// `false`: nobody listens any more.
async fn deliver(intake: &mpsc::Sender<Intake>, events: Vec<AccessEvent>, next: i64) -> bool {
    intake.send(Intake::Events { events, cursor: next.to_string() }).await.is_ok()
}
