//! From what became of a request to what the model says: code, effect, retry.
//!
//! The machine's word decides about the effect: only what was certainly not begun, and an error of the table that certainly
//! changed nothing, is told as "no effect". Reading changes nothing, whatever comes back.

use lockbridge_protocol::salto_pms::answer::Refusal;
use lockbridge_protocol::salto_pms::client::{NotBegun, SubmitError};
use tokio::time::Instant;

use super::job::{Obstacle, Outcome};
pub(super) use crate::system::key_service::{Attempt, refused};
use crate::system::{Effect, OperationError, Retry};

/// Longest vendor text handed on.
const VENDOR_TEXT_CHARACTERS: usize = 200;

pub(super) const UNREACHABLE: &str = "bridge_disconnected";
pub(super) const UNCATEGORIZED: &str = "uncategorized_error";
/// What is asked cannot be written in this protocol.
pub(super) const INVALID: &str = "invalid_input";
const SETUP: &str = "setup_required";
const ENCODER_SILENT: &str = "encoder_communication_timeout";
const ENCODER_OFFLINE: &str = "encoder_not_online";
const NO_CARD: &str = "no_credential_on_encoder";
const INCOMPATIBLE: &str = "incompatible_card_format";
const NOT_REISSUABLE: &str = "credential_cannot_be_reissued";

/// A request without an answer. `doing` completes "could not ...".
pub(super) fn unanswered(attempt: Attempt, doing: &str, outcome: &Outcome) -> OperationError {
    let (code, why, is_doubtful) = match outcome {
        Outcome::NotBegun(why @ (NotBegun::Silent | NotBegun::LinkLost)) => (UNREACHABLE, why.to_string(), false),
        Outcome::NotBegun(why) => (UNCATEGORIZED, why.to_string(), false),
        Outcome::Unknown(why) if attempt.uses_encoder() => (ENCODER_SILENT, why.to_string(), true),
        Outcome::Unknown(why) => (UNCATEGORIZED, why.to_string(), true),
        Outcome::Refused(SubmitError::Frame(why)) => (INVALID, why.to_string(), false),
        Outcome::Refused(why) => (UNCATEGORIZED, why.to_string(), false),
        Outcome::Down(why) => (UNREACHABLE, why.clone(), false),
        Outcome::NotInTime(obstacle) => return not_in_time(doing, obstacle),
        // Not what a request can end with.
        Outcome::Answered(_) | Outcome::Ready => (UNCATEGORIZED, "the answer cannot be read".to_owned(), true),
    };
    let is_final = matches!(outcome, Outcome::Refused(SubmitError::Frame(_)));
    OperationError {
        code,
        message: format!("could not {doing}: {why}"),
        vendor_code: String::new(),
        vendor_text: String::new(),
        effect: if is_doubtful && attempt.changes_something() { Effect::Unknown } else { Effect::None },
        retry: if is_final { Retry::Never } else { Retry::Later },
    }
}

/// A request whose turn did not come: certainly nothing was sent.
fn not_in_time(doing: &str, obstacle: &Obstacle) -> OperationError {
    let (code, why) = match obstacle {
        Obstacle::Down(why) => (UNREACHABLE, why.clone()),
        Obstacle::Held(until) => {
            let seconds = until.saturating_duration_since(Instant::now()).as_secs().saturating_add(1);
            let why = format!(
                "the answer to an earlier request is still missing, and could be taken for this one's; try again in {seconds} s"
            );
            (UNCATEGORIZED, why)
        }
        Obstacle::Busy | Obstacle::None => {
            (UNCATEGORIZED, "other requests are on the line before it; try again when they are done".to_owned())
        }
    };
    refused(code, format!("could not {doing}: {why}"), Retry::Later)
}

