//! What may stand in a field, checked by name before anything is sent.

use super::limits::PHONE_DIGITS;

/// A request that cannot be sent as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// Must not be empty.
    #[error("{field} is missing")]
    Missing {
        /// Which field.
        field: &'static str,
    },
    /// Only printable ASCII is safe: a server may show or match anything else differently.
    #[error("{field} holds {character:?} as character {position}; only letters, digits and signs of ASCII can be sent")]
    Character {
        /// Which field.
        field: &'static str,
        /// The first that cannot be sent.
        character: char,
        /// From 1.
        position: usize,
    },
    /// Does not fit.
    #[error("{field} is {characters} characters long, at most {limit} fit")]
    TooLong {
        /// Which field.
        field: &'static str,
        /// Its length.
        characters: usize,
        /// What fits.
        limit: usize,
    },
    /// Has a form of its own.
    #[error("{field} is not valid: {reason}")]
    Form {
        /// Which field.
        field: &'static str,
        /// What it has to be.
        reason: &'static str,
    },
}

/// An optional text.
pub(super) fn text<'a>(field: &'static str, value: &'a str, limit: usize) -> Result<&'a [u8], FieldError> {
    let bad = value.chars().enumerate().find(|(_, character)| !matches!(character, ' '..='~'));
    if let Some((index, character)) = bad {
        return Err(FieldError::Character { field, character, position: index.saturating_add(1) });
    }
    if value.len() > limit {
        return Err(FieldError::TooLong { field, characters: value.len(), limit });
    }
    Ok(value.as_bytes())
}

/// A text that must be there. Spaces around it are refused: names match exactly, and nobody sees them on a screen.
pub(super) fn name<'a>(field: &'static str, value: &'a str, limit: usize) -> Result<&'a [u8], FieldError> {
    if value.trim().is_empty() {
        return Err(FieldError::Missing { field });
    }
    let bytes = text(field, value, limit)?;
    if value.trim() == value {
        Ok(bytes)
    } else {
        Err(FieldError::Form { field, reason: "a name must not start or end with a space" })
    }
}

/// An international telephone number: `+` and digits.
pub(super) fn phone<'a>(field: &'static str, value: &'a str) -> Result<&'a [u8], FieldError> {
    let digits = value.strip_prefix('+').unwrap_or_default();
    if digits.is_empty() || digits.len() > PHONE_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(FieldError::Form { field, reason: "a number is `+` and at most 15 digits" });
    }
    Ok(value.as_bytes())
}

/// A received field as text. Bytes above ASCII are shown as the DOS code page has them, from which the separator stems.
pub(super) fn shown(field: &[u8]) -> String {
    crate::line::code_page::CodePage::Cp850.decode(field).into_owned()
}
