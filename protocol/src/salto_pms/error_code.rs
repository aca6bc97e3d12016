//! Every error code of an answer, with what it means for us.

/// How to react to a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorCode {
    /// Stands where the command would.
    pub code: &'static str,
    /// For people.
    pub meaning: &'static str,
    /// What to do next, for people.
    pub remedy: &'static str,
    /// The same request can succeed later, without anything being changed in software.
    pub retryable: bool,
    /// The request certainly changed nothing: neither the database nor a card.
    pub certainly_no_effect: bool,
}

const fn refused(code: &'static str, meaning: &'static str, remedy: &'static str) -> ErrorCode {
    ErrorCode { code, meaning, remedy, retryable: false, certainly_no_effect: true }
}

const fn busy(code: &'static str, meaning: &'static str, remedy: &'static str) -> ErrorCode {
    ErrorCode { code, meaning, remedy, retryable: true, certainly_no_effect: true }
}

const fn doubtful(code: &'static str, meaning: &'static str, remedy: &'static str, retryable: bool) -> ErrorCode {
    ErrorCode { code, meaning, remedy, retryable, certainly_no_effect: false }
}

/// The whole table.
///
/// `NC` and `EP` are doubtful for a reason: an encoder unplugged, or a card taken away, in the middle of the job gives the same
/// code as one that never was there, and by then the card may carry the key. `NF` and `EG` tell nothing about how far it came.
pub const TABLE: &[ErrorCode] = &[
    refused("ES", "the command or one of its fields is not valid", "check names and dates of the request"),
    doubtful("NC", "the encoder does not answer", "check power and network of the encoder and its name", true),
    doubtful(
        "NF",
        "the interface database is damaged or missing",
        "repair the PMS interface at the Salto server",
        false,
    ),
    busy("OV", "the encoder is busy with an earlier task", "wait for it to finish"),
    doubtful("EP", "no card, or the card is placed wrongly", "place the card flat on the encoder and wait", true),
    busy("EF", "the card is foreign or damaged", "take another card"),
    busy("EV", "a valid staff card lies on the encoder", "take a guest card"),
    refused("TD", "the room is not known", "use the name that the room has at the Salto server"),
    busy("ED", "no card was presented in time", "start again with a card at hand"),
    refused("EA", "no copy is possible because the room is checked out", "make a new check-in instead"),
    refused("OS", "the room is out of service", "put the room into service at the Salto server"),
    busy("EO", "this guest card is being encoded at another station", "wait for the other station"),
    doubtful(
        "EG",
        "the server reports an error in its own words",
        "read the text, and look at the Salto server",
        false,
    ),
];

/// Audit trail: the door is not known, or the database failed.
pub const AUDIT_ERROR: &str = "WE";
/// Audit trail: nothing more to send, or nothing to repeat.
pub const AUDIT_END: &str = "WO";

/// Looks a code up; `None` tells nothing, so nothing may be concluded.
pub fn lookup(code: &[u8]) -> Option<ErrorCode> {
    TABLE.iter().find(|row| row.code.as_bytes() == code).copied()
}
