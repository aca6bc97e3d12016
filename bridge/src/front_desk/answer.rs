//! What the property software is told: a status of four, and a sentence for the clerk of at most forty characters.

use jiff::Timestamp;
use lockbridge_protocol::fias::key::{KeyRecord, KeyRecordKind};

use crate::config::FrontDeskConfig;
use crate::dispatch::{DeskAnswer, Done};

const OK: &str = "OK";
const BUSY: &str = "BY";
/// It can succeed later, as it is.
const RETRY: &str = "RY";
/// It cannot, or must not simply be asked again.
const UNPROCESSABLE: &str = "UR";

/// The answer to a request of the property software.
pub(super) fn answer(request: &KeyRecord, answer: &DeskAnswer, config: &FrontDeskConfig) -> KeyRecord {
    let (status, text) = words(request.kind, answer);
    let mut record = KeyRecord::answer(request, status, text);
    if let DeskAnswer::Card { room, reservation, ends_at_ms } = answer {
        record.room.clone_from(room);
        record.reservation.clone_from(reservation);
        let end = Timestamp::from_millisecond(*ends_at_ms).ok().map(|end| end.to_zoned(config.time_zone.clone()));
        record.departure = end.as_ref().map(jiff::Zoned::date);
        record.departure_time = end.map(|end| end.time());
    }
    placed(record)
}

/// The answer to a record that is no order.
pub(super) fn unusable(request: &KeyRecord, text: &str) -> KeyRecord {
    placed(KeyRecord::answer(request, UNPROCESSABLE, text))
}

/// The answer when the time of the request is over.
pub(super) fn overdue(request: &KeyRecord, is_card: bool) -> KeyRecord {
    placed(if is_card {
        KeyRecord::answer(request, UNPROCESSABLE, DOUBT)
    } else {
        KeyRecord::answer(request, RETRY, "Accepted, not done yet: it goes on")
    })
}

/// An answer to a read always names a room.
fn placed(mut record: KeyRecord) -> KeyRecord {
    if record.kind == KeyRecordKind::ReadAnswer && record.room.is_empty() {
        "-".clone_into(&mut record.room);
    }
    record
}

const DOUBT: &str = "Unclear if written: look at the card";
/// The same of what is no card.
const DOUBT_OF_ANOTHER_ACT: &str = "Unclear if done: see the lock system";

/// Whether the answer leaves open what came of the order.
pub(super) fn is_open(answer: &KeyRecord) -> bool {
    [DOUBT, DOUBT_OF_ANOTHER_ACT].contains(&answer.text.as_str())
}

fn words(kind: KeyRecordKind, answer: &DeskAnswer) -> (&'static str, &'static str) {
    match answer {
        DeskAnswer::Done(Done::AsAsked) => match kind {
            KeyRecordKind::Request => (OK, "Key made"),
            KeyRecordKind::Delete => (OK, "Keys ended"),
            _ => (OK, "Done"),
        },
        DeskAnswer::Done(Done::Before) => (OK, "Made before: no second card now"),
        DeskAnswer::Done(Done::Nothing) => (OK, "No key was known"),
        DeskAnswer::Done(Done::CardsLag) => (OK, "Done: cards need an update"),
        DeskAnswer::Card { .. } => (OK, "Key read"),
        DeskAnswer::Busy => (BUSY, "Encoder busy"),
        DeskAnswer::InDoubt | DeskAnswer::Asking if kind == KeyRecordKind::Request => (UNPROCESSABLE, DOUBT),
        DeskAnswer::InDoubt | DeskAnswer::Asking => (UNPROCESSABLE, DOUBT_OF_ANOTHER_ACT),
        DeskAnswer::Refused { code, .. } => refused(code),
    }
}

fn refused(code: &str) -> (&'static str, &'static str) {
    match code {
        "no_credential_on_encoder" => (RETRY, "No card was presented"),
        "incompatible_card_format" => (UNPROCESSABLE, "This card cannot be used"),
        "encoding_interrupted" => (UNPROCESSABLE, "Interrupted: nothing was written"),
        "encoder_not_online" => (RETRY, "The encoder is offline"),
        "encoder_communication_timeout" => (RETRY, "The encoder does not answer"),
        "encoder_not_found" => (UNPROCESSABLE, "Unknown encoder"),
        "entrance_not_found" => (UNPROCESSABLE, "Unknown room"),
        "entrance_ambiguous" => (UNPROCESSABLE, "Several doors have the room's name"),
        "entrance_not_usable" | "setup_required" => (UNPROCESSABLE, "The room does not open with cards"),
        "dates" => (UNPROCESSABLE, "Arrival or departure is not valid"),
        "grant_not_found" => (UNPROCESSABLE, "No key of this reservation is known"),
        "card_blank" => (UNPROCESSABLE, "The card is blank"),
        "card_unknown" => (UNPROCESSABLE, "Not a guest card of this desk"),
        "room_occupied" => (UNPROCESSABLE, "The room is given to another stay"),
        "bridge_disconnected" => (RETRY, "The lock system does not answer"),
        "account_disconnected" => (UNPROCESSABLE, "The lock system refuses the login"),
        "inventory" => (RETRY, "Doors are being read: try again soon"),
        "draining" | "session_lost" => (RETRY, "The key service restarts: try again"),
        "journal_lost" => (RETRY, "The key service recovers: try later"),
        "bridge_quarantined" => (UNPROCESSABLE, "The key service is in quarantine"),
        "disk_full" => (UNPROCESSABLE, "The key service's disk is full"),
        "clock" => (UNPROCESSABLE, "The key service's clock is wrong"),
        "action_attempt_expired" => (RETRY, "Not begun in time: try again"),
        "policy:brake" => (UNPROCESSABLE, "The brake is on: no cards are written"),
        "policy:encodes_per_hour" | "policy:encodes_per_day" | "policy:encodes_per_room_per_day" => {
            (UNPROCESSABLE, "The site's limit of cards is reached")
        }
        code if code.starts_with("policy:") => (UNPROCESSABLE, "The site's policy does not allow it"),
        _ => (UNPROCESSABLE, "Not done: see the key service's log"),
    }
}

