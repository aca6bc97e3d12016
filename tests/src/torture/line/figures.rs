//! What came of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::{LineKind, LineOptions};
use crate::harness::pms_server::Way;

/// Counts of one site.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LineSums {
    /// Told as written.
    pub made: u64,
    /// Never written, and told so each time.
    pub given_up: u64,
    /// In doubt.
    pub in_doubt: u64,
    /// Doubts that the bridge lists.
    pub doubts_listed: u64,
    /// Doubts whose card was written, by the key service's count.
    pub doubts_written: u64,
    /// Tries that ended without an effect for certain, and were repeated by the clerk.
    pub refused: u64,
    /// The same by what was said, numbers left out.
    pub reasons: BTreeMap<String, u64>,
    /// Cards written, by the key service's count.
    pub cards: u64,
    /// Keys with more than one card.
    pub doubled: u64,
    /// Keys told as written of which there is no card.
    pub lost: u64,
    /// Keys told as not written of which there is a card.
    pub hidden: u64,
    /// Cards that come from no request.
    pub unasked: u64,
    /// Cards whose content is not what was sent: the checksum fitted all the same.
    pub altered_cards: u64,
    /// Frames that arrived so at the key service.
    pub altered_requests: u64,
    /// Frames that arrived so at the bridge.
    pub altered_answers: u64,
    /// What the bridge counted on its line: good frames, NAKs, checksum errors, discarded bytes, sent again, connections.
    pub line: BTreeMap<String, u64>,
}

/// The figures of one run.
#[derive(Debug, Clone, Serialize)]
pub struct LineFigures {
    /// The protocol.
    pub kind: LineKind,
    /// `tcp` or `pty`.
    pub way: &'static str,
    /// The seed.
    pub seed: u64,
    /// Share of bytes that met something.
    pub noise: f64,
    /// Sites side by side.
    pub jobs: u64,
    /// Keys asked for.
    pub requests: u64,
    /// All sites together.
    #[serde(flatten)]
    pub sums: LineSums,
    /// Duration.
    pub seconds: f64,
}

impl LineFigures {
    pub(super) fn new(options: &LineOptions) -> Self {
        Self {
            kind: options.kind,
            way: if options.way == Way::Tcp { "tcp" } else { "pty" },
            seed: options.seed,
            noise: options.noise,
            jobs: options.jobs,
            requests: options.requests,
            sums: LineSums::default(),
            seconds: 0.0,
        }
    }

    pub(super) fn add(&mut self, more: LineSums) {
        let sums = &mut self.sums;
        for (sum, more) in [
            (&mut sums.made, more.made),
            (&mut sums.given_up, more.given_up),
            (&mut sums.in_doubt, more.in_doubt),
            (&mut sums.doubts_listed, more.doubts_listed),
            (&mut sums.doubts_written, more.doubts_written),
            (&mut sums.refused, more.refused),
            (&mut sums.cards, more.cards),
            (&mut sums.doubled, more.doubled),
            (&mut sums.lost, more.lost),
            (&mut sums.hidden, more.hidden),
            (&mut sums.unasked, more.unasked),
            (&mut sums.altered_cards, more.altered_cards),
            (&mut sums.altered_requests, more.altered_requests),
            (&mut sums.altered_answers, more.altered_answers),
        ] {
            *sum += more;
        }
        for (all, one) in [(&mut sums.reasons, more.reasons), (&mut sums.line, more.line)] {
            for (name, count) in one {
                *all.entry(name).or_default() += count;
            }
        }
    }

    /// Nothing doubled, nothing lost, nothing unsure but what is in doubt, and every doubt shown to people.
    pub fn held(&self) -> bool {
        let sums = &self.sums;
        let told = sums.made + sums.in_doubt + sums.given_up;
        let wrong = sums.doubled + sums.lost + sums.hidden + sums.unasked;
        wrong == 0 && told == self.requests && sums.doubts_listed == sums.in_doubt
    }

    /// For people.
    pub fn table(&self) -> String {
        let sums = &self.sums;
        let kind = match self.kind {
            LineKind::SaltoPms => "salto-pms",
            LineKind::Fias => "fias",
        };
        let mut text = format!(
            "{kind} over {}, {} keys at {} noise, seed {}, {} sites, {:.0} s\n\
             made {}, in doubt {} (listed {}, of them written {}), given up {}; refused for certain and asked again {}\n\
             cards {}: doubled {}, lost {}, hidden {}, asked for by nobody {}\n\
             beyond the checksum: cards altered {}, frames altered {} to the key service, {} to the bridge\n\
             line:",
            self.way,
            self.requests,
            self.noise,
            self.seed,
            self.jobs,
            self.seconds,
            sums.made,
            sums.in_doubt,
            sums.doubts_listed,
            sums.doubts_written,
            sums.given_up,
            sums.refused,
            sums.cards,
            sums.doubled,
            sums.lost,
            sums.hidden,
            sums.unasked,
            sums.altered_cards,
            sums.altered_requests,
            sums.altered_answers,
        );
        let mut push = |arguments: std::fmt::Arguments<'_>| text.write_fmt(arguments).unwrap_or_default();
        for (name, count) in &sums.line {
            push(format_args!(" {name} {count}"));
        }
        for (reason, count) in &sums.reasons {
            push(format_args!("\n{count:>7} times: {reason}"));
        }
        text
    }
}
