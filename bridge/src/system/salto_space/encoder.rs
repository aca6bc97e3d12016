//! Encoders: writing and reading cards. One job an encoder, sent once, with a person waiting.

use std::time::Duration;

use lockbridge_protocol::proto::tunnel::CardOnEncoder;
use lockbridge_protocol::ship::call::{AssignNewKey, Call, ReadKey, UpdateCurrentKey, WrittenKey};
use tokio::time::{Instant, sleep};

use super::errors::{Attempt, UNCATEGORIZED, operation_error, refused};
use super::session::SessionError;
use super::{SaltoSpace, mapping};
use crate::system::{KeyKind, OperationError, Performed, Retry};

const ENCODER_BUSY: i64 = 402;
/// Between two tries at an encoder that is busy with somebody else's card.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

impl SaltoSpace {
    pub(super) async fn encode(
        &self,
        user_id: &str,
        encoder: &str,
        kind: KeyKind,
        until: Instant,
    ) -> Result<Performed, OperationError> {
        let external_id = mapping::external_id(user_id);
        let until = until.min(Instant::now() + self.encode_timeout);
        let (written, doing) = match kind {
            KeyKind::First => {
                let call = AssignNewKey { user_id: external_id.clone(), encoder: encoder.to_owned() };
                (self.at_encoder(&call, until).await, "write a new card")
            }
            KeyKind::Update => {
                let call = UpdateCurrentKey { user_id: external_id.clone(), encoder: encoder.to_owned() };
                (self.at_encoder(&call, until).await, "write the present card again")
            }
            KeyKind::New | KeyKind::Copy => {
                let message = format!(
                    "could not write a key for a room: over SHIP only cards of users, as {external_id}, are written"
                );
                return Err(refused(UNCATEGORIZED, message, Retry::Never));
            }
        };
        let doing = format!("{doing} for user {external_id} on encoder {encoder}");
        let written = written.map_err(|error| operation_error(Attempt::Encode, &doing, &error))?;
        Ok(self.after_encode(external_id, written).await)
    }

    /// The card is written; reading the user again tells what is on it. That failing takes nothing back.
    async fn after_encode(&self, external_id: String, written: WrittenKey) -> Performed {
        let mut performed = Performed {
            user_external_id: external_id.clone(),
            card_number: written.rom_code.unwrap_or_default(),
            detail: "the encoder wrote the card".to_owned(),
            ..Performed::default()
        };
        match self.find_user(&external_id, false, self.call_limit()).await {
            Ok(Some(user)) => {
                let key = mapping::key(&user, &self.time);
                performed.key_valid_until_ms = (key.period_ms.1 != 0).then_some(key.period_ms.1);
                performed.card_update_needed = key.card_needs_update();
                if !key.card_number.is_empty() {
                    performed.card_number = key.card_number;
                }
            }
            Ok(None) => performed.detail.push_str("; the server does not list the user any more"),
            Err(_) => performed.detail.push_str("; its serial and end could not be read afterwards"),
        }
        performed
    }

    pub(super) async fn read_card(&self, encoder: &str, until: Instant) -> Result<Performed, OperationError> {
        let until = until.min(Instant::now() + self.encode_timeout);
        let doing = format!("read the card on encoder {encoder}");
        let found = self.at_encoder(&ReadKey { encoder: encoder.to_owned() }, until).await;
        let found = found.map_err(|error| operation_error(Attempt::Scan, &doing, &error))?;
        let mut card = CardOnEncoder {
            card_number: found.rom_code.unwrap_or_default(),
            user_external_id: found.user_id.unwrap_or_default(),
            ..CardOnEncoder::default()
        };
        if !card.user_external_id.is_empty() {
            card.user_id = mapping::user_id(&card.user_external_id).unwrap_or_default();
            // Without the holder's record the card is still what was read.
            if let Ok(Some(user)) = self.find_user(&card.user_external_id, false, self.call_limit()).await {
                let key = mapping::key(&user, &self.time);
                if key.card_number == card.card_number {
                    (card.starts_at_ms, card.ends_at_ms) = key.period_ms;
                    card.up_to_date = key.is_up_to_date();
                }
            }
        }
        Ok(Performed {
            card_number: card.card_number.clone(),
            user_external_id: card.user_external_id.clone(),
            card_on_encoder: Some(card),
            detail: "the encoder read a card".to_owned(),
            ..Performed::default()
        })
    }

    /// Asks again while the encoder is busy: that answer proves that nothing was done.
    async fn at_encoder<C: Call + Sync>(&self, call: &C, until: Instant) -> Result<C::Answer, SessionError> {
        loop {
            match self.session.call_encoder(call, until).await {
                Err(error) if error.code() == Some(ENCODER_BUSY) && Instant::now() + BUSY_PAUSE < until => {
                    sleep(BUSY_PAUSE).await;
                }
                result => return result,
            }
        }
    }
}
