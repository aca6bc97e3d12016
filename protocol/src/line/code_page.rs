//! Code pages: which character a byte above ASCII is. Nothing on the line says it, so it is a setting of the site.

use std::borrow::Cow;

/// How a site writes what is not ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CodePage {
    /// Several bytes a character.
    Utf8,
    /// ISO 8859-1.
    Latin1,
    /// Western Windows.
    Cp1252,
    /// Western DOS.
    Cp850,
}

/// A character that the code page does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the code page has no {character:?}")]
pub struct NoSuchCharacter {
    /// The first one.
    pub character: char,
}

impl CodePage {
    /// By the name used in settings: `utf-8`, `latin-1`, `cp1252`, `cp850`, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Utf8, Self::Latin1, Self::Cp1252, Self::Cp850]
            .into_iter()
            .find(|page| page.name().eq_ignore_ascii_case(name))
    }

    /// The name used in settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Latin1 => "latin-1",
            Self::Cp1252 => "cp1252",
            Self::Cp850 => "cp850",
        }
    }

    /// Text of any bytes. A single-byte page gives every byte a character of its own, so nothing is lost; bytes that are no
    /// UTF-8 become U+FFFD.
    pub fn decode(self, bytes: &[u8]) -> Cow<'_, str> {
        match self {
            Self::Utf8 => String::from_utf8_lossy(bytes),
            _ if bytes.is_ascii() => String::from_utf8_lossy(bytes),
            _ => bytes.iter().map(|byte| self.character(*byte)).collect(),
        }
    }

    /// Appends the bytes of `text`. Nothing is appended on an error.
    pub fn encode(self, text: &str, out: &mut Vec<u8>) -> Result<(), NoSuchCharacter> {
        if self == Self::Utf8 || text.is_ascii() {
            out.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        let start = out.len();
        for character in text.chars() {
            let Some(byte) = self.byte(character) else {
                out.truncate(start);
                return Err(NoSuchCharacter { character });
            };
            out.push(byte);
        }
        Ok(())
    }

    fn character(self, byte: u8) -> char {
        let upper = match (self, byte) {
            (Self::Cp850, 0x80..) => CP850_UPPER.get(usize::from(byte & 0x7F)),
            (Self::Cp1252, 0x80..0xA0) => CP1252_UPPER.get(usize::from(byte & 0x1F)),
            _ => None,
        };
        upper.copied().unwrap_or_else(|| char::from(byte))
    }

    fn byte(self, character: char) -> Option<u8> {
        // Most characters stand where Latin-1 has them, so that place is asked first.
        let guess = u8::try_from(character).ok().filter(|byte| self.character(*byte) == character);
        guess.or_else(|| (0x80..=0xFF_u8).find(|byte| self.character(*byte) == character))
    }
}

/// 0x80 to 0x9F; five bytes without a character stand for the control codes of Latin-1.
#[rustfmt::skip]
const CP1252_UPPER: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8D}', 'Ž', '\u{8F}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9D}', 'ž', 'Ÿ',
];

/// 0x80 to 0xFF.
#[rustfmt::skip]
const CP850_UPPER: [char; 128] = [
    'Ç', 'ü', 'é', 'â', 'ä', 'à', 'å', 'ç', 'ê', 'ë', 'è', 'ï', 'î', 'ì', 'Ä', 'Å',
    'É', 'æ', 'Æ', 'ô', 'ö', 'ò', 'û', 'ù', 'ÿ', 'Ö', 'Ü', 'ø', '£', 'Ø', '×', 'ƒ',
    'á', 'í', 'ó', 'ú', 'ñ', 'Ñ', 'ª', 'º', '¿', '®', '¬', '½', '¼', '¡', '«', '»',
    '░', '▒', '▓', '│', '┤', 'Á', 'Â', 'À', '©', '╣', '║', '╗', '╝', '¢', '¥', '┐',
    '└', '┴', '┬', '├', '─', '┼', 'ã', 'Ã', '╚', '╔', '╩', '╦', '╠', '═', '╬', '¤',
    'ð', 'Ð', 'Ê', 'Ë', 'È', 'ı', 'Í', 'Î', 'Ï', '┘', '┌', '█', '▄', '¦', 'Ì', '▀',
    'Ó', 'ß', 'Ô', 'Ò', 'õ', 'Õ', 'µ', 'þ', 'Þ', 'Ú', 'Û', 'Ù', 'ý', 'Ý', '¯', '´',
    '\u{AD}', '±', '‗', '¾', '¶', '§', '÷', '¸', '°', '¨', '·', '¹', '³', '²', '■', '\u{A0}',
];

#[cfg(test)]
mod tests {
    use super::*;

    const PAGES: [CodePage; 4] = [CodePage::Utf8, CodePage::Latin1, CodePage::Cp1252, CodePage::Cp850];

    #[test]
    fn single_byte_pages_lose_nothing() {
        for page in PAGES.into_iter().filter(|page| *page != CodePage::Utf8) {
            let bytes: Vec<u8> = (0..=255).collect();
            let text = page.decode(&bytes);
            assert_eq!(text.chars().count(), 256);
            let mut back = Vec::new();
            assert_eq!(page.encode(&text, &mut back), Ok(()), "{page:?}");
            assert_eq!(back, bytes, "{page:?}");
        }
    }

    #[test]
    fn known_characters() {
        for (page, text, bytes) in [
            (CodePage::Utf8, "Zürich", &b"Z\xC3\xBCrich"[..]),
            (CodePage::Latin1, "Zürich", b"Z\xFCrich"),
            (CodePage::Cp1252, "Zürich €", b"Z\xFCrich \x80"),
            (CodePage::Cp850, "Zürich ß", b"Z\x81rich \xE1"),
            (CodePage::Cp850, "\u{2502}", b"\xB3"),
        ] {
            let mut out = Vec::new();
            assert_eq!(page.encode(text, &mut out), Ok(()));
            assert_eq!((&out[..], &*page.decode(bytes)), (bytes, text), "{page:?}");
        }
    }

    #[test]
    fn a_character_that_is_not_there_is_named() {
        for page in [CodePage::Latin1, CodePage::Cp1252, CodePage::Cp850] {
            let mut out = vec![b'x'];
            assert_eq!(page.encode("Łódź", &mut out), Err(NoSuchCharacter { character: 'Ł' }), "{page:?}");
            assert_eq!(out, b"x");
        }
        assert_eq!(CodePage::Utf8.decode(b"a\xFFb"), "a\u{FFFD}b");
    }

    #[test]
    fn names_of_settings() {
        for page in PAGES {
            assert_eq!(CodePage::from_name(&page.name().to_uppercase()), Some(page));
        }
        assert_eq!(CodePage::from_name("cp437"), None);
    }
}
