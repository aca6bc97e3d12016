//! What the daemon says of a line that it has.

use serde_json::Value;

use super::Verdict;

/// One frame in this many may be damaged before a line needs a look.
const DAMAGED: u64 = 100;

/// A line, as the daemon's status names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held<'subject> {
    pub(super) name: &'subject str,
    pub(super) is_front_desk: bool,
    /// Records tell whether somebody is there, and the daemon whether the link above them is alive.
    pub(super) has_link: bool,
}

impl Held<'_> {
    /// Whose line it is, for people.
    pub(super) fn title(&self) -> String {
        if self.is_front_desk { format!("front_desk:{}", self.name) } else { self.name.to_owned() }
    }

    /// The line in the daemon's status; those of lock systems come first, and a front desk may have the name of one.
    fn line<'snapshot>(&self, snapshot: &'snapshot Value) -> Option<&'snapshot Value> {
        let mut lines = snapshot["lines"].as_array()?.iter().filter(|line| line["name"] == self.name);
        if self.is_front_desk { lines.next_back() } else { lines.next() }
    }

    /// Why it does not work, in the daemon's words, and its remedy.
    fn reason<'snapshot>(&self, snapshot: &'snapshot Value) -> Option<(&'snapshot str, &'snapshot str)> {
        let scope = if self.is_front_desk { "front_desk" } else { "lock_system" };
        let scope = format!("{scope}:{}", self.name);
        let reason = snapshot["reasons"].as_array()?.iter().find(|reason| reason["scope"] == scope)?;
        Some((reason["message"].as_str()?, reason["remedy"].as_str()?))
    }

    /// The daemon says that the link is not alive.
    fn is_down(&self, snapshot: &Value) -> bool {
        let systems = snapshot["lock_systems"].as_array().map(Vec::as_slice).unwrap_or_default();
        let unreached = |system: &Value| system["name"] == self.name && system["reachable"] == false;
        if self.is_front_desk { self.reason(snapshot).is_some() } else { systems.iter().any(unreached) }
    }
}

/// What the daemon's figures and reasons say. `None`: it does not have the line.
pub(super) fn look(snapshot: &Value, held: &Held<'_>) -> Option<Verdict> {
    let line = held.line(snapshot)?;
    let count = |key: &str| line[key].as_u64().unwrap_or_default();
    let (frames, damaged, refused) = (count("frames"), count("checksum_errors"), count("refusals"));
    let figures = format!(
        "held by the daemon: {frames} frames, {damaged} damaged, {} bytes discarded, {refused} refusals, {} reconnects",
        count("discarded_bytes"),
        count("reconnects")
    );
    let heard = Heard { bytes: count("received_bytes"), discarded: count("discarded_bytes"), frames, damaged, refused };
    let reason = held.reason(snapshot);
    let told = |what: &str| match reason {
        Some((message, _)) => format!("{what}: {message}; {figures}"),
        None => format!("{what}; {figures}"),
    };
    let strangers = count("strangers");
    Some(if line["open"] != true && strangers > 0 {
        let last = line["last_stranger"].as_str().unwrap_or_default();
        Verdict::failed(
            format!("{strangers} connections were cut off, the last one of {last}, which is not in `allow`; {figures}"),
            "If that is the other end, put its address into `allow` and restart the service; if not, find out who it is.",
        )
    } else if line["open"] != true {
        let remedy = "Look at `lockbridge status`: the reason of the lock system says what is wrong with the line.";
        Verdict::failed(told("the daemon has no line"), reason.map_or(remedy, |(_, remedy)| remedy))
    } else if held.has_link && held.is_down(snapshot) {
        let (what, remedy) = heard.missing();
        Verdict::failed(told(what), remedy)
    } else if held.has_link && frames == 0 {
        let (what, remedy) = heard.missing();
        Verdict::warning(format!("so far {what}; {figures}"), remedy)
    } else if damaged.saturating_mul(DAMAGED) > frames {
        let remedy =
            "Check cable, earth and length of the line, and the serial settings of both ends; use a lower speed.";
        Verdict::warning(figures, remedy)
    } else {
        Verdict::ok(figures)
    })
}

/// What came over an open line, counted by the daemon.
struct Heard {
    bytes: u64,
    discarded: u64,
    frames: u64,
    damaged: u64,
    refused: u64,
}

