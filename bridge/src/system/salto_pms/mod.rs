//! SALTO's PMS Industry Standard: hotel software asks for keys, over TCP or a serial line.
//!
//! * `driver`: the owner of the line: one request at a time, the order in which they were asked. `job`: the way to it.
//! * `audit`: the trails of doors, read while nobody else wants the line; `trail`: what of them was handed on.
//! * `request`: our words and the protocol's. `errors`: what became of a request, in the words of the model.
//!
//! Promises: a request for a key goes out once; what is not certain is told as not certain, with the verdict of the protocol's
//! machine; answers that are late or that nobody asked for belong to no request; names and dates that the protocol cannot
//! carry are refused before anything is sent. A key goes to a phone by CNM and CCM only: their variants that give the key back
//! for the host's own app (CNMB, CCMB) stay out, for there is no such app here, and a key as bytes would have to be kept,
//! carried and told to nobody. Never: keeps a record of a person, asks again for a key by itself (but for an
//! encoder that says it is busy, which proves that nothing began).

mod audit;
mod driver;
mod errors;
mod job;
mod request;
#[cfg(test)]
mod tests;
mod trail;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::tz::TimeZone;
use lockbridge_protocol::proto::tunnel::InventoryItem;
use lockbridge_protocol::salto_pms::answer::Answer;
use lockbridge_protocol::salto_pms::client::{Exchange, NotBegun};
use lockbridge_protocol::salto_pms::limits::ROOMS;
use lockbridge_protocol::salto_pms::message::Message;
use lockbridge_protocol::salto_pms::request::Request;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use self::driver::{Driver, Source};
use self::errors::{Attempt, INVALID, UNCATEGORIZED, answered_no, refused, unanswered};
use self::job::{Ask, Board, Job, Obstacle, Outcome};
use self::request::{NoWords, Words};
use super::key_service::{encoder, entrance, hand_on};
use super::turn::{LEAST_TURN, QUEUE};
use super::{
    Description, EffectClass, Intake, KeyService, KeyTarget, LockSystem, Operation, OperationError, Performed,
    PhoneNumber, Probe, Retry, UserObservation,
};
use crate::config::SaltoPmsConfig;
use crate::link::{LineStatus, Opener, Statistics};

/// The answers that an encoder, or a card, is in use by somebody else: nothing was begun.
const BUSY: [&str; 2] = ["OV", "EO"];
/// The answer that a room is checked out.
const CHECKED_OUT: &str = "EA";

/// One line to a Salto server.
#[derive(Debug)]
pub struct SaltoPms {
    description: Description,
    config: SaltoPmsConfig,
    zone: TimeZone,
    call_timeout: Duration,
    statistics: Arc<Statistics>,
    board: Arc<Board>,
    jobs: OnceLock<mpsc::Sender<Job>>,
    /// The owner of the line; it ends with this.
    owner: Mutex<JoinSet<()>>,
}

/// What a lock system with a line is besides the line.
#[derive(Debug, Clone)]
pub struct Site {
    /// Name in the configuration.
    pub lock_system: String,
    /// For people.
    pub display_name: String,
    /// IANA name of the zone.
    pub time_zone_name: String,
    /// The same, looked up.
    pub time_zone: TimeZone,
    /// Longest wait for what no person waits for.
    pub call_timeout: Duration,
}

impl SaltoPms {
    /// Prepares the adapter. The line is opened by the first request.
    pub fn new(site: Site, config: SaltoPmsConfig) -> Self {
        let description = Description {
            lock_system: site.lock_system.clone(),
            kind: "salto_pms",
            display_name: site.display_name,
            time_zone: site.time_zone_name,
            keeps_people: false,
            keys: Some(key_service(&config)),
        };
        Self {
            description,
            config,
            zone: site.time_zone,
            call_timeout: site.call_timeout,
            statistics: Statistics::new(site.lock_system),
            board: Board::new(),
            jobs: OnceLock::new(),
            owner: Mutex::new(JoinSet::new()),
        }
    }

    fn jobs(&self) -> &mpsc::Sender<Job> {
        self.jobs.get_or_init(|| {
            let opener = Opener::new(self.config.endpoint.clone(), self.config.limits, Arc::clone(&self.statistics));
            self.start(opener)
        })
    }

    fn start(&self, source: impl Source) -> mpsc::Sender<Job> {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let (board, statistics) = (Arc::clone(&self.board), Arc::clone(&self.statistics));
        let name = self.description.lock_system.clone();
        let driver = Driver::new(source, waiting, board, statistics, &self.config, name);
        self.owner.lock().unwrap_or_else(PoisonError::into_inner).spawn(driver.run());
        jobs
    }

