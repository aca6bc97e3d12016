//! Wall time. Everything that decides takes the time as an argument; this is where the callers get it.

/// Now, in milliseconds since the Unix epoch.
pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
