//! Records as these simulators read and print them; nothing of the product is used.

use std::fmt;

/// `RI|FFvalue|FFvalue|` as fields in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Two characters.
    pub id: String,
    /// Names of two characters, and values.
    pub fields: Vec<(String, String)>,
}

/// What cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// Names have two characters.
    #[error("{0:?} is not a name of two characters")]
    Name(String),
    /// Separators and control characters have no way through.
    #[error("the value of {0} holds a character that cannot be sent")]
    Value(String),
}

/// Bytes above ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum CodePage {
    /// UTF-8.
    Utf8,
    /// ISO 8859-1: what it lacks is sent as a question mark.
    Latin1,
}

impl CodePage {
    /// Bytes as text.
    pub fn read(self, bytes: &[u8]) -> String {
        match self {
            Self::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
            Self::Latin1 => bytes.iter().map(|byte| char::from(*byte)).collect(),
        }
    }

    /// Text as bytes.
    pub fn print(self, text: &str) -> Vec<u8> {
        match self {
            Self::Utf8 => text.as_bytes().to_vec(),
            Self::Latin1 => text.chars().map(|letter| u8::try_from(letter).unwrap_or(b'?')).collect(),
        }
    }
}

impl Record {
    /// Without fields.
    pub fn new(id: &str) -> Self {
        Self { id: id.to_owned(), fields: Vec::new() }
    }

    /// With one more field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.push((name.to_owned(), value.into()));
        self
    }

    /// Checks what somebody asked to be sent.
    pub fn check(&self) -> Result<(), BadRecord> {
        let is_name = |name: &str| name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'|');
        if !is_name(&self.id) {
            return Err(BadRecord::Name(self.id.clone()));
        }
        for (name, value) in &self.fields {
            if !is_name(name) {
                return Err(BadRecord::Name(name.clone()));
            }
            if value.chars().any(|letter| letter == '|' || letter.is_control()) {
                return Err(BadRecord::Value(name.clone()));
            }
        }
        Ok(())
    }

    /// The first field of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value, or nothing.
    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// Reads the body of a frame; `None` without an id.
    pub fn read(body: &[u8], page: CodePage) -> Option<Self> {
        let text = page.read(body);
        let mut parts = text.split('|');
        let id = parts.next().filter(|id| id.len() == 2 && id.is_ascii())?.to_owned();
        let fields = parts
            .filter(|part| part.is_char_boundary(2) && part.len() >= 2)
            .map(|part| {
                let (name, value) = part.split_at(2);
                (name.to_owned(), value.to_owned())
            })
            .collect();
        Some(Self { id, fields })
    }

    /// The body of a frame.
    pub fn print(&self, page: CodePage) -> Vec<u8> {
        page.print(&self.to_string())
    }
}

impl fmt::Display for Record {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}|", self.id)?;
        for (name, value) in &self.fields {
            write!(formatter, "{name}{value}|")?;
        }
        Ok(())
    }
}

/// Field names of an `LR`.
pub fn names(list: &str) -> Vec<String> {
    let letters: Vec<char> = list.chars().collect();
    letters.chunks_exact(2).map(|pair| pair.iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_went() {
        let record = Record::new("KR").with("RN", "0101").with("SF", "").with("GN", "Zoë");
        assert_eq!(record.to_string(), "KR|RN0101|SF|GNZoë|");
        for page in [CodePage::Utf8, CodePage::Latin1] {
            assert_eq!(Record::read(&record.print(page), page).as_ref(), Some(&record));
        }
        assert_eq!(record.text("RN"), "0101");
        assert_eq!(Record::read(b"K", CodePage::Utf8), None);
        assert_eq!(names("WSKCRN"), ["WS", "KC", "RN"]);
        assert!(Record::new("KR").with("RN", "1|2").check().is_err());
        assert!(Record::new("KRX").check().is_err());
    }
}
