//! Authorisations: up to 62 common doors beyond the room, each one symbol.

use super::text::FieldError;

/// Symbol of authorisation 1, 2, ... Quotes, upper case and bars are not used.
const SYMBOLS: &[u8; 62] = b"123456789abcdefghijklmnopqrstuvwxyz!#$%&()*+,-./:;<=>?@[\\]^_{}";

/// A set of authorisations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Authorisations {
    /// Bit `n - 1` is authorisation `n`.
    bits: u64,
}

impl Authorisations {
    /// Adds authorisation `number`, 1 to 62.
    pub fn insert(&mut self, number: u8) -> Result<(), FieldError> {
        if !(1..=62).contains(&number) {
            return Err(FieldError::Form { field: "authorisation", reason: "numbers go from 1 to 62" });
        }
        self.bits |= 1_u64.checked_shl(u32::from(number).saturating_sub(1)).unwrap_or(0);
        Ok(())
    }

    /// All of `numbers`.
    pub fn from_numbers(numbers: impl IntoIterator<Item = u8>) -> Result<Self, FieldError> {
        let mut set = Self::default();
        for number in numbers {
            set.insert(number)?;
        }
        Ok(set)
    }

    /// Ascending.
    pub fn numbers(self) -> impl Iterator<Item = u8> {
        (1..=62_u8).filter(move |number| self.bits.wrapping_shr(u32::from(*number).saturating_sub(1)) & 1 == 1)
    }

    /// None at all.
    pub fn is_empty(self) -> bool {
        self.bits == 0
    }

    /// In both sets.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self { bits: self.bits & other.bits }
    }

    /// Symbols in ascending order, as they stand in a field.
    pub fn write(self) -> Vec<u8> {
        self.numbers().filter_map(|number| SYMBOLS.get(usize::from(number).saturating_sub(1)).copied()).collect()
    }

    /// Reads a field; the second value is what is no symbol, in order.
    pub fn read(field: &[u8]) -> (Self, Vec<u8>) {
        let mut set = Self::default();
        let mut unknown = Vec::new();
        for byte in field {
            let number = SYMBOLS.iter().position(|symbol| symbol == byte).and_then(|index| u8::try_from(index).ok());
            match number.and_then(|index| index.checked_add(1)) {
                Some(number) if set.insert(number).is_ok() => {}
                _ => unknown.push(*byte),
            }
        }
        (set, unknown)
    }
}
