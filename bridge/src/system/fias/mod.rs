//! A lock vendor's key service that speaks FIAS: the bridge plays the property software (PMS) and asks it for keys.
//!
//! * `driver`: the owner of the line: the link, one open request for each encoder, whose answer is whose. `job`: the way to it.
//! * `request`: our words and the protocol's. `errors`: what became of a request, in the words of the model.
//!
//! A key service that is *on-line* (`on_line`) tracks keys by reservation number (`G#`): all keys of a stay are made with one
//! number, and its end is changed (`KM`) or it is checked out (`KD`) by that number, so that other keys of the room stay as they
//! are. One key is then for one room: of a stay whose keys open several, single rooms cannot be given or taken by number. A move
//! (`KM` with `RO`) is not asked for: the model ends the stay in one room and makes a key for the other, and a key that was
//! moved without being made would be nobody's in its books.
//!
//! Promises: a request for a key goes out once, and again only if the other side certainly dropped it; silence after sending is
//! told as not certain; a late answer belongs to no other request, because its encoder is held until none can come any more;
//! names and dates that the protocol cannot carry are refused before anything is sent. Never: keeps a record of a person.

mod driver;
mod errors;
mod job;
mod request;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::tz::TimeZone;
use lockbridge_protocol::fias::code::status;
use lockbridge_protocol::fias::key::KeyRecord;
use lockbridge_protocol::fias::key_table::OpenError;
use lockbridge_protocol::proto::tunnel::InventoryItem;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use self::driver::{Driver, Source};
use self::errors::{Attempt, INVALID, answered_no, refused, unanswered};
use self::job::{Ask, Board, Job, Outcome};
use self::request::{NoWords, Words};
use super::key_service::{encoder, entrance, hand_on};
use super::turn::{LEAST_TURN, QUEUE};
use super::{
    Description, EffectClass, Intake, KeyService, KeyTarget, LockSystem, Operation, OperationError, Performed, Probe,
    Retry, UserObservation,
};
use crate::config::{FiasConfig, LockSystemConfig};
use crate::link::{Limits, LineStatus, Opener, Statistics};

/// Rooms that fit on one key: the main one and the list of further ones.
const ROOMS_ON_KEY: usize = 33;
/// Between two requests to an encoder that says it is busy, which proves that nothing began.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// One key service.
#[derive(Debug)]
pub struct Fias {
    description: Description,
    config: FiasConfig,
    zone: TimeZone,
    call_timeout: Duration,
    statistics: Arc<Statistics>,
    board: Arc<Board>,
    jobs: OnceLock<mpsc::Sender<Job>>,
    /// The owner of the line; it ends with this.
    owner: Mutex<JoinSet<()>>,
}

impl Fias {
    /// Prepares the adapter. The line is opened by the first question.
    pub fn new(system: &LockSystemConfig, config: FiasConfig) -> Self {
        let description = Description {
            lock_system: system.name.clone(),
            kind: "fias",
            display_name: system.display_name.clone(),
            time_zone: system.time_zone_name.clone(),
            keeps_people: false,
            keys: Some(KeyService {
                rooms: config.rooms.iter().map(|room| room.entrance.clone()).collect(),
                areas: config.options.iter().map(|option| option.entrance.clone()).collect(),
                rooms_on_key: if config.on_line { 1 } else { ROOMS_ON_KEY },
                checks_out: config.check_out,
                // A change names the reservation that a key was made for: others than on-line key services forget it.
                changes_stays: config.on_line,
                early_keys: config.early_keys,
                mobile_keys: false,
            }),
        };
        Self {
            description,
            config,
            zone: system.time_zone.clone(),
            call_timeout: system.call_timeout,
            statistics: Statistics::new(system.name.clone()),
            board: Board::new(),
            jobs: OnceLock::new(),
            owner: Mutex::new(JoinSet::new()),
        }
    }

    fn jobs(&self) -> &mpsc::Sender<Job> {
        self.jobs.get_or_init(|| {
            let statistics = Arc::clone(&self.statistics);
            self.start(Opener::new(self.config.endpoint.clone(), Limits::default(), statistics))
        })
    }

