//! Scalars as they stand on the wire: read leniently, written in one form.

use std::fmt;

use jiff::ToSpan;
use jiff::civil::{Date, DateTime, Time};

use super::notes::Notes;
use super::xml::Element;

/// "No value" in an unused permission period.
pub const NO_PERIOD: DateTime = DateTime::constant(1900, 1, 1, 0, 0, 0, 0);
/// "No value" in an unused expiration, and the start of a key without one.
pub const NO_EXPIRATION: DateTime = DateTime::constant(2000, 1, 1, 0, 0, 0, 0);

/// A field of an entity: one element of a given name.
pub trait FieldValue: Sized {
    /// Reads the element; `None` when its content is of another type. Notes name what inside was not understood.
    fn read(element: &Element, notes: &mut Notes) -> Option<Self>;

    /// Writes the element.
    fn write(&self, name: &str) -> Element;
}

impl FieldValue for String {
    fn read(element: &Element, _notes: &mut Notes) -> Option<Self> {
        element.children.is_empty().then(|| element.text.clone())
    }

    fn write(&self, name: &str) -> Element {
        Element::with_text(name, &**self)
    }
}

/// Text about a person, or a code: on the wire like any other, but never in a log.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Personal(pub String);

impl fmt::Debug for Personal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_empty() { "Personal(empty)" } else { "Personal(..)" })
    }
}

impl FieldValue for Personal {
    fn read(element: &Element, notes: &mut Notes) -> Option<Self> {
        String::read(element, notes).map(Self)
    }

    fn write(&self, name: &str) -> Element {
        self.0.write(name)
    }
}

/// A field that is known and has no use here: kept as it came.
impl FieldValue for Element {
    fn read(element: &Element, _notes: &mut Notes) -> Option<Self> {
        Some(element.clone())
    }

    fn write(&self, name: &str) -> Element {
        Self { name: name.to_owned(), ..self.clone() }
    }
}

/// `0` and `1`; the words are accepted because nothing forbids a server to write them.
impl FieldValue for bool {
    fn read(element: &Element, _notes: &mut Notes) -> Option<Self> {
        match element.text.as_str() {
            "0" => Some(false),
            "1" => Some(true),
            word if word.eq_ignore_ascii_case("false") => Some(false),
            word if word.eq_ignore_ascii_case("true") => Some(true),
            _ => None,
        }
    }

    fn write(&self, name: &str) -> Element {
        Element::with_text(name, if *self { "1" } else { "0" })
    }
}

impl FieldValue for i64 {
    fn read(element: &Element, _notes: &mut Notes) -> Option<Self> {
        element.text.parse().ok()
    }

    fn write(&self, name: &str) -> Element {
        Element::with_text(name, self.to_string())
    }
}

/// Server local time unless UTC was asked for.
impl FieldValue for DateTime {
    fn read(element: &Element, _notes: &mut Notes) -> Option<Self> {
        parse_datetime(&element.text)
    }

    fn write(&self, name: &str) -> Element {
        Element::with_text(name, format_datetime(*self))
    }
}

/// A stretch of local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// First moment.
    pub start: DateTime,
    /// Last moment.
    pub end: DateTime,
}

impl FieldValue for Period {
    fn read(element: &Element, notes: &mut Notes) -> Option<Self> {
        let start = element.child("StartDate").and_then(|date| DateTime::read(date, notes))?;
        let end = element.child("EndDate").and_then(|date| DateTime::read(date, notes))?;
        Some(Self { start, end })
    }

    fn write(&self, name: &str) -> Element {
        Element::with_children(name, vec![self.start.write("StartDate"), self.end.write("EndDate")])
    }
}

/// Reads `2026-11-22T08:00:00`, also without zero padding, without the time, with a fraction (dropped), and with hour 24 for
/// the end of a day, as real servers write the end of a key.
pub fn parse_datetime(text: &str) -> Option<DateTime> {
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "0:0:0"));
    let [year, month, day] = numbers(date, '-')?;
    let date = Date::new(narrow(year)?, narrow(month)?, narrow(day)?).ok()?;
    let [hour, minute, second] = numbers(time.split('.').next()?, ':')?;
    if hour == 24 {
        let midnight = (minute == 0 && second == 0).then(|| date.to_datetime(Time::midnight()))?;
        return midnight.checked_add(1.day()).ok();
    }
    let time = Time::new(narrow(hour)?, narrow(minute)?, narrow(second)?, 0).ok()?;
    Some(date.to_datetime(time))
}

/// Writes `2026-11-22T08:00:00`.
pub fn format_datetime(datetime: DateTime) -> String {
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        datetime.year(),
        datetime.month(),
        datetime.day(),
        datetime.hour(),
        datetime.minute(),
        datetime.second()
    )
}

/// Exactly three plain numbers.
fn numbers(text: &str, separator: char) -> Option<[u16; 3]> {
    let mut parts = text.split(separator).map(|part| {
        let plain = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| part.parse().ok()).flatten()
    });
    let three = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(three)
}

fn narrow<T: TryFrom<u16>>(number: u16) -> Option<T> {
    T::try_from(number).ok()
}

/// Upper-case hexadecimal digits of a chip serial. `None` for anything else and for the all-zero serial, which stands for a
/// mobile key.
pub fn chip_serial(text: &str) -> Option<String> {
    let is_hexadecimal = !text.is_empty() && text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_chip = text.bytes().any(|byte| byte != b'0');
    (is_hexadecimal && is_chip).then(|| text.to_ascii_uppercase())
}
