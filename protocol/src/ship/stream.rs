//! Events that Space pushes: JSON arrays of flat objects, one a datagram over UDP, one after another over TCP.
//!
//! Over TCP nothing marks where an array ends, so the reader follows brackets and strings. Sites pick the fields and the text
//! encoding; every field is optional and UTF-8 is preferred but not required.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde_json::{Map, Value};

use super::limits::{STREAM_DEPTH, STREAM_EVENTS, STREAM_MESSAGE_BYTES};
use super::value::parse_datetime;

/// One pushed event. Empty or `None`: the site does not send the field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamEvent {
    /// Decimal digits; whether it equals the number in the audit trail is not known.
    pub event_id: String,
    /// Server local time.
    pub local_time: Option<DateTime>,
    /// The same in UTC.
    pub utc_time: Option<Timestamp>,
    /// See [`operation`](super::operation).
    pub operation: Option<i64>,
    /// In the server's language.
    pub operation_text: String,
    /// At the inner reader.
    pub is_exit: Option<bool>,
    /// 0 cardholder, 1 door, 2 operator.
    pub user_type: Option<i64>,
    /// `ExtUserID`.
    pub user_id: String,
    /// `ExtDoorID`.
    pub door_id: String,
    /// Name of the door.
    pub door_name: String,
}

/// What one message held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamMessage {
    /// In order.
    pub events: Vec<StreamEvent>,
    /// Array items that are not objects, and events beyond the limit.
    pub skipped: usize,
}

/// A message that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// Larger than any known message.
    #[error("a message of the event stream exceeds {STREAM_MESSAGE_BYTES} bytes")]
    TooLarge,
    /// Brackets inside brackets.
    #[error("a message of the event stream is nested deeper than {STREAM_DEPTH}")]
    TooDeep,
    /// Not JSON, or neither an array nor an object.
    #[error("a message of the event stream is not a JSON array of events")]
    NotJson,
}

/// Reads one complete message, for example a datagram.
pub fn parse_message(bytes: &[u8]) -> Result<StreamMessage, StreamError> {
    if bytes.len() > STREAM_MESSAGE_BYTES {
        return Err(StreamError::TooLarge);
    }
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    // "ANSI" is one of the two encodings in use; Latin-1 reads all of it that matters here.
    let text: Cow<'_, str> = match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    };
    let items = match serde_json::from_str(&text).map_err(|_| StreamError::NotJson)? {
        Value::Array(items) => items,
        object @ Value::Object(_) => vec![object],
        _ => return Err(StreamError::NotJson),
    };
    let mut message = StreamMessage::default();
    for item in items {
        match item {
            Value::Object(fields) if message.events.len() < STREAM_EVENTS => message.events.push(event(&fields)),
            _ => message.skipped = message.skipped.saturating_add(1),
        }
    }
    Ok(message)
}

fn event(fields: &Map<String, Value>) -> StreamEvent {
    let text = |name: &str| match fields.get(name) {
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let number = |name: &str| match fields.get(name) {
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    let truth = match fields.get("IsExit") {
        Some(Value::Bool(truth)) => Some(*truth),
        _ => number("IsExit").map(|number| number != 0),
    };
    StreamEvent {
        event_id: text("EventID"),
        local_time: parse_datetime(&text("EventDateTime")),
        utc_time: parse_utc(&text("EventDateTimeUTC")),
        operation: number("OperationID"),
        operation_text: text("OperationDescription"),
        is_exit: truth,
        user_type: number("UserType"),
        user_id: text("UserExtID"),
        door_id: text("DoorExtID"),
        door_name: text("DoorName"),
    }
}

/// The `Z` is part of the field, but a field named UTC is UTC without it too.
fn parse_utc(text: &str) -> Option<Timestamp> {
    let datetime = parse_datetime(text.strip_suffix(['Z', 'z']).unwrap_or(text))?;
    jiff::tz::TimeZone::UTC.to_timestamp(datetime).ok()
}

/// Finds messages in a TCP stream that arrives in any pieces. Bytes between messages are skipped up to the next bracket.
#[derive(Debug, Default)]
pub struct StreamReader {
    message: Vec<u8>,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl StreamReader {
    /// At the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes from the front of `input` what belongs to the message in hand. `Some` when it is complete; call again while
    /// `input` is not empty. After an error of size or depth the place in the stream is lost: drop the connection.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<StreamMessage>, StreamError> {
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            if self.depth == 0 && !matches!(byte, b'[' | b'{') {
                continue;
            }
            if self.message.len() >= STREAM_MESSAGE_BYTES {
                return Err(StreamError::TooLarge);
            }
            self.message.push(byte);
            self.follow(byte)?;
            if self.depth == 0 {
                return parse_message(&std::mem::take(&mut self.message)).map(Some);
            }
        }
        Ok(None)
    }

    fn follow(&mut self, byte: u8) -> Result<(), StreamError> {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return Ok(());
        }
        match byte {
            b'"' => self.in_string = true,
            b'[' | b'{' => {
                self.depth = self.depth.saturating_add(1);
                if self.depth > STREAM_DEPTH {
                    return Err(StreamError::TooDeep);
                }
            }
            b']' | b'}' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        Ok(())
    }
}
