//! From what became of a request to what the model says: code, effect, retry.

use lockbridge_protocol::fias::code::status;
use lockbridge_protocol::fias::key::KeyRecord;

use super::job::Outcome;
pub(super) use crate::system::key_service::{Attempt, refused};
use crate::system::{Effect, OperationError, Retry};

/// Longest vendor text handed on.
const VENDOR_TEXT_CHARACTERS: usize = 200;

const UNREACHABLE: &str = "bridge_disconnected";
const UNCATEGORIZED: &str = "uncategorized_error";
/// What is asked cannot be written in this protocol.
pub(super) const INVALID: &str = "invalid_input";
const ENCODER_SILENT: &str = "encoder_communication_timeout";
/// An on-line key service has no key of that reservation.
const NO_STAY: &str = "grant_not_found";
const NO_CARD: &str = "no_credential_on_encoder";

/// A request without an answer. `doing` completes "could not ...".
pub(super) fn unanswered(attempt: Attempt, doing: &str, outcome: &Outcome) -> OperationError {
    let (code, why, is_doubtful) = match outcome {
        Outcome::Unknown(why) if attempt.uses_encoder() => (ENCODER_SILENT, why.clone(), true),
        Outcome::Unknown(why) => (UNCATEGORIZED, why.clone(), true),
        Outcome::NotArrived(why) | Outcome::Down(why) => (UNREACHABLE, why.clone(), false),
        Outcome::NotOpened(why) => (UNCATEGORIZED, why.to_string(), false),
        Outcome::Unusable(why) => (INVALID, why.clone(), false),
        // Told by its status, not here.
        Outcome::Answered(_) => (UNCATEGORIZED, "the answer cannot be used".to_owned(), true),
    };
    OperationError {
        code,
        message: format!("could not {doing}: {why}"),
        vendor_code: String::new(),
        vendor_text: String::new(),
        effect: if is_doubtful && attempt.changes_something() { Effect::Unknown } else { Effect::None },
        retry: if matches!(outcome, Outcome::Unusable(_)) { Retry::Never } else { Retry::Later },
    }
}

/// An answer that is not OK. `trusted`: the site vouches that a key service which says "retry" or "no response" has written
/// nothing.
pub(super) fn answered_no(attempt: Attempt, doing: &str, answer: &KeyRecord, trusted: bool) -> OperationError {
    let row = status(&answer.status);
    let mut meaning = row.map_or("the answer is not known", |row| row.meaning);
    if answer.status == "NG" && attempt == Attempt::Database {
        meaning = "it has no key of that reservation: they have ended, or were made before on_line was set";
    }
    let certain = row.is_some_and(|row| row.certainly_no_effect || (trusted && matches!(row.code, "RY" | "NR")));
    let code = match answer.status.as_str() {
        "RY" if attempt.uses_encoder() => NO_CARD,
        "NR" if attempt.uses_encoder() => ENCODER_SILENT,
        "NG" if attempt == Attempt::Database => NO_STAY,
        _ => UNCATEGORIZED,
    };
    OperationError {
        code,
        message: format!("could not {doing}: {meaning} (FIAS status {})", answer.status.escape_debug()),
        vendor_code: answer.status.clone(),
        vendor_text: answer.text.chars().take(VENDOR_TEXT_CHARACTERS).collect(),
        effect: if attempt.changes_something() && !certain { Effect::Unknown } else { Effect::None },
        retry: if row.is_some_and(|row| row.is_retryable) { Retry::Later } else { Retry::Never },
    }
}

#[cfg(test)]
mod tests {
    use lockbridge_protocol::fias::code::STATUSES;
    use lockbridge_protocol::fias::key::KeyRecordKind;

    use super::*;

    fn answer(status: &str) -> KeyRecord {
        KeyRecord { status: status.into(), text: "t".repeat(300), ..KeyRecord::new(KeyRecordKind::Answer) }
    }

    #[test]
    fn only_what_the_table_vouches_for_is_told_as_without_effect() {
        for row in STATUSES.iter().filter(|row| !row.is_success) {
            let error = answered_no(Attempt::Encode, "x", &answer(row.code), false);
            assert_eq!(error.effect == Effect::None, row.certainly_no_effect, "{}", row.code);
            assert_eq!((error.vendor_code.as_str(), error.vendor_text.len()), (row.code, 200));
            assert_eq!(answered_no(Attempt::Read, "x", &answer(row.code), false).effect, Effect::None);
        }
        let strange = answered_no(Attempt::Encode, "x", &answer("ZZ"), true);
        assert_eq!((strange.effect, strange.retry), (Effect::Unknown, Retry::Never));
        for code in ["RY", "NR"] {
            assert_eq!(answered_no(Attempt::Encode, "x", &answer(code), false).effect, Effect::Unknown);
            assert_eq!(answered_no(Attempt::Encode, "x", &answer(code), true).effect, Effect::None);
        }
        let stay = answered_no(Attempt::Database, "x", &answer("NG"), false);
        assert_eq!((stay.code, stay.effect, stay.retry), ("grant_not_found", Effect::None, Retry::Never));
        assert!(stay.message.contains("on_line"), "{stay}");
    }

    #[test]
    fn silence_is_doubt_and_what_was_not_sent_is_none() {
        let why = || "why".to_owned();
        for outcome in [Outcome::NotArrived(why()), Outcome::Down(why()), Outcome::Unusable(why())] {
            assert_eq!(unanswered(Attempt::Encode, "x", &outcome).effect, Effect::None, "{outcome:?}");
        }
        let unknown = unanswered(Attempt::Encode, "x", &Outcome::Unknown(why()));
        assert_eq!((unknown.effect, unknown.code), (Effect::Unknown, ENCODER_SILENT));
        assert_eq!(unanswered(Attempt::Database, "x", &Outcome::Unknown(why())).effect, Effect::Unknown);
        assert_eq!(unanswered(Attempt::Read, "x", &Outcome::Unknown(why())).effect, Effect::None);
    }
}
