//! Every error code of SHIP, with what it means for us. Texts are not fixed by anything, so only numbers count.

/// How to react to a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorCode {
    /// The number.
    pub code: i64,
    /// For people.
    pub meaning: &'static str,
    /// The same request can succeed later, without anything being changed by hand.
    pub retryable: bool,
    /// The request certainly changed nothing: neither the database nor a card.
    pub certainly_no_effect: bool,
}

/// Row without an effect that only a change of data helps.
const fn refused(code: i64, meaning: &'static str) -> ErrorCode {
    ErrorCode { code, meaning, retryable: false, certainly_no_effect: true }
}

/// Row without an effect that time can help.
const fn busy(code: i64, meaning: &'static str) -> ErrorCode {
    ErrorCode { code, meaning, retryable: true, certainly_no_effect: true }
}

/// Row that does not tell how far the server came.
const fn doubtful(code: i64, meaning: &'static str, retryable: bool) -> ErrorCode {
    ErrorCode { code, meaning, retryable, certainly_no_effect: false }
}

/// Code of a server that does not know a request: "not supported by this version".
pub const UNKNOWN_REQUEST: i64 = 502;

/// The whole table, ascending.
///
/// 404 and 405 end an encoder job that had begun: the card may already carry a part of it. 1, 4, 5 and 6 are failures
/// inside the server after it accepted the request.
pub const TABLE: &[ErrorCode] = &[
    ErrorCode { code: 0, meaning: "success", retryable: false, certainly_no_effect: false },
    doubtful(1, "database problem", true),
    doubtful(4, "general error", false),
    doubtful(5, "process aborted", false),
    doubtful(6, "unknown process", false),
    refused(7, "a business rule forbids it"),
    refused(10, "the object already exists"),
    refused(11, "the object is not known"),
    refused(12, "a parameter is not valid"),
    refused(13, "not covered by the licence"),
    refused(14, "the limit of the licence is reached"),
    refused(100, "the door is not known"),
    busy(101, "the door is being edited by somebody else"),
    refused(102, "the door already exists"),
    refused(200, "the user is not known"),
    busy(201, "the user is being edited by somebody else"),
    refused(202, "the user already exists"),
    refused(203, "another user has a card with this serial"),
    refused(204, "the user may not belong to these access levels"),
    refused(205, "the denylist setting cannot change while a key exists"),
    refused(206, "the end of validity is too far for a key that cannot be cancelled"),
    refused(300, "the user has no key"),
    refused(301, "no more keys can be issued"),
    refused(302, "the key is not recognised"),
    refused(303, "the key is placed wrongly"),
    refused(304, "the data does not fit on the key"),
    refused(305, "the user already has a key"),
    refused(306, "the structure of the key is not valid"),
    refused(400, "the encoder is not known"),
    busy(401, "the encoder does not answer"),
    busy(402, "the encoder is busy"),
    busy(403, "no key was presented in time"),
    doubtful(404, "the encoder's process failed", false),
    doubtful(405, "the encoder's process was cancelled", false),
    refused(406, "the encoder is not initialised"),
    refused(407, "the encoder is wrongly initialised"),
    refused(500, "the XML is not well formed"),
    refused(501, "unexpected XML elements"),
    refused(UNKNOWN_REQUEST, "the request is not known"),
    refused(503, "a field has the wrong type"),
    refused(600, "the type of a zone cannot change"),
    refused(601, "too many low zones"),
];

/// Looks a code up. A code that is not in the table tells nothing: no effect is not certain and nothing says that time helps.
pub fn lookup(code: i64) -> ErrorCode {
    TABLE.iter().find(|row| row.code == code).copied().unwrap_or_else(|| doubtful(code, "unknown error", false))
}