#[cfg(test)]
mod tests {
    use lockbridge_protocol::fias::limits::ANSWER_TEXT_CHARACTERS;
    use lockbridge_protocol::line::CodePage;

    use super::super::request::tests::{NOW, config, record};
    use super::*;

    fn told(request: &str, told: &DeskAnswer) -> String {
        let body = answer(&record(request), told, &config()).write(None, CodePage::Cp850).expect("can be written");
        String::from_utf8(body).expect("ASCII")
    }

    const REQUEST: &str = "KR|WS3|KC01|RN0101|KTN|G#11122|";

    #[test]
    fn an_answer_repeats_what_names_the_request_and_never_says_ok_without_knowing() {
        assert_eq!(told(REQUEST, &DeskAnswer::Done(Done::AsAsked)), "KA|KC01|WS3|ASOK|G#11122|CTKey made|");
        assert!(told(REQUEST, &DeskAnswer::Busy).contains("|ASBY|"));
        assert!(told(REQUEST, &DeskAnswer::InDoubt).contains("|ASUR|"));
        let refused = |code: &str| DeskAnswer::Refused { code: code.into(), message: "a long sentence".into() };
        assert!(told(REQUEST, &refused("no_credential_on_encoder")).contains("|ASRY|"));
        assert!(told(REQUEST, &refused("entrance_not_found")).contains("|ASUR|G#11122|CTUnknown room|"));
        assert!(told(REQUEST, &refused("something new")).contains("|ASUR|"));
        assert!(told("KD|WS3|KC1|RN5|", &DeskAnswer::Done(Done::Nothing)).contains("|ASOK|"));
    }

    #[test]
    fn a_card_that_was_read_tells_its_stay_in_local_time() {
        let card = DeskAnswer::Card { room: "0101".into(), reservation: "7".into(), ends_at_ms: NOW };
        let text = told("KZ|KC1|WSFO|", &card);
        assert_eq!(text, "KZ|KC1|WSFO|ASOK|RN0101|G#7|GD261122|DT10:00|CTKey read|");
        let blank = DeskAnswer::Refused { code: "card_blank".into(), message: String::new() };
        assert_eq!(told("KZ|KC1|WSFO|", &blank), "KZ|KC1|WSFO|ASUR|RN-|CTThe card is blank|");
    }

    #[test]
    fn every_sentence_fits_the_clerk_s_screen() {
        for code in [
            "no_credential_on_encoder",
            "incompatible_card_format",
            "encoding_interrupted",
            "encoder_not_online",
            "encoder_communication_timeout",
            "encoder_not_found",
            "entrance_not_found",
            "entrance_ambiguous",
            "entrance_not_usable",
            "dates",
            "grant_not_found",
            "card_blank",
            "card_unknown",
            "room_occupied",
            "bridge_disconnected",
            "account_disconnected",
            "inventory",
            "draining",
            "journal_lost",
            "bridge_quarantined",
            "disk_full",
            "clock",
            "action_attempt_expired",
            "policy:brake",
            "policy:encodes_per_hour",
            "policy:entrance",
            "anything",
        ] {
            let (status, text) = refused(code);
            assert_ne!(status, OK);
            assert!(text.chars().count() <= ANSWER_TEXT_CHARACTERS, "{text}");
        }
        for kind in [KeyRecordKind::Request, KeyRecordKind::Delete, KeyRecordKind::Change, KeyRecordKind::Read] {
            for answer in [
                DeskAnswer::Done(Done::AsAsked),
                DeskAnswer::Done(Done::Before),
                DeskAnswer::Done(Done::Nothing),
                DeskAnswer::Done(Done::CardsLag),
                DeskAnswer::Busy,
                DeskAnswer::InDoubt,
            ] {
                assert!(words(kind, &answer).1.chars().count() <= ANSWER_TEXT_CHARACTERS, "{answer:?}");
            }
        }
        let request = record(REQUEST);
        for late in [overdue(&request, true), overdue(&request, false)] {
            assert_ne!(late.status, OK);
            assert!(!late.text.is_empty() && late.text.chars().count() < ANSWER_TEXT_CHARACTERS);
        }
    }
}
