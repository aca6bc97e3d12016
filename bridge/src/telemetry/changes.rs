//! What changed, for the log: a reason begins, goes on for long, is over. Conditions themselves are in `status`.
//!
//! A lock server that is away for a night is three lines, not three thousand: its beginning, reminders at growing intervals,
//! and "back after". One that comes and goes is told at growing intervals, too, with the count of what was left out.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::health::{Health, Reason, ReasonCode, Scope};

/// Silence after the n-th line about a reason that goes on or comes back; the last one stays.
const SILENCE: [Duration; 5] = [
    Duration::from_secs(60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(3600),
    Duration::from_secs(6 * 3600),
    Duration::from_secs(24 * 3600),
];
/// A reason that stayed away this long begins afresh.
const FORGOTTEN: Duration = Duration::from_secs(3600);
/// How often long-lasting ones are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// A reason holds that did not.
    Begins { scope: Scope, code: ReasonCode, message: String, left_out: u64 },
    /// It still holds.
    GoesOn { scope: Scope, code: ReasonCode, message: String, since: Duration },
    /// It is over.
    Over { scope: Scope, code: ReasonCode, after: Duration },
}

#[derive(Debug)]
struct Story {
    /// Since when it holds; `None`: it does not.
    began: Option<Duration>,
    /// When it last ended.
    ended: Duration,
    /// Whether the reader of the log knows that it holds.
    told: bool,
    lines: usize,
    silent_until: Duration,
    left_out: u64,
}

/// What the log has said so far.
#[derive(Debug, Default)]
pub(super) struct Changes {
    stories: BTreeMap<(Scope, ReasonCode), Story>,
}

impl Changes {
    /// What is to be said of the reasons that hold at `now`.
    pub(super) fn observe(&mut self, now: Duration, reasons: &[Reason]) -> Vec<Line> {
        let mut lines = Vec::new();
        self.stories.retain(|_, story| story.began.is_some() || now.saturating_sub(story.ended) < FORGOTTEN);
        for reason in reasons {
            let key = (reason.scope.clone(), reason.code);
            let story = self.stories.entry(key).or_insert(Story {
                began: None,
                ended: now,
                told: false,
                lines: 0,
                silent_until: Duration::ZERO,
                left_out: 0,
            });
            let began = *story.began.get_or_insert(now);
            if now < story.silent_until {
                continue;
            }
            let (scope, code, message) = (reason.scope.clone(), reason.code, reason.message.clone());
            lines.push(if story.told {
                Line::GoesOn { scope, code, message, since: now.saturating_sub(began) }
            } else {
                Line::Begins { scope, code, message, left_out: std::mem::take(&mut story.left_out) }
            });
            story.told = true;
            story.silent_until = now + SILENCE[story.lines.min(SILENCE.len() - 1)];
            story.lines += 1;
        }
        for ((scope, code), story) in &mut self.stories {
            let Some(began) = story.began else { continue };
            if reasons.iter().any(|reason| reason.scope == *scope && reason.code == *code) {
                continue;
            }
            story.began = None;
            story.ended = now;
            if std::mem::take(&mut story.told) {
                lines.push(Line::Over { scope: scope.clone(), code: *code, after: now.saturating_sub(began) });
            } else {
                story.left_out += 1;
            }
        }
        lines
    }
}

