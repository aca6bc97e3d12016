//! The text format of Prometheus (exposition format 0.0.4).

use std::fmt::{Display, Write as _};

use crate::history::{BOUNDS_MS, Latencies};

/// A scrape being written. Families in the order of the calls; samples follow the head of their family.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

impl Exposition {
    pub(super) fn gauge(&mut self, name: &str, help: &str) {
        self.head(name, help, "gauge");
    }

    pub(super) fn counter(&mut self, name: &str, help: &str) {
        self.head(name, help, "counter");
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str) {
        self.head(name, help, "histogram");
    }

    /// A gauge with one sample and no label.
    pub(super) fn value(&mut self, name: &str, help: &str, value: impl Display) {
        self.gauge(name, help);
        self.sample(name, &[], value);
    }

    /// A counter with one sample and no label.
    pub(super) fn total(&mut self, name: &str, help: &str, value: impl Display) {
        self.counter(name, help);
        self.sample(name, &[], value);
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a String cannot fail.
        let _infallible = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let open = if index == 0 { '{' } else { ',' };
            let _infallible = write!(self.0, "{open}{label}=\"{text}\"");
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _infallible = writeln!(self.0, " {value}");
    }

    /// The samples of one histogram, in seconds.
    pub(super) fn latencies(&mut self, name: &str, label: (&str, &str), latencies: &Latencies<u64>) {
        let bucket = format!("{name}_bucket");
        let mut count = 0_u64;
        for (index, more) in latencies.counts.iter().enumerate() {
            count = count.saturating_add(*more);
            let bound = BOUNDS_MS.get(index).map_or_else(|| "+Inf".to_owned(), |bound| seconds(u64::from(*bound)));
            self.sample(&bucket, &[label, ("le", &bound)], count);
        }
        self.sample(&format!("{name}_sum"), &[label], seconds(latencies.sum_ms));
        self.sample(&format!("{name}_count"), &[label], count);
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

/// Milliseconds as seconds, without zeros at the end.
pub(super) fn seconds(ms: u64) -> String {
    let text = format!("{}.{:03}", ms / 1000, ms % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
