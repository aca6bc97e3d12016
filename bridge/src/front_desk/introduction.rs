//! Who we say we are, and which fields of which records we use.

use lockbridge_protocol::fias::cryptogram::SiteKey;
use lockbridge_protocol::fias::id::{FieldId, RecordId};
use lockbridge_protocol::fias::link::{ASK_KEY_TIMEOUT, LinkDescription, LinkRecord};
use lockbridge_protocol::fias::session::Medium;
use lockbridge_protocol::fias::session::key_system::KeySystemSettings;
use lockbridge_protocol::fias::value::FieldList;

use crate::config::FrontDeskConfig;
use crate::link::Endpoint;

/// Door locks.
const FAMILY: &str = "DL";
/// Of this interface, not of the program: at most ten characters.
const VERSION: &str = "1.0";

/// Settings of our end of the link.
pub(super) fn settings(config: &FrontDeskConfig, key: Option<SiteKey>) -> KeySystemSettings {
    let medium = if matches!(config.endpoint, Endpoint::Serial(_)) { Medium::Serial } else { Medium::Tcp };
    let description = LinkDescription {
        version: VERSION.to_owned(),
        family: FAMILY.to_owned(),
        // How long the property software waits for an answer: ours must not come later.
        returns: Some(ASK_KEY_TIMEOUT),
        ..LinkDescription::default()
    };
    KeySystemSettings {
        spacing: config.spacing,
        probe_interval: config.probe_interval,
        answers_alive: config.answers_alive,
        key,
        ..KeySystemSettings::new(medium, description, records())
    }
}

/// Names of guests are asked for even where they are not passed on: property software may refuse to leave a field out.
fn records() -> Vec<LinkRecord> {
    use FieldId as F;
    let record = |record, fields: &[FieldId]| LinkRecord { record, fields: FieldList::new(fields.iter().copied()) };
    vec![
        record(
            RecordId::KEY_REQUEST,
            &[
                F::ENCODER,
                F::KEY_TYPE,
                F::ROOM,
                F::WORKSTATION,
                F::RESERVATION,
                F::ARRIVAL,
                F::DEPARTURE,
                F::DEPARTURE_TIME,
                F::NAME,
                F::SUITE,
                F::DATE,
                F::TIME,
            ],
        ),
        record(RecordId::KEY_DELETE, &[F::ENCODER, F::ROOM, F::WORKSTATION, F::RESERVATION, F::DATE, F::TIME]),
        record(
            RecordId::KEY_CHANGE,
            &[
                F::ENCODER,
                F::ROOM,
                F::OLD_ROOM,
                F::WORKSTATION,
                F::RESERVATION,
                F::ARRIVAL,
                F::DEPARTURE,
                F::DEPARTURE_TIME,
                F::SUITE,
                F::DATE,
                F::TIME,
            ],
        ),
        record(
            RecordId::KEY_READ,
            &[
                F::ENCODER,
                F::ROOM,
                F::WORKSTATION,
                F::RESERVATION,
                F::DEPARTURE,
                F::DEPARTURE_TIME,
                F::STATUS,
                F::TEXT,
                F::DATE,
                F::TIME,
            ],
        ),
        record(
            RecordId::KEY_ANSWER,
            &[F::STATUS, F::ENCODER, F::WORKSTATION, F::RESERVATION, F::TEXT, F::DATE, F::TIME],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_needed_field_of_a_request_is_described() {
        use lockbridge_protocol::fias::key::KeyRecordKind;
        for kind in [
            KeyRecordKind::Request,
            KeyRecordKind::Delete,
            KeyRecordKind::Change,
            KeyRecordKind::Read,
            KeyRecordKind::ReadAnswer,
            KeyRecordKind::Answer,
        ] {
            let described = records().into_iter().find(|each| each.record == kind.id()).expect("described");
            for field in kind.needed() {
                assert!(described.fields.contains(*field), "{kind:?} {field}");
            }
            assert!(described.write().is_ok());
        }
    }
}
