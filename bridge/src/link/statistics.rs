//! What a line did, counted over all its connections: for health, for metrics, and for people who look for a bad cable.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lockbridge_protocol::line::LineStatistics;
use serde::Serialize;

/// Counters of one line. They are shared: the opener and the line count bytes, the owner of the codec counts the rest.
#[derive(Debug, Default)]
pub struct Statistics {
    name: String,
    open: AtomicBool,
    opened: AtomicU64,
    failed: AtomicU64,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    frames: AtomicU64,
    refusals: AtomicU64,
    checksum_errors: AtomicU64,
    discarded_bytes: AtomicU64,
    retries: AtomicU64,
    strangers: AtomicU64,
    last_stranger: Mutex<Option<IpAddr>>,
}

/// The figures at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LineStatus {
    /// Name of the line: its lock system or service.
    pub name: String,
    /// It is open now.
    pub open: bool,
    /// Times it was opened after the first.
    pub reconnects: u64,
    /// Attempts to open it that failed.
    pub failed_opens: u64,
    /// Bytes read.
    pub received_bytes: u64,
    /// Bytes that the system took.
    pub sent_bytes: u64,
    /// Good frames received.
    pub frames: u64,
    /// NAKs, both ways.
    pub refusals: u64,
    /// Frames whose checksum did not fit.
    pub checksum_errors: u64,
    /// Bytes received that belonged to no good frame and were no control byte.
    pub discarded_bytes: u64,
    /// Frames and questions that were sent again.
    pub retries: u64,
    /// Connections that were cut off because their address is not on the list.
    pub strangers: u64,
    /// Whose the last of them was.
    pub last_stranger: Option<IpAddr>,
}

/// What a codec counted since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CodecCounts {
    /// Of its reader.
    pub line: LineStatistics,
    /// NAKs, both ways.
    pub refusals: u64,
    /// Frames and questions that were sent again.
    pub retries: u64,
}

impl Statistics {
    /// All zero. `name`: the lock system or service that the line is for; bounded by configuration.
    pub fn new(name: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), ..Self::default() })
    }

    /// The figures now.
    pub fn status(&self) -> LineStatus {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LineStatus {
            name: self.name.clone(),
            open: self.open.load(Ordering::Relaxed),
            reconnects: read(&self.opened).saturating_sub(1),
            failed_opens: read(&self.failed),
            received_bytes: read(&self.received_bytes),
            sent_bytes: read(&self.sent_bytes),
            frames: read(&self.frames),
            refusals: read(&self.refusals),
            checksum_errors: read(&self.checksum_errors),
            discarded_bytes: read(&self.discarded_bytes),
            retries: read(&self.retries),
            strangers: read(&self.strangers),
            last_stranger: *self.last_stranger.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    pub(super) fn line_opened(&self) {
        self.open.store(true, Ordering::Relaxed);
        add(&self.opened, 1);
    }

    pub(super) fn line_ended(&self) {
        self.open.store(false, Ordering::Relaxed);
    }

    pub(super) fn stranger(&self, address: IpAddr) {
        *self.last_stranger.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
        add(&self.strangers, 1);
    }

    pub(super) fn open_failed(&self) {
        add(&self.failed, 1);
    }

    pub(super) fn received(&self, bytes: usize) {
        add(&self.received_bytes, u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    pub(super) fn sent(&self, bytes: usize) {
        add(&self.sent_bytes, u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    pub(super) fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

/// Carries the counts of one codec over into the statistics of its line. One meter for each codec, made with it.
#[derive(Debug)]
pub struct Meter {
    statistics: Arc<Statistics>,
    told: CodecCounts,
}

impl Meter {
    /// For a codec that has counted nothing yet.
    pub fn new(statistics: Arc<Statistics>) -> Self {
        Self { statistics, told: CodecCounts::default() }
    }

    /// Adds what the codec counted since the last call.
    pub fn update(&mut self, now: CodecCounts) {
        let (told, statistics) = (std::mem::replace(&mut self.told, now), &self.statistics);
        for (counter, now, told) in [
            (&statistics.frames, now.line.frames, told.line.frames),
            (&statistics.refusals, now.refusals, told.refusals),
            (&statistics.checksum_errors, now.line.bad_checksums, told.line.bad_checksums),
            (&statistics.discarded_bytes, now.line.discarded, told.line.discarded),
            (&statistics.retries, now.retries, told.retries),
        ] {
            add(counter, now.saturating_sub(told));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_adds_what_is_new_and_nothing_twice() {
        let statistics = Statistics::new("front-desk");
        let counts = |frames, refusals| CodecCounts {
            line: LineStatistics { frames, discarded: 7, ..LineStatistics::default() },
            refusals,
            retries: 1,
        };
        let mut meter = Meter::new(Arc::clone(&statistics));
        meter.update(counts(2, 0));
        meter.update(counts(2, 0));
        meter.update(counts(5, 3));
        // A codec made anew counts from zero.
        Meter::new(Arc::clone(&statistics)).update(counts(1, 0));
        let status = statistics.status();
        assert_eq!((status.frames, status.refusals, status.retries, status.discarded_bytes), (6, 3, 2, 14));
        assert_eq!((status.name.as_str(), status.reconnects, status.open), ("front-desk", 0, false));
    }
}