/// Writes the lines until `stop`.
pub async fn run(health: Health, clock: std::sync::Arc<dyn Clock>, stop: CancellationToken) {
    let mut news = health.subscribe();
    let mut changes = Changes::default();
    loop {
        for line in changes.observe(clock.since_boot(), &health.reasons()) {
            say(&line);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            came = news.changed() => if came.is_err() { return },
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

fn say(line: &Line) {
    match line {
        // The ordinary course of a start and a stop.
        Line::Begins {
            scope,
            code: code @ (ReasonCode::Connecting | ReasonCode::LockConnecting | ReasonCode::Draining),
            message,
            ..
        } => {
            tracing::info!(reason = code.code(), scope = place(scope), "{} {message}", code.sentence());
        }
        Line::Begins { scope, code, message, left_out: 0 } => {
            tracing::warn!(reason = code.code(), scope = place(scope), "{} {message}", code.sentence());
        }
        Line::Begins { scope, code, message, left_out } => {
            let again = left_out;
            tracing::warn!(
                reason = code.code(),
                scope = place(scope),
                again,
                "{} {message} ({again} times since the last line)",
                code.sentence()
            );
        }
        Line::GoesOn { scope, code, message, since } => {
            let for_s = since.as_secs();
            tracing::warn!(
                reason = code.code(),
                scope = place(scope),
                for_s,
                "Still so after {}: {message}",
                span(*since)
            );
        }
        Line::Over { scope, code, after } => {
            let after_s = after.as_secs();
            tracing::info!(
                reason = code.code(),
                scope = place(scope),
                after_s,
                "Over after {}: {}",
                span(*after),
                code.code()
            );
        }
    }
}

fn place(scope: &Scope) -> String {
    match scope {
        Scope::Cloud => "cloud".to_owned(),
        Scope::Bridge => "bridge".to_owned(),
        Scope::LockSystem(name) => format!("lock_system:{name}"),
        Scope::Encoder(system, name) => format!("encoder:{system}/{name}"),
        Scope::FrontDesk(name) => format!("front_desk:{name}"),
    }
}

/// A time span for people, in its two largest units.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, _, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down(message: &str) -> Vec<Reason> {
        let scope = Scope::LockSystem("main".into());
        vec![Reason { scope, code: ReasonCode::LockServer, message: message.into(), since_ms: 0 }]
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_night_without_the_lock_server_is_a_handful_of_lines() {
        let mut changes = Changes::default();
        let mut lines = Vec::new();
        for second in 0..8 * 3600 {
            // Every try has other words; that is no change.
            lines.extend(changes.observe(seconds(second), &down(&format!("try {second}"))));
        }
        assert!(matches!(&lines[0], Line::Begins { message, left_out: 0, .. } if message == "try 0"));
        let later: Vec<u64> = lines[1..]
            .iter()
            .map(|line| match line {
                Line::GoesOn { since, .. } => since.as_secs(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(later, [60, 660, 4260, 25_860]);
        let over = changes.observe(seconds(8 * 3600), &[]);
        let Line::Over { after, .. } = &over[0] else { panic!("{over:?}") };
        assert_eq!((over.len(), after.as_secs()), (1, 8 * 3600));
        assert_eq!(changes.observe(seconds(8 * 3600 + 1), &[]), []);
    }

    #[test]
    fn one_that_comes_and_goes_is_counted_and_told_at_growing_intervals() {
        let mut changes = Changes::default();
        let mut lines = Vec::new();
        for second in 0..3600 {
            let holds = if second % 10 < 5 { down("no answer") } else { vec![] };
            lines.extend(changes.observe(seconds(second), &holds));
        }
        let begins: Vec<u64> = lines
            .iter()
            .filter_map(|line| match line {
                Line::Begins { left_out, .. } => Some(*left_out),
                _ => None,
            })
            .collect();
        assert_eq!(begins[..3], [0, 5, 59], "{lines:?}");
        assert!(lines.len() <= 8, "{lines:?}");
        // What began in silence and ended in silence is not said to be over.
        let overs = lines.iter().filter(|line| matches!(line, Line::Over { .. })).count();
        assert_eq!(overs, begins.len());
        // After a quiet hour it is news again.
        assert_eq!(changes.observe(seconds(9000), &[]), []);
        let again = changes.observe(seconds(9001), &down("no answer"));
        assert!(matches!(again[..], [Line::Begins { left_out: 0, .. }]), "{again:?}");
    }

    #[test]
    fn spans_read_well() {
        for (count, text) in [(5, "5 s"), (61, "1 min 1 s"), (3660, "1 h 1 min"), (90_000, "1 d 1 h")] {
            assert_eq!(span(seconds(count)), text);
        }
    }
}
