//! Identifiers that cross room borders, as types, so that one kind cannot be passed for another.

use std::fmt;

/// Identifies a command for ever: 128 bits chosen by the authority (or by the bridge for commands given on site).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub [u8; 16]);

impl CommandId {
    /// Reads the 16 bytes of the wire; `None` for any other length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes as they stand on the wire.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads the text form that [`Display`](fmt::Display) writes, with or without hyphens.
    pub fn parse(text: &str) -> Option<Self> {
        uuid::Uuid::parse_str(text).ok().map(|uuid| Self(uuid.into_bytes()))
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).hyphenated().fmt(formatter)
    }
}

impl fmt::Debug for CommandId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_round_trip() {
        let id = CommandId([7; 16]);
        assert_eq!(CommandId::parse(&id.to_string()), Some(id));
        assert_eq!(CommandId::from_bytes(id.as_bytes()), Some(id));
        assert_eq!(CommandId::from_bytes(&[0; 15]), None);
        assert_eq!(CommandId::parse("not an id"), None);
    }
}
