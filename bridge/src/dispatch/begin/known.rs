//! What is known, unsealed: a command with its content, a holder, a room.

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::{Command, Signed, command::Body};
use prost::Message;

use super::super::engine::{Engine, EngineError};
use crate::grant::Holder;
use crate::state::fold::{CommandRecord, SEALED_COMMAND, SEALED_FACT};

/// A live command with its content.
pub(in crate::dispatch) struct Loaded {
    pub(in crate::dispatch) record: CommandRecord,
    pub(in crate::dispatch) command: Command,
    pub(in crate::dispatch) body: Body,
}

impl Engine {
    /// A live command with its content; `None` when it ended, or when its seal does not open (another state key).
    pub(in crate::dispatch) fn load(&self, id: &CommandId) -> Result<Option<Loaded>, EngineError> {
        let view = self.view();
        let (Some(record), Some(sealed)) = (view.command(id)?, view.payload(id)?) else { return Ok(None) };
        let Ok(plain) = self.sealer.open(SEALED_COMMAND, &sealed) else {
            tracing::error!(command = %id, "A stored command does not open with this state key.");
            return Ok(None);
        };
        let bytes = if record.operator.is_empty() {
            Signed::decode(plain.as_slice()).map(|signed| signed.payload).unwrap_or_default()
        } else {
            plain
        };
        let Ok(command) = Command::decode(bytes.as_slice()) else { return Ok(None) };
        let Some(body) = command.body.clone() else { return Ok(None) };
        Ok(Some(Loaded { record, command, body }))
    }

    /// What is known of a holder.
    pub(in crate::dispatch) fn holder(&self, lock_system: &str, user_id: &str) -> Result<Option<Holder>, EngineError> {
        let sealed = self.view().fact("holder", lock_system, user_id)?;
        Ok(sealed
            .and_then(|sealed| self.sealer.open(SEALED_FACT, &sealed).ok())
            .and_then(|plain| Holder::decode(plain.as_slice()).ok()))
    }

    /// What is known of a room whose keys are made here.
    pub(in crate::dispatch) fn room(&self, lock_system: &str, room: &str) -> Result<crate::grant::Room, EngineError> {
        let sealed = self.view().fact("room", lock_system, room)?;
        Ok(sealed
            .and_then(|sealed| self.sealer.open(SEALED_FACT, &sealed).ok())
            .and_then(|plain| crate::grant::Room::decode(plain.as_slice()).ok())
            .unwrap_or_default())
    }
}
