//! What adapters of key services have in common, whatever they speak.

use lockbridge_protocol::proto::tunnel::{InventoryItem, ObservedEncoder, ObservedEntrance, inventory_item::Kind};
use tokio::sync::mpsc;

use super::{Effect, Intake, OperationError, Retry};
use crate::config::EncoderConfig;

/// Objects handed on at a time.
const INVENTORY_PIECE: usize = 100;

/// What was attempted; decides what a failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    /// Writing a card.
    Encode,
    /// Sending a key to a phone.
    Send,
    /// Reading a card.
    Read,
    /// Ending keys, or changing what the service remembers of a stay.
    Database,
    /// Asking whether somebody is there.
    Probe,
}

impl Attempt {
    pub(super) fn changes_something(self) -> bool {
        matches!(self, Self::Encode | Self::Send | Self::Database)
    }

    pub(super) fn uses_encoder(self) -> bool {
        matches!(self, Self::Encode | Self::Read)
    }
}

/// An error that no key service had a part in.
pub(super) fn refused(code: &'static str, message: String, retry: Retry) -> OperationError {
    OperationError {
        code,
        message,
        vendor_code: String::new(),
        vendor_text: String::new(),
        effect: Effect::None,
        retry,
    }
}

/// A door that nobody but the configuration tells of.
pub(super) fn entrance(id: &str, name: &str, is_room: bool, with_phones: bool) -> InventoryItem {
    InventoryItem {
        external_id: id.to_owned(),
        display_name: name.to_owned(),
        kind: Some(Kind::Entrance(ObservedEntrance {
            can_unlock_with_card: true,
            can_unlock_with_mobile_key: with_phones,
            can_belong_to_reservation: is_room,
            ..ObservedEntrance::default()
        })),
        ..InventoryItem::default()
    }
}

/// An encoder; no protocol lists them.
pub(super) fn encoder(configured: &EncoderConfig) -> InventoryItem {
    InventoryItem {
        external_id: configured.name.clone(),
        display_name: configured.display_name.clone(),
        kind: Some(Kind::Encoder(ObservedEncoder {})),
        ..InventoryItem::default()
    }
}

/// Hands on a configured inventory as a complete scan.
pub(super) async fn hand_on(items: &[InventoryItem], intake: &mpsc::Sender<Intake>) {
    let observed = items.chunks(INVENTORY_PIECE).map(|piece| Intake::Observed(piece.to_vec()));
    for piece in observed.chain([Intake::ScanComplete]) {
        // A closed channel is the engine's end; nobody waits for the scan then.
        if intake.send(piece).await.is_err() {
            return;
        }
    }
}
