//! Local times of the server: no zone on the wire, hour 24 allowed, zero padding optional.

use jiff::civil::{Date, DateTime, Time};
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use serde::{Deserialize, Serialize};

/// A point in the server's local time, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LocalTime(DateTime);

impl LocalTime {
    /// What the server prints for "no expiry" and for an open start.
    pub const OPEN: Self = Self(DateTime::constant(2000, 1, 1, 0, 0, 0, 0));
    /// What the server prints in a permission period that is not used.
    pub const UNUSED: Self = Self(DateTime::constant(1900, 1, 1, 0, 0, 0, 0));

    /// The local time of an instant in a zone, without fractions of a second.
    pub fn at(instant: Timestamp, zone: &TimeZone) -> Self {
        let local = zone.to_datetime(instant);
        Self(local.with().subsec_nanosecond(0).build().unwrap_or(local))
    }

    /// Reads `2026-11-22T12:30:20`, `2004-9-2T8:0:0`, `2020-08-05T24:00:00` (end of that day); in filters also a bare date.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, time) = text.split_once(['T', ' ']).map_or((text, "0:0:0"), |(date, time)| (date, time));
        let [year, month, day] = numbers(date, '-')?;
        let [hour, minute, second] = numbers(time, ':')?;
        let date = Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
        if hour == 24 {
            let next_day = Self(date.tomorrow().ok()?.to_datetime(Time::midnight()));
            return (minute == 0 && second == 0).then_some(next_day);
        }
        let time =
            Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, i8::try_from(second).ok()?, 0).ok()?;
        Some(Self(date.to_datetime(time)))
    }

    /// `2026-11-22T12:30:20`.
    pub fn print(self) -> String {
        self.0.strftime("%Y-%m-%dT%H:%M:%S").to_string()
    }

    /// Like [`Self::print`], with midnight written as hour 24 of the day before, as key ends are.
    pub fn print_end(self) -> String {
        if self == Self::OPEN || self.0.time() != Time::midnight() {
            return self.print();
        }
        match self.0.date().yesterday() {
            Ok(day) => day.strftime("%Y-%m-%dT24:00:00").to_string(),
            Err(_) => self.print(),
        }
    }

    /// The end of the day that lies this many days after the one of `self`.
    #[must_use]
    pub fn end_of_day_after(self, days: i64) -> Self {
        let days = days.clamp(0, 36_500) + 1;
        self.0.date().checked_add(days.days()).map_or(self, |date| Self(date.to_datetime(Time::midnight())))
    }

    /// `self` plus a number of seconds; unchanged at the end of the calendar.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        self.0.checked_add(seconds.clamp(-9_000_000_000, 9_000_000_000).seconds()).map_or(self, Self)
    }
}

/// From when until when something holds: start inclusive, end exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// First moment.
    pub start: LocalTime,
    /// First moment after it; [`LocalTime::OPEN`] means without end where a key is described.
    pub end: LocalTime,
}

impl Period {
    /// Whether the moment lies inside.
    pub fn contains(&self, moment: LocalTime) -> bool {
        self.start <= moment && moment < self.end
    }
}

fn numbers(text: &str, separator: char) -> Option<[i32; 3]> {
    let mut parts = text.split(separator).map(|part| {
        let digits = !part.is_empty() && part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| part.parse::<i32>().ok()).flatten()
    });
    let found = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(text: &str) -> LocalTime {
        LocalTime::parse(text).unwrap()
    }

    #[test]
    fn reads_the_forms_a_client_may_send() {
        assert_eq!(local("2004-9-2T12:30:20").print(), "2004-09-02T12:30:20");
        assert_eq!(local("2020-08-05T24:00:00"), local("2020-08-06T00:00:00"));
        assert_eq!(local("2008-1-1"), local("2008-01-01T00:00:00"));
        for wrong in
            ["", "2020", "2020-13-01T00:00:00", "2020-02-30", "2020-01-01T24:00:01", "2020-01-01T00:00", "x-1-1"]
        {
            assert_eq!(LocalTime::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn key_ends_are_printed_with_hour_24() {
        assert_eq!(local("2026-11-22T15:00:00").end_of_day_after(30).print_end(), "2026-12-22T24:00:00");
        assert_eq!(local("2026-11-22T15:00:00").print_end(), "2026-11-22T15:00:00");
        assert_eq!(LocalTime::OPEN.print_end(), "2000-01-01T00:00:00");
    }

    #[test]
    fn local_time_follows_the_zone() {
        let zone = TimeZone::get("Europe/Madrid").unwrap();
        let instant: Timestamp = "2026-11-22T11:30:20.9Z".parse().unwrap();
        assert_eq!(LocalTime::at(instant, &zone).print(), "2026-11-22T12:30:20");
    }
}
