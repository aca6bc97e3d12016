//! Measurements: each compares with something measured in the same run on the same machine, and says what was aimed for.
//!
//! Owns the tables and the JSON they are also written as. Never: states a figure that was not measured just now.

pub mod allocations;
pub mod codec;
pub mod daemon;
pub mod drain;
pub mod installed;
pub mod journal;
pub mod latency;
pub mod lines;
pub mod recovery;
pub mod reopen;
mod whole;

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

/// One table of results.
#[derive(Debug, Clone, Serialize)]
pub struct Table {
    /// What was measured, and under which conditions.
    pub title: String,
    /// Column heads.
    pub columns: Vec<&'static str>,
    /// Cells, as printed.
    pub rows: Vec<Vec<String>>,
    /// Figures that have an aim.
    pub aims: Vec<Aim>,
}

/// A figure and what was aimed for.
#[derive(Debug, Clone, Serialize)]
pub struct Aim {
    /// What.
    pub name: String,
    /// Measured.
    pub value: f64,
    /// Aimed for.
    pub aim: f64,
    /// Whether more is better.
    pub at_least: bool,
}

impl Aim {
    /// A figure that should reach `aim`.
    pub fn at_least(name: impl Into<String>, value: f64, aim: f64) -> Self {
        Self { name: name.into(), value, aim, at_least: true }
    }

    /// A figure that should not exceed `aim`.
    pub fn at_most(name: impl Into<String>, value: f64, aim: f64) -> Self {
        Self { name: name.into(), value, aim, at_least: false }
    }

    /// Whether the aim was met.
    pub fn met(&self) -> bool {
        if self.at_least { self.value >= self.aim } else { self.value <= self.aim }
    }
}

impl Table {
    /// The table as text, columns aligned, the aims below.
    pub fn render(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain(self.columns.get(column).map(|head| head.chars().count())).max().unwrap_or(0)
        };
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let aligned = cells.enumerate().map(|(column, cell)| {
                let width = width(column);
                if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            aligned.collect::<Vec<_>>().join("  ")
        };
        let mut text = format!("{}\n\n  {}\n", self.title, line(&mut self.columns.iter().copied()));
        for row in &self.rows {
            push(&mut text, format_args!("  {}\n", line(&mut row.iter().map(String::as_str))));
        }
        text.push('\n');
        for aim in &self.aims {
            let (sign, met) = (if aim.at_least { ">=" } else { "<=" }, if aim.met() { "met" } else { "MISSED" });
            push(&mut text, format_args!("  {:<6} {}: {:.2} (aim {sign} {})\n", met, aim.name, aim.value, aim.aim));
        }
        text
    }
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).unwrap_or_default();
}

/// The median; 0 of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The value below which `share` of the sorted `values` lie; zero of nothing.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "an index")]
fn percentile(values: &[Duration], share: f64) -> Duration {
    let index = (values.len() as f64 * share) as usize;
    values.get(index.min(values.len().saturating_sub(1))).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aims_and_alignment() {
        let aims = vec![Aim::at_least("rate", 2.0, 1.5), Aim::at_most("bytes", 3.0, 2.0)];
        let rows = vec![vec!["one".into(), "1".into()], vec!["twelve".into(), "12".into()]];
        let table = Table { title: "Title".into(), columns: vec!["what", "n"], rows, aims };
        let text = table.render();
        assert!(text.contains("one      1\n") && text.contains("twelve  12\n"), "{text}");
        assert!(
            text.contains("met    rate: 2.00 (aim >= 1.5)") && text.contains("MISSED bytes: 3.00 (aim <= 2)"),
            "{text}"
        );
    }

    #[test]
    fn medians_and_percentiles() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        let values: Vec<Duration> = (0..100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&values, 0.99), Duration::from_millis(99));
        assert_eq!(percentile(&values, 1.0), Duration::from_millis(99));
        assert_eq!(percentile(&[], 0.5), Duration::ZERO);
    }
}
