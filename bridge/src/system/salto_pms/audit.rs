//! Reading the audit trails of doors: one request at a time, only while nobody else wants the line.
//!
//! One door after the other is read from its first record to its last, or until a round has had its share; the next round then
//! goes on where this one stopped. A request is short, so somebody at the front desk waits for one of them at most. An answer
//! that is lost keeps the line as any lost answer does (`hold_s`).

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use lockbridge_protocol::proto::tunnel::AccessEvent;
use lockbridge_protocol::salto_pms::answer::Answer;
use lockbridge_protocol::salto_pms::audit::AuditRecord;
use lockbridge_protocol::salto_pms::error_code::AUDIT_ERROR;
use lockbridge_protocol::salto_pms::request::{AuditStep, Request};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::SaltoPms;
use super::errors::{Attempt, UNCATEGORIZED, refused};
use super::job::Obstacle;
use super::trail::{Pass, Trails, event};
use crate::config::AuditDoor;
use crate::system::{Intake, OperationError, Retry};

/// Records of one door in one round.
const ROUND: usize = 200;
/// Events handed on at once.
const PIECE: usize = 100;
/// Between looks whether the line is free.
const GLANCE: Duration = Duration::from_millis(50);

/// Where reading stands at one door.
#[derive(Debug, Default)]
struct Place {
    pass: Pass,
    /// The pass has begun, and goes on with the next record.
    is_under_way: bool,
    /// Which opening of the line it began on: the server's place in the trail belongs to that.
    opening: u64,
    /// The server said that it does not know the door.
    is_unknown: bool,
}

impl SaltoPms {
    pub(super) async fn take_in_trails(
        &self,
        cursor: String,
        intake: mpsc::Sender<Intake>,
    ) -> Result<(), OperationError> {
        let doors = &self.config.audit_doors;
        if doors.is_empty() {
            intake.closed().await;
            return Ok(());
        }
        let mut trails = Trails::read(&cursor);
        trails.keep(doors.iter().map(|door| door.name.as_str()), self.local_now());
        // From here on nothing is lost, even if we stop before the first event.
        if !deliver(&intake, Vec::new(), &trails).await {
            return Ok(());
        }
        let mut places: Vec<Place> = doors.iter().map(|_| Place::default()).collect();
        loop {
            for (door, place) in doors.iter().zip(&mut places) {
                if !self.read_door(door, place, &mut trails, &intake).await? {
                    return Ok(());
                }
            }
            tokio::select! {
                () = intake.closed() => return Ok(()),
                () = sleep(self.config.audit_pause) => {}
            }
        }
    }

    /// One door, for one round. `false`: nobody listens any more.
    async fn read_door(
        &self,
        door: &AuditDoor,
        place: &mut Place,
        trails: &mut Trails,
        intake: &mpsc::Sender<Intake>,
    ) -> Result<bool, OperationError> {
        let mut events = Vec::new();
        for _ in 0..ROUND {
            tokio::select! {
                () = intake.closed() => return Ok(false),
                () = self.line_is_free() => {}
            }
            let opening = self.statistics.status().reconnects;
            let step = if place.is_under_way && place.opening == opening {
                AuditStep::Next
            } else {
                *place = Place { opening, is_unknown: place.is_unknown, ..Place::default() };
                AuditStep::First
            };
            let read = match self.read_record(&door.name, step).await {
                Ok(read) => read,
                Err(error) => {
                    // What was read is not lost with the rest.
                    return if deliver_some(intake, events, trails).await { Err(error) } else { Ok(false) };
                }
            };
            match read {
                Read::Record(record) => {
                    place.is_under_way = true;
                    place.is_unknown = false;
                    let now = self.local_now();
                    if let Some(taken) = trails.take(&door.name, &mut place.pass, &record, now) {
                        events.push(event(&record, taken, &door.entrance, &self.zone, self.config.mobile_keys));
                    }
                }
                Read::End => {
                    place.is_under_way = false;
                    break;
                }
                Read::Unknown => {
                    if !place.is_unknown {
                        let lock_system = self.description.lock_system.as_str();
                        tracing::warn!(
                            lock_system,
                            door = door.name,
                            "The server tells no audit trail of this door: look at its name in `audit_doors`."
                        );
                    }
                    (place.is_under_way, place.is_unknown) = (false, true);
                    break;
                }
            }
            if events.len() >= PIECE && !deliver(intake, std::mem::take(&mut events), trails).await {
                return Ok(false);
            }
        }
        Ok(deliver_some(intake, events, trails).await)
    }

    async fn read_record(&self, door: &str, step: AuditStep) -> Result<Read, OperationError> {
        let doing = format!("read the audit trail of door {door}");
        let request = Request::Audit { step, door: door.to_owned() };
        match self.exchange(&request, Attempt::Read, &doing, Instant::now() + self.call_timeout).await {
            Ok(Answer::Audit(record)) => Ok(Read::Record(record)),
            Ok(Answer::AuditEnd) => Ok(Read::End),
            Ok(_) => {
                Err(refused(UNCATEGORIZED, format!("could not {doing}: the answer tells no record"), Retry::Later))
            }
            Err(error) if error.vendor_code == AUDIT_ERROR => Ok(Read::Unknown),
            Err(error) => Err(error),
        }
    }

    /// Nobody else is on the line or waits for it.
    async fn line_is_free(&self) {
        loop {
            let jobs = self.jobs();
            let is_taken = matches!(self.board.obstacle(), Obstacle::Busy | Obstacle::Held(_));
            if jobs.capacity() == jobs.max_capacity() && !is_taken {
                return;
            }
            sleep(GLANCE).await;
        }
    }

    /// What the server's clock shows, if it is right.
    fn local_now(&self) -> DateTime {
        self.zone.to_datetime(Timestamp::now())
    }
}

enum Read {
    Record(Box<AuditRecord>),
    End,
    Unknown,
}

async fn deliver_some(intake: &mpsc::Sender<Intake>, events: Vec<AccessEvent>, trails: &Trails) -> bool {
    events.is_empty() || deliver(intake, events, trails).await
}

/// `false`: nobody listens any more.
async fn deliver(intake: &mpsc::Sender<Intake>, events: Vec<AccessEvent>, trails: &Trails) -> bool {
    intake.send(Intake::Events { events, cursor: trails.cursor() }).await.is_ok()
}