    fn start(&self, source: impl Source) -> mpsc::Sender<Job> {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let (board, statistics) = (Arc::clone(&self.board), Arc::clone(&self.statistics));
        let name = self.description.lock_system.clone();
        let driver = Driver::new(source, waiting, board, statistics, &self.config, self.zone.clone(), name);
        self.owner.lock().unwrap_or_else(PoisonError::into_inner).spawn(driver.run());
        jobs
    }

    fn words(&self) -> Words<'_> {
        Words { config: &self.config, zone: &self.zone }
    }

    /// One request and its answer. An encoder that says it is busy is asked again until `begin_by`.
    async fn exchange(
        &self,
        request: &KeyRecord,
        attempt: Attempt,
        doing: &str,
        begin_by: Instant,
    ) -> Result<KeyRecord, OperationError> {
        loop {
            let may_wait = Instant::now() + BUSY_PAUSE < begin_by;
            let ask = Ask { record: request.clone(), timeout: self.config.answer_timeout };
            match job::ask(self.jobs(), ask, begin_by).await {
                Outcome::Answered(answer) => match status(&answer.status) {
                    Some(row) if row.is_success => return Ok(*answer),
                    Some(row) if row.code == "BY" && may_wait => sleep(BUSY_PAUSE).await,
                    _ => return Err(answered_no(attempt, doing, &answer, self.config.trust_encoder_errors)),
                },
                Outcome::NotOpened(OpenError::Busy | OpenError::Held { .. }) if may_wait => sleep(BUSY_PAUSE).await,
                outcome => return Err(unanswered(attempt, doing, &outcome)),
            }
        }
    }

    /// Somebody stands at the encoder: the request begins so early that its answer can be waited for, or never.
    fn encoder_turn(&self, deadline: Duration) -> Instant {
        Instant::now() + deadline.saturating_sub(self.config.answer_timeout).max(LEAST_TURN)
    }

    async fn encode(&self, encoder: &str, key: &KeyTarget, deadline: Duration) -> Result<Performed, OperationError> {
        let words = self.words();
        let what = if key.kind == super::KeyKind::New { "new key" } else { "duplicate" };
        let room = key.rooms.first().map(String::as_str).unwrap_or_default();
        let doing = format!("write a {what} for room {room} on encoder {encoder}");
        let request = words.key(key, encoder).map_err(|error| no_words(&doing, &error))?;
        let answer = self.exchange(&request, Attempt::Encode, &doing, self.encoder_turn(deadline)).await?;
        let serial = answer.track_two.trim();
        let is_serial = !serial.is_empty() && serial.bytes().all(|byte| byte.is_ascii_hexdigit());
        Ok(Performed {
            card_number: if is_serial { serial.to_ascii_uppercase() } else { String::new() },
            key_valid_until_ms: words.end_of(&request),
            detail: format!("the encoder wrote a {what}"),
            ..Performed::default()
        })
    }

    async fn read_card(&self, encoder: &str, deadline: Duration) -> Result<Performed, OperationError> {
        let doing = format!("read the card on encoder {encoder}");
        let words = self.words();
        let request = words.read(encoder);
        let answer = self.exchange(&request, Attempt::Read, &doing, self.encoder_turn(deadline)).await?;
        let (card, key) = words.seen(&answer);
        let detail = "the encoder read a card".to_owned();
        Ok(Performed { card_on_encoder: Some(card), key_seen: Some(Box::new(key)), detail, ..Performed::default() })
    }

    async fn change_stay(
        &self,
        room: &str,
        stay: &str,
        ends_at_ms: i64,
        deadline: Duration,
    ) -> Result<Performed, OperationError> {
        let doing = format!("change the end of the stay in room {room}");
        let request = self.words().change(room, stay, ends_at_ms).map_err(|error| no_words(&doing, &error))?;
        self.exchange(&request, Attempt::Database, &doing, Instant::now() + deadline).await?;
        Ok(Performed::default())
    }

    async fn check_out(&self, room: &str, stay: &str, deadline: Duration) -> Result<Performed, OperationError> {
        let doing = format!("end the keys of room {room}");
        let request = self.words().end(room, stay).map_err(|error| no_words(&doing, &error))?;
        match self.exchange(&request, Attempt::Database, &doing, Instant::now() + deadline).await {
            // Ended already, by somebody else: what was asked for is so.
            Err(error) if error.vendor_code != "DE" => Err(error),
            _ => Ok(Performed::default()),
        }
    }

    async fn act(&self, operation: &Operation, deadline: Duration) -> Result<Performed, OperationError> {
        match operation {
            Operation::Encode { encoder, key, .. } => self.encode(encoder, key, deadline).await,
            Operation::ReadCard { encoder } => self.read_card(encoder, deadline).await,
            Operation::CheckOut { room, stay } => self.check_out(room, stay, deadline).await,
            Operation::ChangeStay { room, stay, ends_at_ms } if self.config.on_line => {
                self.change_stay(room, stay, *ends_at_ms, deadline).await
            }
            Operation::ApplyUser(_)
            | Operation::DeleteUser { .. }
            | Operation::SendKey { .. }
            | Operation::ChangeStay { .. }
            | Operation::AssignCard { .. }
            | Operation::CancelKey { .. }
            | Operation::Unlock { .. } => {
                let message =
                    "a key service makes and ends keys of rooms: it keeps no people, and opens no doors from afar";
                Err(refused("not_supported", message.to_owned(), Retry::Never))
            }
        }
    }

    async fn look(&self) -> Result<Probe, OperationError> {
        // The owner begins with the first look, and needs a moment for the link.
        self.jobs();
        let deadline = Instant::now() + self.call_timeout;
        match self.board.alive(deadline).await {
            Ok(version) => Ok(Probe { version, ..Probe::default() }),
            Err(why) => Err(unanswered(Attempt::Probe, "reach the key service", &Outcome::Down(why))),
        }
    }

    /// Rooms, further doors and encoders: nobody can be asked for them, so they are what the configuration says.
    fn inventory(&self) -> Vec<InventoryItem> {
        let door = |id: &str, name: &str, is_room| entrance(id, name, is_room, false);
        let rooms = self.config.rooms.iter().map(|room| door(&room.entrance, &room.display_name, true));
        let options = self.config.options.iter().map(|option| door(&option.entrance, &option.display_name, false));
        let encoders = self.config.encoders.iter().map(encoder);
        rooms.chain(options).chain(encoders).collect()
    }
}

