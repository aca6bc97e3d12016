//! Dates with times as `hhmmDDMMYY`, in the local time of the server.

use jiff::civil::DateTime;

use super::text::FieldError;

const YEARS: std::ops::RangeInclusive<i16> = 2000..=2099;

/// Ten digits. Seconds are cut; a year beyond two digits is refused.
pub fn write_stamp(field: &'static str, at: DateTime) -> Result<String, FieldError> {
    if !YEARS.contains(&at.year()) {
        return Err(FieldError::Form { field, reason: "the year must lie between 2000 and 2099" });
    }
    Ok(at.strftime("%H%M%d%m%y").to_string())
}

/// `None` unless it is ten digits that make a date and a time.
pub fn read_stamp(text: &[u8]) -> Option<DateTime> {
    if text.len() != 10 {
        return None;
    }
    let mut pairs = [0_i8; 5];
    for (pair, digits) in pairs.iter_mut().zip(text.chunks_exact(2)) {
        *pair = two_digits(digits)?;
    }
    let [hour, minute, day, month, year] = pairs;
    DateTime::new(i16::from(year).checked_add(2000)?, month, day, hour, minute, 0, 0).ok()
}

/// Two ASCII digits as a number.
pub(super) fn two_digits(digits: &[u8]) -> Option<i8> {
    match digits {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => {
            let number = tens.checked_sub(b'0')?.checked_mul(10)?.checked_add(ones.checked_sub(b'0')?)?;
            i8::try_from(number).ok()
        }
        _ => None,
    }
}
