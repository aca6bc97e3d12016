//! SALTO Space over SHIP.
//!
//! Owns the connections to one server and the mapping between our users and rights and Space's. Promises: every write is
//! absolute, so that repeating it changes nothing; requests that must not be repeated are sent at most once; an error says
//! whether absence of effect is certain. Never: reads or writes a user that does not carry our prefix, except to list it;
//! keeps a password; concludes from absence in a list that was not read to its end.

mod connection;
mod encoder;
mod errors;
mod events;
mod inventory;
mod mapping;
mod session;
mod stream;
#[cfg(test)]
mod tests;
mod users;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lockbridge_protocol::ship::call::{Call, DoorCommand, DoorSelection, GetInfo, OnlineDoorAction};
use lockbridge_protocol::ship::envelope::Exception;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::connection::Target;
use self::errors::{Attempt, UNCATEGORIZED, operation_error, refused};
use self::mapping::SiteTime;
use self::session::{Session, SessionError};
use super::salto_pms::{self, SaltoPms};
use super::{
    Description, Effect, EffectClass, Intake, KeyKind, LockSystem, Operation, OperationError, Performed, Probe, Retry,
    UserObservation,
};
use crate::clock::Clock;
use crate::config::{LockSystemConfig, LockSystemKind, SaltoSpaceConfig, ShipTransport};
use crate::link::LineStatus;
use crate::link::tls;

/// The configuration of a lock system cannot be used.
#[derive(Debug, Error)]
pub enum SaltoSpaceError {
    /// It is configured as a system of another kind.
    #[error("lock system `{lock_system}` is not a SALTO Space")]
    Kind {
        /// Which.
        lock_system: String,
    },
    /// The files that say what to trust cannot be read.
    #[error("the TLS trust of lock system `{lock_system}` cannot be set up: {reason}")]
    Trust {
        /// Which.
        lock_system: String,
        /// What is wrong with which file.
        reason: String,
    },
}

/// One SALTO Space server.
#[derive(Debug)]
pub struct SaltoSpace {
    description: Description,
    config: SaltoSpaceConfig,
    session: Session,
    time: SiteTime,
    clock: Arc<dyn Clock>,
    call_timeout: Duration,
    encode_timeout: Duration,
    /// The server does not know `InsertOrUpdate` and is asked with `Update` and `Insert` instead.
    lacks_upsert: AtomicBool,
    /// The line beside SHIP that makes the keys for hotel rooms.
    pms: Option<SaltoPms>,
}

impl SaltoSpace {
    /// Prepares the adapter; reads the CA file and makes no connection.
    pub fn new(config: LockSystemConfig, clock: Arc<dyn Clock>) -> Result<Self, SaltoSpaceError> {
        let LockSystemKind::SaltoSpace(space) = config.kind else {
            return Err(SaltoSpaceError::Kind { lock_system: config.name });
        };
        let tls = match &space.transport {
            ShipTransport::Http { url, trust, .. } if url.scheme() == "https" => Some(
                tls::client(trust, &[b"http/1.1"])
                    .map_err(|reason| SaltoSpaceError::Trust { lock_system: config.name.clone(), reason })?,
            ),
            _ => None,
        };
        let target = Target { transport: space.transport.clone(), stp_version: space.stp_version, tls };
        let encoders = space.encoders.len();
        let pms = space.pms.clone().map(|pms| {
            let site = salto_pms::Site {
                lock_system: config.name.clone(),
                display_name: config.display_name.clone(),
                time_zone_name: config.time_zone_name.clone(),
                time_zone: config.time_zone.clone(),
                call_timeout: config.call_timeout,
            };
            SaltoPms::new(site, *pms)
        });
        Ok(Self {
            session: Session::new(config.name.clone(), target, config.connections, encoders, config.call_timeout),
            description: Description {
                lock_system: config.name,
                kind: "salto_space",
                display_name: config.display_name,
                time_zone: config.time_zone_name,
                keeps_people: true,
                keys: space.pms.as_deref().map(salto_pms::key_service),
            },
            time: SiteTime { zone: config.time_zone },
            clock,
            call_timeout: config.call_timeout,
            encode_timeout: config.encode_timeout,
            lacks_upsert: AtomicBool::new(false),
            pms,
            config: space,
        })
    }

    /// The limit of one call that nobody waits for.
    fn call_limit(&self) -> Instant {
        Instant::now() + self.call_timeout
    }

    async fn read<C: Call + Sync>(&self, call: &C, doing: &str) -> Result<C::Answer, OperationError> {
        let result = self.session.call(call, self.call_limit()).await;
        result.map_err(|error| operation_error(Attempt::Read, doing, &error))
    }

    async fn ask_server(&self) -> Result<Probe, OperationError> {
        let (info, line_problem) =
            tokio::join!(self.read(&GetInfo, "ask the server for its version"), self.line_problem());
        let info = info?;
        let skew_ms = info
            .time
            .and_then(|local| self.time.moment(local))
            .map(|moment| moment.saturating_sub(self.clock.wall_ms()));
        let version = format!("{} {}", info.protocol, info.version);
        Ok(Probe { version: version.trim().to_owned(), clock_skew_s: skew_ms.map(|ms| ms / 1000), line_problem })
    }

    /// Asks the line for hotel keys, too: rights go on without it, but somebody has to hear of it before the next guest does.
    async fn line_problem(&self) -> Option<String> {
        let asked = self.pms.as_ref()?.probe().await;
        asked.err().map(|error| format!("{}: no keys for rooms can be made", error.message))
    }

