//! Milliseconds to the API's text and back: ISO 8601, UTC, `Z`.

use jiff::Timestamp;

/// `2026-11-22T02:30:00.000Z`.
pub fn text(milliseconds: i64) -> String {
    // Times come from clocks and from `parse`; one outside of jiff's range of ten thousand years is shown at its border.
    let border = if milliseconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    let timestamp = Timestamp::from_millisecond(milliseconds).unwrap_or(border);
    format!("{timestamp:.3}")
}

/// [`text`], or `None`.
pub fn optional_text(milliseconds: Option<i64>) -> Option<String> {
    milliseconds.map(text)
}

/// Reads an instant with any offset; `None` when it is not one.
pub fn parse(text: &str) -> Option<i64> {
    text.trim().parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_in_utc_and_read_with_any_offset() {
        assert_eq!(text(1_795_314_600_000), "2026-11-22T02:30:00.000Z");
        assert_eq!(parse("2026-11-22T02:30:00.000Z"), Some(1_795_314_600_000));
        assert_eq!(parse("2026-11-22T04:30:00+02:00"), Some(1_795_314_600_000));
        assert_eq!(parse("2026-11-22T02:30:00Z"), Some(1_795_314_600_000));
        assert_eq!(parse("2026-11-22 at noon"), None);
        assert_eq!(parse("2026-11-22T02:30:00"), None, "local wall time has no place in the API");
    }
}
