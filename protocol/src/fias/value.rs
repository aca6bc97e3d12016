//! Dates, times and lists as they stand in values. All times are local to the hotel.

use jiff::civil::{Date, DateTime, Time};

use super::id::FieldId;
use super::limits::{DESCRIBED_FIELDS, MORE_ROOMS};

/// `YYMMDD`; `None` for a year that two digits cannot say.
pub fn write_date(date: Date) -> Option<String> {
    (1970..=2069).contains(&date.year()).then(|| date.strftime("%y%m%d").to_string())
}

/// `YYMMDD`: 70 to 99 are years of the last century.
pub fn read_date(text: &[u8]) -> Option<Date> {
    let [year, month, day] = pairs::<3>(text)?;
    let century = if year >= 70 { 1900 } else { 2000 };
    Date::new(i16::from(year).checked_add(century)?, month, day).ok()
}

/// `HHMMSS`.
pub fn write_time(time: Time) -> String {
    time.strftime("%H%M%S").to_string()
}

/// `HHMMSS`.
pub fn read_time(text: &[u8]) -> Option<Time> {
    let [hour, minute, second] = pairs::<3>(text)?;
    Time::new(hour, minute, second, 0).ok()
}

/// `HH:MM`.
pub fn write_clock(time: Time) -> String {
    time.strftime("%H:%M").to_string()
}

/// `HH:MM`, or `HHMM` as some peers send it.
pub fn read_clock(text: &[u8]) -> Option<Time> {
    let digits: Vec<u8> = match text {
        [hour @ .., b':', first, second] if hour.len() == 2 => [hour, &[*first, *second]].concat(),
        digits => digits.get(..4).filter(|four| four.len() == digits.len())?.to_vec(),
    };
    let [hour, minute] = pairs::<2>(&digits)?;
    Time::new(hour, minute, 0, 0).ok()
}

/// Date and time of two fields; `None` unless both are there and valid.
pub fn read_moment(date: Option<&[u8]>, time: Option<&[u8]>) -> Option<DateTime> {
    Some(read_date(date?)?.to_datetime(read_time(time?)?))
}

/// Pairs of digits, and nothing else.
fn pairs<const COUNT: usize>(text: &[u8]) -> Option<[i8; COUNT]> {
    let mut numbers = [0_i8; COUNT];
    if text.len() != COUNT.checked_mul(2)? {
        return None;
    }
    for (number, digits) in numbers.iter_mut().zip(text.chunks_exact(2)) {
        let [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] = digits else { return None };
        let value = tens.checked_sub(b'0')?.checked_mul(10)?.checked_add(ones.checked_sub(b'0')?)?;
        *number = i8::try_from(value).ok()?;
    }
    Some(numbers)
}

/// Field names in the order of a description: `FLRNG#` says `RN` and `G#`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldList {
    fields: Vec<FieldId>,
}

impl FieldList {
    /// Of these fields.
    pub fn new(fields: impl IntoIterator<Item = FieldId>) -> Self {
        Self { fields: fields.into_iter().take(DESCRIBED_FIELDS).collect() }
    }

    /// Reads pairs; a single character at the end, and what is beyond the limit, are dropped.
    pub fn read(value: &[u8]) -> Self {
        let pairs = value.chunks_exact(2).filter_map(|pair| match pair {
            [first, second] => Some(FieldId([*first, *second])),
            _ => None,
        });
        Self::new(pairs)
    }

    /// As it stands in the value.
    pub fn write(&self) -> String {
        self.fields.iter().flat_map(|field| field.0).map(char::from).collect()
    }

    /// The peer uses this field.
    pub fn contains(&self, field: FieldId) -> bool {
        self.fields.contains(&field)
    }

    /// In order.
    pub fn fields(&self) -> &[FieldId] {
        &self.fields
    }
}

/// Further rooms: `;` between them; one sample of the specification has `,`.
pub fn read_rooms(text: &str) -> Vec<String> {
    text.split([';', ',']).filter(|room| !room.is_empty()).take(MORE_ROOMS).map(str::to_owned).collect()
}

/// Further rooms with `;` between them.
pub fn write_rooms(rooms: &[String]) -> String {
    rooms.join(";")
}