    fn words(&self) -> Words<'_> {
        Words { config: &self.config, zone: &self.zone }
    }

    /// One request and its answer. An encoder that says it is busy is asked again until `begin_by`.
    async fn exchange(
        &self,
        request: &Request,
        attempt: Attempt,
        doing: &str,
        begin_by: Instant,
    ) -> Result<Answer, OperationError> {
        let limit = if request.encoder().is_some() { self.config.answer_timeout } else { self.call_timeout };
        let unusable = |error: &dyn std::fmt::Display| {
            refused(INVALID, format!("could not {doing}: {error}; nothing was sent"), Retry::Never)
        };
        let exchange = Exchange::new(request, limit).map_err(|error| unusable(&error))?;
        loop {
            let ask = Ask::Exchange(Box::new(exchange.clone()));
            let body = match job::ask(self.jobs(), &self.board, ask, begin_by).await {
                Outcome::Answered(body) => body,
                outcome => return Err(unanswered(attempt, doing, &outcome)),
            };
            match Answer::read(request, Message::read(&body), self.config.date_order) {
                Answer::Refused(refusal) if BUSY.contains(&refusal.code.as_str()) => {
                    if Instant::now() + self.config.busy_pause >= begin_by {
                        return Err(answered_no(attempt, doing, &refusal, self.config.trust_encoder_errors));
                    }
                    sleep(self.config.busy_pause).await;
                }
                Answer::Refused(refusal) => {
                    return Err(answered_no(attempt, doing, &refusal, self.config.trust_encoder_errors));
                }
                answer => return Ok(answer),
            }
        }
    }

    /// Somebody stands at the encoder: the request begins so early that its answer can be waited for, or never.
    fn encoder_turn(&self, deadline: Duration) -> Instant {
        Instant::now() + deadline.saturating_sub(self.config.answer_timeout).max(LEAST_TURN)
    }

    async fn encode(&self, encoder: &str, key: &KeyTarget, deadline: Duration) -> Result<Performed, OperationError> {
        let words = self.words();
        let room = key.rooms.first().map(String::as_str).unwrap_or_default();
        let doing = format!("write a {} for room {room} on encoder {encoder}", words_of(key));
        let request = words.key(key, encoder).map_err(|error| no_words(&doing, &error))?;
        let answer = self.exchange(&request, Attempt::Encode, &doing, self.encoder_turn(deadline)).await?;
        let serial = match answer {
            Answer::Done { more, .. } => more.into_iter().next().unwrap_or_default(),
            _ => String::new(),
        };
        let is_serial = !serial.is_empty() && serial.bytes().all(|byte| byte.is_ascii_hexdigit());
        Ok(Performed {
            card_number: if is_serial { serial.to_ascii_uppercase() } else { String::new() },
            key_valid_until_ms: valid_until(key),
            detail: format!("the encoder wrote a {}", words_of(key)),
            ..Performed::default()
        })
    }

    /// The answer says that the server took it; whether the phone has fetched its key is told to nobody.
    async fn send_key(
        &self,
        phone: &PhoneNumber,
        key: &KeyTarget,
        deadline: Duration,
    ) -> Result<Performed, OperationError> {
        let words = self.words();
        let room = key.rooms.first().map(String::as_str).unwrap_or_default();
        let doing = format!("send a {} for room {room} to a phone", words_of(key));
        let request = words.mobile_key(key, phone).map_err(|error| no_words(&doing, &error))?;
        // It begins so early that its answer can be waited for.
        let begin_by = Instant::now() + deadline.saturating_sub(self.call_timeout).max(LEAST_TURN);
        self.exchange(&request, Attempt::Send, &doing, begin_by).await?;
        Ok(Performed {
            key_valid_until_ms: valid_until(key),
            detail: "the lock server took the key for the phone; whether the phone has fetched it is not known"
                .to_owned(),
            ..Performed::default()
        })
    }

    async fn read_card(&self, encoder: &str, deadline: Duration) -> Result<Performed, OperationError> {
        let doing = format!("read the card on encoder {encoder}");
        let request = Request::ReadCard { encoder: encoder.to_owned(), handling: self.config.handling };
        match self.exchange(&request, Attempt::Read, &doing, self.encoder_turn(deadline)).await? {
            Answer::Card { card, .. } => {
                let (card, key) = self.words().seen(&card);
                let detail = "the encoder read a card".to_owned();
                let key_seen = key.map(Box::new);
                Ok(Performed { card_on_encoder: Some(card), key_seen, detail, ..Performed::default() })
            }
            _ => Err(refused(UNCATEGORIZED, format!("could not {doing}: the answer tells no card"), Retry::Never)),
        }
    }

    async fn change(&self, request: Request, doing: &str, deadline: Duration) -> Result<Performed, OperationError> {
        let begin_by = Instant::now() + deadline;
        match self.exchange(&request, Attempt::Database, doing, begin_by).await {
            Ok(_) => {}
            // Checked out already, by somebody else: what was asked for is so.
            Err(error) if error.vendor_code == CHECKED_OUT && matches!(request, Request::CheckOut { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(Performed::default())
    }

    /// Writes a key, reads one, ends or changes a stay. `None`: not something that this protocol has.
    pub async fn at_room(
        &self,
        operation: &Operation,
        deadline: Duration,
    ) -> Option<Result<Performed, OperationError>> {
        let words = self.words();
        Some(match operation {
            Operation::Encode { encoder, key, .. } => self.encode(encoder, key, deadline).await,
            Operation::SendKey { phone, key } => self.send_key(phone, key, deadline).await,
            Operation::ReadCard { encoder } => self.read_card(encoder, deadline).await,
            Operation::CheckOut { room, .. } => {
                let doing = format!("check out room {room}");
                match words.room(room) {
                    Ok(room) => self.change(Request::CheckOut { room }, &doing, deadline).await,
                    Err(error) => Err(no_words(&doing, &error)),
                }
            }
            Operation::ChangeStay { room, ends_at_ms, .. } => {
                let doing = format!("change the end of the stay in room {room}");
                let end = Some(words.local(*ends_at_ms));
                match words.room(room) {
                    Ok(room) => {
                        let (new_room, code) = (String::new(), String::new());
                        self.change(Request::ModifyStay { room, new_room, end, code }, &doing, deadline).await
                    }
                    Err(error) => Err(no_words(&doing, &error)),
                }
            }
            Operation::ApplyUser(_)
            | Operation::DeleteUser { .. }
            | Operation::AssignCard { .. }
            | Operation::CancelKey { .. }
            | Operation::Unlock { .. } => return None,
        })
    }

    async fn ask_server(&self) -> Result<Probe, OperationError> {
        let doing = "ask the server whether it is ready";
        // A request under way proves more than a question would, and the line takes one thing at a time.
        if matches!(self.board.obstacle(), Obstacle::Busy | Obstacle::Held(_)) {
            return Ok(Probe::default());
        }
        match job::ask(self.jobs(), &self.board, Ask::Enquiry, Instant::now() + self.call_timeout).await {
            // A server that is busy is there.
            Outcome::Ready
            | Outcome::NotBegun(NotBegun::NotReady)
            | Outcome::NotInTime(Obstacle::Busy | Obstacle::Held(_)) => Ok(Probe::default()),
            outcome => Err(unanswered(Attempt::Probe, doing, &outcome)),
        }
    }

    /// Rooms, further doors and encoders: nobody can be asked for them, so they are what the configuration says.
    fn inventory(&self) -> Vec<InventoryItem> {
        let door = |id: &str, name: &str, is_room| entrance(id, name, is_room, self.config.mobile_keys);
        let rooms = self.config.rooms.iter().map(|room| door(&room.entrance, &room.display_name, true));
        let areas = self.config.areas.iter().map(|area| door(&area.entrance, &area.display_name, false));
        let encoders = self.config.encoders.iter().map(encoder);
        rooms.chain(areas).chain(encoders).collect()
    }
}

/// What keys of this configuration can hold.
pub fn key_service(config: &SaltoPmsConfig) -> KeyService {
    KeyService {
        rooms: config.rooms.iter().map(|room| room.entrance.clone()).collect(),
        areas: config.areas.iter().map(|area| area.entrance.clone()).collect(),
        rooms_on_key: ROOMS,
        checks_out: config.check_out,
        changes_stays: config.change_stays,
        early_keys: config.early_keys,
        mobile_keys: config.mobile_keys,
    }
}

/// The end as it stands on the key, in whole minutes.
fn valid_until(key: &KeyTarget) -> Option<i64> {
    let end = key.window.and_then(|window| window.ends_at_ms)?;
    Some(end.div_euclid(60_000).saturating_mul(60_000))
}

fn words_of(key: &KeyTarget) -> &'static str {
    if key.kind == super::KeyKind::New { "new key" } else { "copy" }
}

fn no_words(doing: &str, error: &NoWords) -> OperationError {
    refused(INVALID, format!("could not {doing}: {error}; nothing was sent"), Retry::Never)
}

impl LockSystem for SaltoPms {
    fn description(&self) -> &Description {
        &self.description
    }

    /// A key that was written cannot be asked for, only read by a person. A check-out and an end of a stay are absolute: said
    /// twice they change nothing, and a revoke has to arrive.
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
        self.ask_server().boxed()
    }

    fn scan(&self, intake: mpsc::Sender<Intake>) -> BoxFuture<'_, Result<(), OperationError>> {
        async move {
            hand_on(&self.inventory(), &intake).await;
            Ok(())
        }
        .boxed()
    }

    /// Of the doors that the configuration names; without one, none.
    fn events(&self, cursor: String, intake: mpsc::Sender<Intake>) -> BoxFuture<'_, Result<(), OperationError>> {
        self.take_in_trails(cursor, intake).boxed()
    }

    fn perform(&self, operation: Operation, deadline: Duration) -> BoxFuture<'_, Result<Performed, OperationError>> {
        async move {
            self.at_room(&operation, deadline).await.unwrap_or_else(|| {
                let message = "the PMS protocol makes keys for rooms: it keeps no people, and opens no doors from afar";
                Err(refused("not_supported", message.to_owned(), Retry::Never))
            })
        }
        .boxed()
    }

    fn observe_user(&self, _user_id: &str) -> BoxFuture<'_, Result<UserObservation, OperationError>> {
        let message = "the PMS protocol keeps no people who could be asked about";
        std::future::ready(Err(refused("not_supported", message.to_owned(), Retry::Never))).boxed()
    }

    fn user_external_id(&self, _user_id: &str) -> String {
        String::new()
    }

    fn line(&self) -> Option<LineStatus> {
        Some(self.statistics.status())
    }
}
