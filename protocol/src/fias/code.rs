//! Code tables: key types and answer statuses.

/// What kind of key to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// `N`: earlier keys of the main room end.
    New,
    /// `D`: earlier keys stay.
    Duplicate,
    /// `O`: opens once.
    OneShot,
}

impl KeyType {
    /// The value of `KT`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::New => "N",
            Self::Duplicate => "D",
            Self::OneShot => "O",
        }
    }

    /// `None` for a value that no table has.
    pub fn from_code(code: &str) -> Option<Self> {
        [Self::New, Self::Duplicate, Self::OneShot].into_iter().find(|each| each.code() == code)
    }
}

/// What an answer status means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRow {
    /// The value of `AS`.
    pub code: &'static str,
    /// For people.
    pub meaning: &'static str,
    /// Done.
    pub is_success: bool,
    /// The same request can succeed later.
    pub is_retryable: bool,
    /// Certainly neither a database nor a card was changed.
    pub certainly_no_effect: bool,
}

const fn row(code: &'static str, meaning: &'static str, certainly_no_effect: bool) -> StatusRow {
    StatusRow { code, meaning, is_success: false, is_retryable: false, certainly_no_effect }
}

const fn later(code: &'static str, meaning: &'static str, certainly_no_effect: bool) -> StatusRow {
    StatusRow { code, meaning, is_success: false, is_retryable: true, certainly_no_effect }
}

/// Every status of the specification. The second part is not meant for keys; a key system that sends one has its own reasons, so
/// nothing is concluded from it. `RY` and `NR` come from encoders that began and failed as well as from ones that never began.
pub const STATUSES: &[StatusRow] = &[
    StatusRow { code: "OK", meaning: "done", is_success: true, is_retryable: false, certainly_no_effect: false },
    later("BY", "the encoder is busy", true),
    row("UR", "the request cannot be processed", true),
    later("RY", "failed for the moment; perhaps no card was presented", false),
    row("DE", "already deleted", true),
    row("DN", "denied", true),
    row("NG", "the guest is not known", true),
    later("NR", "the encoder did not answer", false),
    row("IA", "invalid account", false),
    later("NA", "night audit is running", false),
    row("FX", "the guest is not allowed this feature", false),
    row("NP", "no posting allowed", false),
    row("CO", "credit limit exceeded", false),
    row("CD", "not due to check out", false),
    row("BM", "the balance does not match", false),
    row("DM", "the sum does not match", false),
    row("NF", "the feature is switched off", false),
    row("NM", "the message is not known", false),
    row("AA", "the number is already assigned", false),
    row("AN", "the number is not assigned", false),
];

/// Looks a status up; `None` tells nothing, so nothing may be concluded.
pub fn status(code: &str) -> Option<StatusRow> {
    STATUSES.iter().find(|row| row.code == code).copied()
}