impl Heard {
    /// What is wrong with a line whose link is not alive, and the next step.
    fn missing(&self) -> (&'static str, &'static str) {
        let settings = "On a serial line set `baud`, `data_bits`, `parity` and `stop_bits` as at the other end. On TCP another \
                        service is there.";
        match *self {
            Self { bytes: 0, .. } => {
                let remedy = "Check that the other end runs and its interface is switched on; on a serial line also the cable \
                              (crossed) and the speed.";
                ("nothing was heard from the other end", remedy)
            }
            Self { damaged: 1.., .. } | Self { frames: 0, refused: 1.., .. } => {
                ("records are refused as damaged", "Set `checksum` as at the other end; if it fits, check the cable.")
            }
            // The beginning of a record, or a control byte: a wrong speed can look like either, and so can the first moment.
            Self { frames: 0, discarded: 0, .. } => ("no whole record has come", settings),
            Self { frames: 0, .. } => ("what came was no record", settings),
            _ => {
                let remedy = "Stop the daemon and run `lockbridge check --only line`: it names a wrong setting; look at the log \
                              of the other end too.";
                ("records come, and the link is not alive", remedy)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Outcome;
    use super::*;

    const PMS: Held<'static> = Held { name: "desk", is_front_desk: false, has_link: false };
    const FIAS: Held<'static> = Held { name: "desk", is_front_desk: false, has_link: true };
    const DESK: Held<'static> = Held { name: "desk", is_front_desk: true, has_link: true };

    #[test]
    fn the_figures_of_the_daemon_are_judged() {
        let snapshot = |open: bool, frames: u64, damaged: u64| json!({ "lines": [{ "name": "desk", "open": open, "frames": frames, "checksum_errors": damaged }] });
        let outcome = |snapshot: &Value| look(snapshot, &PMS).map(|verdict| verdict.outcome);
        assert_eq!(outcome(&snapshot(true, 1000, 10)), Some(Outcome::Ok));
        assert_eq!(outcome(&snapshot(true, 1000, 11)), Some(Outcome::Warning));
        assert_eq!(outcome(&snapshot(false, 1000, 0)), Some(Outcome::Failed));
        assert_eq!(outcome(&json!({ "lines": [] })), None);
        assert_eq!(outcome(&json!({})), None);
    }

    #[test]
    fn a_link_that_is_not_alive_is_told_with_what_the_bytes_say() {
        let snapshot = |reachable: bool, line: Value| {
            let mut line = line;
            (line["name"], line["open"]) = ("desk".into(), true.into());
            json!({ "lines": [line], "lock_systems": [{ "name": "desk", "reachable": reachable }],
                "reasons": [{ "scope": "lock_system:desk", "message": "not alive yet", "remedy": "Wait." }] })
        };
        for (line, told) in [
            (json!({}), "nothing was heard"),
            (json!({ "received_bytes": 9 }), "no whole record"),
            (json!({ "received_bytes": 9, "discarded_bytes": 8 }), "was no record"),
            (json!({ "received_bytes": 9, "refusals": 4 }), "damaged"),
            (json!({ "received_bytes": 90, "frames": 3, "checksum_errors": 2 }), "damaged"),
            (json!({ "received_bytes": 90, "frames": 3 }), "records come"),
        ] {
            let verdict = look(&snapshot(false, line), &FIAS).expect("held");
            assert_eq!(verdict.outcome, Outcome::Failed, "{verdict:?}");
            assert!(verdict.evidence.contains(told) && verdict.evidence.contains("not alive yet"), "{verdict:?}");
            assert!(!verdict.remedy.is_empty());
        }
        assert_eq!(
            look(&snapshot(true, json!({ "frames": 3 })), &FIAS).map(|verdict| verdict.outcome),
            Some(Outcome::Ok)
        );
        let fresh = look(&snapshot(true, json!({})), &FIAS).expect("held");
        assert_eq!(fresh.outcome, Outcome::Warning, "nothing is claimed of a line on which nothing came: {fresh:?}");
    }

    #[test]
    fn a_front_desk_and_a_lock_system_of_one_name_are_not_mixed_up() {
        let snapshot = json!({ "lines": [{ "name": "desk", "open": true, "frames": 5 }, { "name": "desk", "open": false, "strangers": 2, "last_stranger": "192.0.2.99" }] });
        assert_eq!(look(&snapshot, &FIAS).map(|verdict| verdict.outcome), Some(Outcome::Ok));
        let desk = look(&snapshot, &DESK).expect("held");
        assert!(desk.outcome == Outcome::Failed && desk.evidence.contains("192.0.2.99"), "{desk:?}");
        assert!(desk.remedy.contains("allow"));
    }
}
