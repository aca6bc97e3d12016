//! `lockbridge status`: the answer first and since when, then hop by hop where it stands, then what is wrong and what to do.

use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use super::output::time;
use super::{Failure, Output, ask, exit};
use crate::control::Request;

/// The hops from here to the guest's card, each with the reason codes that belong to it.
const HOPS: [(&str, &[&str]); 9] = [
    ("internet", &["connecting", "dns", "internet"]),
    ("proxy", &["proxy"]),
    ("TLS", &["tls_intercepted", "tls"]),
    ("cloud", &["hub_refused", "hub_silent", "clock", "clock_untrusted"]),
    ("identity", &["not_enrolled", "identity", "quarantine"]),
    (
        "lock server",
        &["lock_connecting", "lock_server", "lock_login", "lock_licence", "lock_protocol", "lock_clock", "lock_line"],
    ),
    ("encoder", &["encoder"]),
    ("disk", &["disk", "disk_low", "journal_damaged", "state_in_memory", "state_rebuilt", "inbox_full", "outbox_full"]),
    ("doubt", &["doubt", "lane_gap"]),
];
/// Those of the way to the cloud: beyond the one that fails nothing is known.
const WAY: usize = 4;

pub(super) async fn run(socket: &Path, output: &mut Output) -> Result<ExitCode, Failure> {
    let snapshot: Value = ask(socket, &Request::Status).await?;
    output.show(&snapshot, text);
    Ok(match snapshot["state"].as_str() {
        Some("ready") => ExitCode::SUCCESS,
        Some("degraded") => ExitCode::from(exit::DEGRADED),
        _ => ExitCode::from(exit::ERROR),
    })
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn since(value: &Value) -> String {
    time(value.as_i64().unwrap_or_default())
}

/// The reasons that hold, hop by hop.
fn reasons(snapshot: &Value) -> Vec<&Value> {
    let mut reasons: Vec<&Value> = snapshot["reasons"].as_array().into_iter().flatten().collect();
    reasons.sort_by_key(|reason| hop(word(&reason["code"])));
    reasons
}

/// Place of a code among the hops; behind all of them when it belongs to none.
fn hop(code: &str) -> usize {
    HOPS.iter().position(|(_, codes)| codes.contains(&code)).unwrap_or(HOPS.len())
}

fn text(snapshot: &Value) -> String {
    let is_enrolled = snapshot["bridge"]["bridge_id"] != "";
    let mut lines = vec![headline(snapshot, is_enrolled), String::new()];
    let bridge = &snapshot["bridge"];
    if is_enrolled {
        lines.push(format!("bridge       {} ({})", word(&bridge["bridge_id"]), word(&bridge["workspace_name"])));
    }
    lines.push(format!("version      {}, running since {}", word(&bridge["version"]), since(&bridge["started_ms"])));
    if is_enrolled {
        lines.extend(hops(snapshot));
        lines.extend(work(snapshot));
    }
    for reason in reasons(snapshot) {
        lines.push(String::new());
        lines.push(format!("! {} [{}, {}]", word(&reason["sentence"]), word(&reason["scope"]), word(&reason["code"])));
        lines.push(format!("  {} (since {})", word(&reason["message"]), since(&reason["since_ms"])));
        lines.push(format!("  -> {}", word(&reason["remedy"])));
    }
    lines.join("\n")
}

/// Does it work, and since when is it so?
fn headline(snapshot: &Value, is_enrolled: bool) -> String {
    let first = reasons(snapshot).iter().filter_map(|reason| reason["since_ms"].as_i64()).min();
    let from = first.map_or_else(String::new, |first| format!(" since {}", time(first)));
    match snapshot["state"].as_str() {
        _ if !is_enrolled => "The bridge waits for its identity; it carries out nothing yet.".to_owned(),
        Some("ready") => "The bridge works.".to_owned(),
        Some("degraded") => format!("The bridge works; something needs a look{from}."),
        _ => format!("The bridge cannot serve a lock system{from}."),
    }
}

/// One line a hop.
fn hops(snapshot: &Value) -> Vec<String> {
    let cloud = &snapshot["cloud"];
    let is_connected = cloud["connected"] == true;
    let held: Vec<usize> = reasons(snapshot).iter().map(|reason| hop(word(&reason["code"]))).collect();
    let breaks_at = held.iter().copied().filter(|hop| *hop < WAY).min();
    let mut lines = Vec::new();
    for (index, (name, _)) in HOPS.iter().enumerate() {
        let state = match (*name, held.contains(&index)) {
            ("cloud", is_held) if is_connected => {
                let look = if is_held { "; needs a look" } else { "" };
                format!("connected to {} since {}{look}", word(&cloud["hub"]), since(&cloud["since_ms"]))
            }
            ("cloud", _) => format!("offline since {}; work goes on and is kept", since(&cloud["since_ms"])),
            (_, true) => "needs a look, see below".to_owned(),
            ("lock server", false) => {
                lines.extend(systems(snapshot));
                continue;
            }
            (_, false) if index < WAY && !is_connected && breaks_at.is_none_or(|at| at < index) => {
                "not reached".to_owned()
            }
            (_, false) => "ok".to_owned(),
        };
        lines.push(format!("{name:<12} {state}"));
        if *name == "lock server" {
            lines.extend(systems(snapshot));
        }
    }
    lines
}

fn systems(snapshot: &Value) -> Vec<String> {
    let systems = snapshot["lock_systems"].as_array().into_iter().flatten();
    let line = |system: &Value| {
        let state = match system["reachable"].as_bool() {
            Some(true) => "reachable",
            Some(false) => "NOT REACHABLE",
            None => "has not answered yet",
        };
        format!("lock system  {} ({}): {state}", word(&system["name"]), word(&system["kind"]))
    };
    systems.map(line).collect()
}

/// What is in hand, and what holds it back by somebody's will.
fn work(snapshot: &Value) -> Vec<String> {
    let count = |key: &str| snapshot["engine"][key].as_u64().unwrap_or_default();
    let mut lines = vec![format!(
        "commands     {} queued, {} executing, {} in doubt; {} reports wait for the cloud",
        count("queued"),
        count("executing"),
        count("in_doubt"),
        count("outbox")
    )];
    if snapshot["engine"]["brake"] == true {
        lines.push("brake        ON: no encoding, no new grants".to_owned());
    }
    lines.extend(super::quarantine::line(&snapshot["engine"]["quarantine"]).map(|line| format!("quarantine   {line}")));
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::health::ReasonCode;

    fn reason(scope: &str, code: &str, since_ms: i64) -> Value {
        json!({ "scope": scope, "code": code, "sentence": format!("S of {code}."), "message": "m", "remedy": "R.",
                "since_ms": since_ms })
    }

    fn snapshot(state: &str, connected: bool, reasons: &[Value]) -> Value {
        json!({
            "state": state,
            "bridge": { "bridge_id": "b-1", "workspace_name": "Example", "version": "0.1.0", "started_ms": 1 },
            "cloud": { "connected": connected, "since_ms": 1, "hub": "cloud.example.com:443" },
            "lock_systems": [{ "name": "main", "kind": "salto_space", "reachable": true }],
            "engine": { "queued": 3, "executing": 0, "in_doubt": 1, "outbox": 9, "brake": false },
            "reasons": reasons,
        })
    }

    #[test]
    fn the_answer_comes_first_and_every_reason_with_its_remedy() {
        let reasons = [reason("bridge", "doubt", 1_790_000_000_000), reason("cloud", "proxy", 1_780_000_000_000)];
        let text = text(&snapshot("degraded", false, &reasons));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("The bridge works; something needs a look since 2026-05-2"), "{text}");
        assert!(text.contains("3 queued, 0 executing, 1 in doubt; 9 reports wait"));
        let place = |part: &str| text.find(part).expect("it is told");
        assert!(place("! S of proxy. [cloud, proxy]") < place("! S of doubt."), "by hop: {text}");
        assert!(text.contains("-> R."));
    }

    #[test]
    fn hops_before_the_fault_are_ok_and_those_behind_it_are_not_reached() {
        let text = text(&snapshot("degraded", false, &[reason("cloud", "proxy", 1)]));
        for line in [
            "internet     ok",
            "proxy        needs a look",
            "TLS          not reached",
            "cloud        offline",
            "disk         ok",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        let fine = super::text(&snapshot("ready", true, &[]));
        assert!(fine.starts_with("The bridge works.\n") && fine.contains("cloud        connected to"), "{fine}");
        assert!(!fine.contains("not reached"), "{fine}");
    }

    #[test]
    fn hops_name_codes_that_exist_once_each() {
        let mut named: Vec<&str> = HOPS.iter().flat_map(|(_, codes)| *codes).copied().collect();
        assert!(named.iter().all(|code| ReasonCode::ALL.iter().any(|known| known.code() == *code)), "{named:?}");
        let all = named.len();
        named.sort_unstable();
        named.dedup();
        assert_eq!(named.len(), all);
    }
}