fn no_words(doing: &str, error: &NoWords) -> OperationError {
    refused(INVALID, format!("could not {doing}: {error}; nothing was sent"), Retry::Never)
}

impl LockSystem for Fias {
    fn description(&self) -> &Description {
        &self.description
    }

    /// A key that was written cannot be asked for, only read by a person. Ending the keys of a room is absolute.
    fn effect_class(&self, operation: &Operation) -> EffectClass {
        match operation {
            Operation::Encode { .. } | Operation::SendKey { .. } | Operation::Unlock { .. } => EffectClass::Blind,
            Operation::ApplyUser(_)
            | Operation::DeleteUser { .. }
            | Operation::ReadCard { .. }
            | Operation::CheckOut { .. }
            | Operation::ChangeStay { .. }
            | Operation::AssignCard { .. }
            | Operation::CancelKey { .. } => EffectClass::Repeatable,
        }
    }

    fn probe(&self) -> BoxFuture<'_, Result<Probe, OperationError>> {
        self.look().boxed()
    }

    fn scan(&self, intake: mpsc::Sender<Intake>) -> BoxFuture<'_, Result<(), OperationError>> {
        async move {
            hand_on(&self.inventory(), &intake).await;
            Ok(())
        }
        .boxed()
    }

    /// The protocol tells no events of doors.
    fn events(&self, _cursor: String, intake: mpsc::Sender<Intake>) -> BoxFuture<'_, Result<(), OperationError>> {
        async move {
            intake.closed().await;
            Ok(())
        }
        .boxed()
    }

    fn perform(&self, operation: Operation, deadline: Duration) -> BoxFuture<'_, Result<Performed, OperationError>> {
        async move { self.act(&operation, deadline).await }.boxed()
    }

    fn observe_user(&self, _user_id: &str) -> BoxFuture<'_, Result<UserObservation, OperationError>> {
        let message = "a key service keeps no people who could be asked about";
        std::future::ready(Err(refused("not_supported", message.to_owned(), Retry::Never))).boxed()
    }

    fn user_external_id(&self, _user_id: &str) -> String {
        String::new()
    }

    fn line(&self) -> Option<LineStatus> {
        Some(self.statistics.status())
    }
}