    async fn unlock(&self, entrance: &str, until: Instant) -> Result<Performed, OperationError> {
        let doing = format!("open entrance {entrance}");
        let call = OnlineDoorAction { command: DoorCommand::Open, doors: DoorSelection::one(entrance) };
        let fault = |error: &SessionError| operation_error(Attempt::Unlock, &doing, error);
        let results = self.session.call_once(&call, until).await.map_err(|error| fault(&error))?;
        match results.first().map(|result| (result.error_code, &result.error_message)) {
            Some((Some(0), _)) => {
                Ok(Performed { detail: "the server opened the door".to_owned(), ..Performed::default() })
            }
            Some((Some(code), message)) => {
                let message = message.clone().unwrap_or_default();
                Err(fault(&SessionError::Exception(Exception { code, message })))
            }
            _ => Err(OperationError {
                code: UNCATEGORIZED,
                message: format!("could not {doing}: the server did not say what became of it"),
                vendor_code: String::new(),
                vendor_text: String::new(),
                effect: Effect::Unknown,
                retry: Retry::Never,
            }),
        }
    }

    /// What the line for hotel keys does. Cards are read there first: only it tells what is on a guest's key; a card that it
    /// does not call one is read over SHIP, which tells whose it is.
    async fn at_room(&self, operation: &Operation, limit: Duration) -> Option<Result<Performed, OperationError>> {
        let pms = self.pms.as_ref()?;
        match operation {
            Operation::Encode { key, .. } if matches!(key.kind, KeyKind::New | KeyKind::Copy) => {}
            Operation::SendKey { .. } | Operation::CheckOut { .. } | Operation::ChangeStay { .. } => {}
            Operation::ReadCard { .. } => {
                let read = pms.at_room(operation, limit).await?;
                let told = match &read {
                    Ok(read) => read
                        .card_on_encoder
                        .as_ref()
                        .is_some_and(|card| !matches!(card.key_class.as_str(), "staff" | "unidentified")),
                    Err(error) => error.code == errors::NO_CARD,
                };
                return told.then_some(read);
            }
            _ => return None,
        }
        pms.at_room(operation, limit).await
    }

    async fn perform_operation(&self, operation: Operation, limit: Duration) -> Result<Performed, OperationError> {
        // Counted from here: what the line took is gone for the server.
        let until = Instant::now() + limit;
        if let Some(performed) = self.at_room(&operation, limit).await {
            return performed;
        }
        match operation {
            Operation::ApplyUser(target) => self.apply_user(&target, until).await,
            Operation::DeleteUser { user_id } => self.delete_user(&user_id, until).await,
            Operation::Encode { user_id, encoder, key } => self.encode(&user_id, &encoder, key.kind, until).await,
            Operation::SendKey { .. } => {
                let message = "over SHIP no keys for rooms are sent to phones; nothing was sent".to_owned();
                Err(refused(UNCATEGORIZED, message, Retry::Never))
            }
            Operation::CheckOut { room, .. } | Operation::ChangeStay { room, .. } => Err(refused(
                UNCATEGORIZED,
                format!("SALTO Space over SHIP knows no stays; nothing was changed in room {room}"),
                Retry::Never,
            )),
            Operation::ReadCard { encoder } => self.read_card(&encoder, until).await,
            Operation::AssignCard { user_id, card_number } => self.assign_card(&user_id, &card_number, until).await,
            Operation::CancelKey { user_id } => self.cancel_key(&user_id, until).await,
            Operation::Unlock { entrance } => self.unlock(&entrance, until).await,
        }
    }
}

impl LockSystem for SaltoSpace {
    fn description(&self) -> &Description {
        &self.description
    }

    /// Everything but a card and a door is a record that is written whole. A card could be asked about afterwards, but no
    /// question tells *this* attempt from another, so doubt is settled by comparing before and after, not by repeating.
    fn effect_class(&self, operation: &Operation) -> EffectClass {
        match operation {
            Operation::Encode { .. } | Operation::SendKey { .. } | Operation::Unlock { .. } => EffectClass::Blind,
            Operation::ApplyUser(_)
            | Operation::DeleteUser { .. }
            | Operation::ReadCard { .. }
            | Operation::AssignCard { .. }
            | Operation::CheckOut { .. }
            | Operation::ChangeStay { .. }
            | Operation::CancelKey { .. } => EffectClass::Repeatable,
        }
    }

    fn probe(&self) -> BoxFuture<'_, Result<Probe, OperationError>> {
        self.ask_server().boxed()
    }

    fn scan(&self, intake: mpsc::Sender<Intake>) -> BoxFuture<'_, Result<(), OperationError>> {
        self.scan_inventory(intake).boxed()
    }

    fn events(&self, cursor: String, intake: mpsc::Sender<Intake>) -> BoxFuture<'_, Result<(), OperationError>> {
        self.take_in_events(cursor, intake).boxed()
    }

    fn perform(&self, operation: Operation, deadline: Duration) -> BoxFuture<'_, Result<Performed, OperationError>> {
        self.perform_operation(operation, deadline).boxed()
    }

    fn observe_user(&self, user_id: &str) -> BoxFuture<'_, Result<UserObservation, OperationError>> {
        let external_id = mapping::external_id(user_id);
        async move {
            let user = self.find_user(&external_id, false, self.call_limit()).await?;
            Ok(mapping::observation(user.as_ref(), &self.time))
        }
        .boxed()
    }

    fn user_external_id(&self, user_id: &str) -> String {
        mapping::external_id(user_id)
    }

    fn line(&self) -> Option<LineStatus> {
        self.pms.as_ref().and_then(LockSystem::line)
    }
}
