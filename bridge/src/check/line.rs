//! Does the other end of a byte line answer, and does it understand us?
//!
//! A line has one user. While the daemon runs, its own figures are looked at; otherwise the line is opened here and asked for
//! information that changes nothing.

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use lockbridge_protocol::line::Checksum;
use lockbridge_protocol::salto_pms::client::Settings;
use serde_json::Value;

use super::line_probe::{self, Heard};
use super::{Check, Context, Verdict};
use crate::config::LockSystemKind;
use crate::link::{Endpoint, Limits, LineError};
use crate::net::chain_text;

pub(super) const CHECK: Check = Check {
    id: "line",
    description: "Each byte line opens, and its other end answers and understands us.",
    look: |context| look(context).boxed(),
};

/// One frame in this many may be damaged before a line needs a look.
const DAMAGED: u64 = 100;

/// A configured line to a SALTO PMS interface.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    /// Lock system.
    pub(super) name: String,
    pub(super) endpoint: Endpoint,
    pub(super) limits: Limits,
    pub(super) checksum: Checksum,
    pub(super) exchange: Settings,
    pub(super) encoders: Vec<String>,
}

/// The lines of the configuration.
fn subjects(context: &Context) -> Vec<Subject> {
    let systems = context.systems.iter().map(|system| &system.config);
    let lines = systems.filter_map(|system| match &system.kind {
        LockSystemKind::SaltoPms(pms) => Some((system, pms, &pms.encoders)),
        LockSystemKind::SaltoSpace(space) => space.pms.as_deref().map(|pms| (system, pms, &space.encoders)),
        // The other side begins every exchange there, so nothing can be asked without playing a whole key system.
        LockSystemKind::Fias(_) => None,
    });
    lines
        .map(|(system, pms, encoders)| Subject {
            name: system.name.clone(),
            endpoint: pms.endpoint.clone(),
            limits: pms.limits,
            checksum: pms.checksum,
            exchange: pms.exchange,
            encoders: encoders.iter().map(|encoder| encoder.name.clone()).collect(),
        })
        .collect()
}

async fn look(context: &Context) -> Vec<Verdict> {
    let snapshot = context.daemon.snapshot();
    let verdicts = subjects(context).into_iter().map(|subject| async move {
        match snapshot.and_then(|snapshot| of_daemon(snapshot, &subject.name)) {
            Some(verdict) => vec![verdict.about(&subject.name)],
            None => probe(&subject).await,
        }
    });
    let verdicts = join_all(verdicts).await.concat();
    if verdicts.is_empty() { vec![Verdict::skipped("no byte line is configured")] } else { verdicts }
}

/// What the daemon's figures say of a line that it holds. `None`: it does not hold the line.
fn of_daemon(snapshot: &Value, name: &str) -> Option<Verdict> {
    let line = snapshot["lines"].as_array()?.iter().find(|line| line["name"] == name)?;
    let count = |key: &str| line[key].as_u64().unwrap_or_default();
    let (frames, damaged) = (count("frames"), count("checksum_errors"));
    let figures = format!(
        "held by the daemon: {frames} frames, {damaged} damaged, {} bytes discarded, {} refusals, {} reconnects",
        count("discarded_bytes"),
        count("refusals"),
        count("reconnects")
    );
    Some(if line["open"] != true {
        let remedy = "Look at `lockbridge status`: the reason of the lock system says what is wrong with the line.";
        Verdict::failed(format!("the daemon has no line; {figures}"), remedy)
    } else if damaged.saturating_mul(DAMAGED) > frames {
        let remedy =
            "Check cable, earth and length of the line, and the serial settings of both ends; use a lower speed.";
        Verdict::warning(figures, remedy)
    } else {
        Verdict::ok(figures)
    })
}

/// Opens the line and asks; then asks each encoder.
async fn probe(subject: &Subject) -> Vec<Verdict> {
    let heard = line_probe::run(subject).await;
    let place = subject.endpoint.to_string();
    let verdict = match &heard.line {
        Ok(said) => judge(*said, subject.checksum, &place),
        Err(error) => error.into(),
    };
    let encoders =
        heard.encoders.into_iter().map(|(encoder, verdict)| verdict.about(format!("{}/{encoder}", subject.name)));
    std::iter::once(verdict.about(&subject.name)).chain(encoders).collect()
}

/// What is wrong with a line on which this was heard.
fn judge(heard: Heard, checksum: Checksum, place: &str) -> Verdict {
    match heard {
        Heard::Answer => Verdict::ok(format!("{place} answers and understands us")),
        Heard::Taken => Verdict::ok(format!("{place} takes messages; it has no answer to the one that was asked")),
        Heard::Busy => Verdict::warning(
            format!("{place} says that it is not ready"),
            "Wait until the encoders have ended their work and look again; if it stays, restart the PMS interface.",
        ),
        Heard::Nothing => Verdict::failed(
            format!("{place} does not answer ENQ"),
            "Check that the PMS interface is switched on for this very line and licensed; on a serial line also that the \
             cable is crossed (null modem) and speed and format are those of the other end.",
        ),
        Heard::Garbage { bytes } => Verdict::failed(
            format!("{place} answers ENQ with {bytes} bytes that mean nothing"),
            "On a serial line speed or format is wrong: set `baud`, `data_bits`, `parity` and `stop_bits` as at the other end. \
             On TCP another service listens at this port.",
        ),
        Heard::Refused => {
            let now = if checksum == Checksum::Marked { "off here" } else { "on here" };
            Verdict::failed(
                format!("{place} is ready and refuses every message as damaged"),
                format!(
                    "Set `checksum` as at the other end: it is {now}. If it fits, the line damages what is long: check it."
                ),
            )
        }
        Heard::Damaged => Verdict::failed(
            format!("{place} answers with checksums that do not fit"),
            "Set `checksum` as at the other end; if it fits, check the cable and the format of the serial port.",
        ),
        Heard::Lost => Verdict::failed(
            format!("{place} ended the line when it was asked"),
            "It may take one client only: stop the other one, or put this machine on its list.",
        ),
    }
}

/// Keeps the line's own words and its next step together.
impl From<&LineError> for Verdict {
    fn from(error: &LineError) -> Self {
        Self::failed(chain_text(error), error.remedy())
    }
}

#[cfg(test)]
pub(super) fn judge_for_tests(heard: Heard, checksum: Checksum) -> Verdict {
    judge(heard, checksum, "the other end")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Outcome;
    use super::*;

    #[test]
    fn the_figures_of_the_daemon_are_judged() {
        let snapshot = |open: bool, frames: u64, damaged: u64| json!({ "lines": [{ "name": "desk", "open": open, "frames": frames, "checksum_errors": damaged }] });
        let outcome = |snapshot: &Value| of_daemon(snapshot, "desk").map(|verdict| verdict.outcome);
        assert_eq!(outcome(&snapshot(true, 1000, 10)), Some(Outcome::Ok));
        assert_eq!(outcome(&snapshot(true, 1000, 11)), Some(Outcome::Warning));
        assert_eq!(outcome(&snapshot(false, 1000, 0)), Some(Outcome::Failed));
        assert_eq!(outcome(&json!({ "lines": [] })), None);
        assert_eq!(outcome(&json!({})), None);
    }
}
