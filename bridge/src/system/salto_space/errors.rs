//! From what a call met to what the model says: code, effect, retry.
//!
//! An exception is an answer: for most codes it proves that nothing happened. Silence, a cut connection and an unreadable
//! answer prove nothing, so they leave doubt unless the request could not change anything (rule B4).

use lockbridge_protocol::ship::envelope::Exception;
use lockbridge_protocol::ship::error_code;

use super::session::SessionError;
use crate::system::{Effect, OperationError, Retry};

/// What was attempted; decides what a failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    /// Reading the database.
    Read,
    /// Writing the database.
    Write,
    /// Opening a door.
    Unlock,
    /// Writing a card.
    Encode,
    /// Reading a card.
    Scan,
}

impl Attempt {
    /// A failure without an answer leaves doubt.
    fn changes_something(self) -> bool {
        !matches!(self, Self::Read | Self::Scan)
    }

    fn uses_encoder(self) -> bool {
        matches!(self, Self::Encode | Self::Scan)
    }
}

/// Longest vendor text handed on.
const VENDOR_TEXT_CHARACTERS: usize = 200;

pub(super) const UNREACHABLE: &str = "bridge_disconnected";
pub(super) const LOGIN_REFUSED: &str = "account_disconnected";
/// What is asked at all is not licensed: only people can change that.
const NOT_LICENSED: &str = "setup_required";
pub(super) const UNCATEGORIZED: &str = "uncategorized_error";
pub(super) const ENCODER_SILENT: &str = "encoder_communication_timeout";
pub(super) const ENCODER_OFFLINE: &str = "encoder_not_online";
pub(super) const NO_CARD: &str = "no_credential_on_encoder";
pub(super) const INTERRUPTED: &str = "encoding_interrupted";
pub(super) const INCOMPATIBLE: &str = "incompatible_card_format";
pub(super) const NOT_REISSUABLE: &str = "credential_cannot_be_reissued";

/// An error that no server had a part in.
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

/// `doing` completes "could not ...", for example "write the card of LB-X on encoder `Desk`".
pub(super) fn operation_error(attempt: Attempt, doing: &str, error: &SessionError) -> OperationError {
    if let SessionError::Exception(exception) = error {
        return from_exception(attempt, doing, exception);
    }
    let code = match error {
        // A secret that cannot be read is a login that cannot be made.
        SessionError::LoginRefused { .. } | SessionError::Secret { .. } => LOGIN_REFUSED,
        SessionError::Silence if attempt.uses_encoder() => ENCODER_SILENT,
        SessionError::TooLarge { .. } | SessionError::Unreadable { .. } => UNCATEGORIZED,
        _ => UNREACHABLE,
    };
    let doubt = attempt.changes_something() && !error.is_unsent();
    let vendor_code = match error {
        SessionError::LoginRefused { status } => format!("HTTP {status}"),
        _ => String::new(),
    };
    OperationError {
        code,
        message: format!("could not {doing}: {error}"),
        vendor_code,
        vendor_text: String::new(),
        effect: if doubt { Effect::Unknown } else { Effect::None },
        // Refused credentials are worth another try: the bridge waits longer each time, and a revoke must outlive a change
        // of password.
        retry: if matches!(error, SessionError::TooLarge { .. }) { Retry::Never } else { Retry::Later },
    }
}

fn from_exception(attempt: Attempt, doing: &str, exception: &Exception) -> OperationError {
    let row = error_code::lookup(exception.code);
    let effect = if row.certainly_no_effect || !attempt.changes_something() { Effect::None } else { Effect::Unknown };
    OperationError {
        code: model_code(attempt, exception.code),
        message: format!("could not {doing}: {} (SALTO Space error {})", row.meaning, exception.code),
        vendor_code: exception.code.to_string(),
        vendor_text: exception.message.chars().take(VENDOR_TEXT_CHARACTERS).collect(),
        effect,
        retry: if row.retryable { Retry::Later } else { Retry::Never },
    }
}

fn model_code(attempt: Attempt, code: i64) -> &'static str {
    match (code, attempt) {
        (401, _) => ENCODER_OFFLINE,
        // A scan has no words for a card that cannot be read; "nothing readable presented" is what it is.
        (403, _) | (302 | 303 | 306 | 404, Attempt::Scan) => NO_CARD,
        (302 | 303 | 304 | 306, _) => INCOMPATIBLE,
        (404 | 405, Attempt::Encode) => INTERRUPTED,
        (300 | 305, _) => NOT_REISSUABLE,
        (13 | 14, Attempt::Read) => NOT_LICENSED,
        _ => UNCATEGORIZED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exception(attempt: Attempt, code: i64) -> OperationError {
        let exception = Exception { code, message: "x".repeat(500) };
        operation_error(attempt, "do it", &SessionError::Exception(exception))
    }

    #[test]
    fn codes_of_the_encoder_become_the_models() {
        for (code, expected, effect, retry) in [
            (400, UNCATEGORIZED, Effect::None, Retry::Never),
            (401, ENCODER_OFFLINE, Effect::None, Retry::Later),
            (402, UNCATEGORIZED, Effect::None, Retry::Later),
            (403, NO_CARD, Effect::None, Retry::Later),
            (404, INTERRUPTED, Effect::Unknown, Retry::Never),
            (405, INTERRUPTED, Effect::Unknown, Retry::Never),
            (302, INCOMPATIBLE, Effect::None, Retry::Never),
            (303, INCOMPATIBLE, Effect::None, Retry::Never),
            (306, INCOMPATIBLE, Effect::None, Retry::Never),
            (300, NOT_REISSUABLE, Effect::None, Retry::Never),
            (305, NOT_REISSUABLE, Effect::None, Retry::Never),
            (13, UNCATEGORIZED, Effect::None, Retry::Never),
            (4711, UNCATEGORIZED, Effect::Unknown, Retry::Never),
        ] {
            let error = exception(Attempt::Encode, code);
            assert_eq!((error.code, error.effect, error.retry), (expected, effect, retry), "{code}");
            assert_eq!(error.vendor_code, code.to_string());
            assert_eq!(error.vendor_text.len(), VENDOR_TEXT_CHARACTERS);
        }
    }

    #[test]
    fn reading_never_leaves_doubt() {
        for error in [SessionError::Silence, SessionError::Cut { reason: String::new() }] {
            assert_eq!(operation_error(Attempt::Scan, "", &error).effect, Effect::None);
            assert_eq!(operation_error(Attempt::Read, "", &error).effect, Effect::None);
            for attempt in [Attempt::Write, Attempt::Encode, Attempt::Unlock] {
                assert_eq!(operation_error(attempt, "", &error).effect, Effect::Unknown, "{error:?}");
            }
        }
        assert_eq!(exception(Attempt::Scan, 404).effect, Effect::None);
        assert_eq!(exception(Attempt::Read, 13).code, NOT_LICENSED);
    }

    #[test]
    fn what_was_not_sent_has_no_effect() {
        for error in [
            SessionError::Connect { to: String::new(), reason: String::new() },
            SessionError::Secret { reason: String::new() },
            SessionError::TooLarge { reason: String::new() },
            SessionError::Occupied,
            SessionError::LoginRefused { status: 401 },
        ] {
            assert_eq!(operation_error(Attempt::Encode, "", &error).effect, Effect::None, "{error:?}");
        }
        assert_eq!(operation_error(Attempt::Encode, "", &SessionError::Silence).code, ENCODER_SILENT);
        assert_eq!(operation_error(Attempt::Write, "", &SessionError::Silence).code, UNREACHABLE);
    }
}
