//! The vendor's error codes, as far as this server gives them by itself. A fault may send any other number.

use thiserror::Error;

/// Codes of `Exception/Code` and `OnlineDoorActionResult/ErrorCode`.
pub mod code {
    pub const DATABASE: u16 = 1;
    pub const GENERAL: u16 = 4;
    pub const BUSINESS_RULE: u16 = 7;
    pub const EXISTS: u16 = 10;
    pub const NOT_FOUND: u16 = 11;
    pub const INVALID: u16 = 12;
    pub const NOT_LICENSED: u16 = 13;
    pub const LICENCE_LIMIT: u16 = 14;
    pub const DOOR_NOT_FOUND: u16 = 100;
    pub const USER_NOT_FOUND: u16 = 200;
    pub const USER_LOCKED: u16 = 201;
    pub const USER_EXISTS: u16 = 202;
    pub const SERIAL_IN_USE: u16 = 203;
    pub const CANCELLABLE_FIXED: u16 = 205;
    pub const EXPIRY_TOO_FAR: u16 = 206;
    pub const NO_KEY: u16 = 300;
    pub const NO_MORE_KEYS: u16 = 301;
    pub const NOT_RECOGNISED: u16 = 302;
    pub const DOES_NOT_FIT: u16 = 304;
    pub const HAS_KEY: u16 = 305;
    pub const BAD_STRUCTURE: u16 = 306;
    pub const UNKNOWN_ENCODER: u16 = 400;
    pub const NO_COMMUNICATION: u16 = 401;
    pub const BUSY: u16 = 402;
    pub const NO_CARD: u16 = 403;
    pub const PROCESS_FAILED: u16 = 404;
    pub const PROCESS_CANCELLED: u16 = 405;
    pub const NOT_WELL_FORMED: u16 = 500;
    pub const UNEXPECTED_NODES: u16 = 501;
    pub const UNKNOWN_REQUEST: u16 = 502;
    pub const WRONG_TYPE: u16 = 503;
}

/// A refused request: what goes into `Exception`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// Number of the vendor's table.
    pub code: u16,
    /// Free text; only that of 502 is known from real servers.
    pub message: String,
}

impl Refusal {
    /// A refusal with a text of its own.
    pub fn new(code: u16, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A refusal with the usual text of its code.
    pub fn of(code: u16) -> Self {
        Self::new(code, text(code))
    }
}

/// The usual text of a code.
pub const fn text(code: u16) -> &'static str {
    match code {
        0 => "Success",
        1 => "Database error",
        4 => "General error",
        5 => "Process aborted",
        6 => "Unknown process",
        7 => "Business rule violated",
        10 => "Entity already exists",
        11 => "Entity not found",
        12 => "Invalid parameter",
        13 => "Option not licensed",
        14 => "Licence limit exceeded",
        100 => "Door not found",
        101 => "Door locked by another process",
        102 => "Door already exists",
        200 => "User not found",
        201 => "User locked by another process",
        202 => "User already exists",
        203 => "Card serial used by another user",
        204 => "User may not belong to these access levels",
        205 => "Cancellable flag cannot change while a key exists",
        206 => "Expiry too far for a non-cancellable key",
        300 => "User has no key",
        301 => "No more keys can be issued",
        302 => "Key not recognised",
        303 => "Key placed wrongly",
        304 => "Data do not fit on the key",
        305 => "User already has a key",
        306 => "Key structure not valid",
        400 => "Unknown peripheral",
        401 => "No communication with the peripheral",
        402 => "Peripheral busy",
        403 => "Peripheral timed out",
        404 => "Peripheral process failed",
        405 => "Peripheral process cancelled",
        406 => "Peripheral not initialised",
        407 => "Peripheral wrongly initialised",
        500 => "XML not well formed",
        501 => "Unexpected nodes",
        502 => "Unknown request",
        503 => "Wrong data type",
        _ => "Error",
    }
}