/// An error answer. `trusted`: the site vouches that an encoder which reports a fault has written nothing.
pub(super) fn answered_no(attempt: Attempt, doing: &str, refusal: &Refusal, trusted: bool) -> OperationError {
    let meaning = refusal.known.map_or("the answer is not known", |row| row.meaning);
    let remedy = refusal.known.map(|row| format!("; {}", row.remedy)).unwrap_or_default();
    let certain = refusal.is_certainly_without_effect() || (trusted && matches!(refusal.code.as_str(), "NC" | "EP"));
    let doubt = attempt.changes_something() && !certain;
    OperationError {
        code: model_code(&refusal.code, attempt),
        message: format!("could not {doing}: {meaning} (SALTO PMS error {}){remedy}", refusal.code),
        vendor_code: refusal.code.clone(),
        vendor_text: refusal.text.chars().take(VENDOR_TEXT_CHARACTERS).collect(),
        effect: if doubt { Effect::Unknown } else { Effect::None },
        retry: if refusal.known.is_some_and(|row| row.retryable) { Retry::Later } else { Retry::Never },
    }
}

fn model_code(code: &str, attempt: Attempt) -> &'static str {
    match code {
        "NC" => ENCODER_OFFLINE,
        "EP" | "ED" => NO_CARD,
        // A read has no words for a card that cannot be read; "nothing readable presented" is what it is.
        "EF" if attempt == Attempt::Read => NO_CARD,
        "EF" | "EV" => INCOMPATIBLE,
        "EA" if matches!(attempt, Attempt::Encode | Attempt::Send) => NOT_REISSUABLE,
        "TD" | "NF" => SETUP,
        _ => UNCATEGORIZED,
    }
}

#[cfg(test)]
mod tests {
    use lockbridge_protocol::salto_pms::client::Doubt;
    use lockbridge_protocol::salto_pms::error_code::{TABLE, lookup};

    use super::*;

    fn refusal(code: &str) -> Refusal {
        Refusal { code: code.into(), known: lookup(code.as_bytes()), about: "1".into(), text: "t".repeat(300) }
    }

    #[test]
    fn only_what_the_table_vouches_for_is_told_as_without_effect() {
        for row in TABLE {
            let error = answered_no(Attempt::Encode, "x", &refusal(row.code), false);
            assert_eq!(error.effect == Effect::None, row.certainly_no_effect, "{}", row.code);
            assert_eq!((error.vendor_code.as_str(), error.vendor_text.len()), (row.code, 200));
            let read = answered_no(Attempt::Read, "x", &refusal(row.code), false);
            assert_eq!(read.effect, Effect::None, "reading changes nothing");
        }
        let strange = answered_no(Attempt::Encode, "x", &refusal("Z9"), false);
        assert_eq!((strange.effect, strange.retry), (Effect::Unknown, Retry::Never));
    }

    #[test]
    fn an_encoder_that_fails_is_believed_only_where_the_site_says_so() {
        for code in ["NC", "EP"] {
            assert_eq!(answered_no(Attempt::Encode, "x", &refusal(code), false).effect, Effect::Unknown);
            assert_eq!(answered_no(Attempt::Encode, "x", &refusal(code), true).effect, Effect::None);
        }
        assert_eq!(answered_no(Attempt::Encode, "x", &refusal("EG"), true).effect, Effect::Unknown);
        assert_eq!(answered_no(Attempt::Encode, "x", &refusal("NC"), true).code, "encoder_not_online");
        assert_eq!(answered_no(Attempt::Encode, "x", &refusal("ED"), true).code, "no_credential_on_encoder");
        assert_eq!(answered_no(Attempt::Encode, "x", &refusal("EA"), true).code, "credential_cannot_be_reissued");
    }

    #[test]
    fn silence_is_doubt_and_what_was_not_begun_is_none() {
        for why in [NotBegun::Silent, NotBegun::NotReady, NotBegun::Refused { times: 3 }, NotBegun::LinkLost] {
            let error = unanswered(Attempt::Encode, "x", &Outcome::NotBegun(why));
            assert_eq!((error.effect, error.retry), (Effect::None, Retry::Later), "{why:?}");
        }
        for why in [Doubt::NoAnswer, Doubt::AnswerLost, Doubt::Unacknowledged, Doubt::LinkLost] {
            let error = unanswered(Attempt::Encode, "x", &Outcome::Unknown(why));
            assert_eq!((error.effect, error.code), (Effect::Unknown, "encoder_communication_timeout"), "{why:?}");
            assert_eq!(unanswered(Attempt::Database, "x", &Outcome::Unknown(why)).effect, Effect::Unknown);
            assert_eq!(unanswered(Attempt::Read, "x", &Outcome::Unknown(why)).effect, Effect::None);
        }
    }
}
