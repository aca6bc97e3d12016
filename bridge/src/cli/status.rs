//! `lockbridge status`: the answer first, then why, hop by hop.

use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use super::output::time;
use super::{Failure, Output, ask, exit};
use crate::control::Request;

pub(super) async fn run(socket: &Path, output: &mut Output) -> Result<ExitCode, Failure> {
    let snapshot: Value = ask(socket, &Request::Status).await?;
    output.show(&snapshot, text);
    Ok(match snapshot["state"].as_str() {
        Some("ready") => ExitCode::SUCCESS,
        Some("degraded") => ExitCode::from(exit::DEGRADED),
        _ => ExitCode::from(exit::ERROR),
    })
}

fn text(snapshot: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let count = |key: &str| snapshot["engine"][key].as_u64().unwrap_or_default();
    let since = |value: &Value| time(value.as_i64().unwrap_or_default());
    if snapshot["bridge"]["bridge_id"] == "" {
        return waiting(snapshot);
    }
    let headline = match snapshot["state"].as_str() {
        Some("ready") => "The bridge works.",
        Some("degraded") => "The bridge works; something needs a look.",
        _ => "The bridge cannot serve a lock system now.",
    };
    let cloud = &snapshot["cloud"];
    let mut lines = vec![
        headline.to_owned(),
        String::new(),
        format!(
            "bridge       {} ({})",
            word(&snapshot["bridge"]["bridge_id"]),
            word(&snapshot["bridge"]["workspace_name"])
        ),
        format!(
            "version      {}, running since {}",
            word(&snapshot["bridge"]["version"]),
            since(&snapshot["bridge"]["started_ms"])
        ),
        match cloud["connected"].as_bool() {
            Some(true) => {
                format!("cloud        connected to {} since {}", word(&cloud["hub"]), since(&cloud["since_ms"]))
            }
            _ => format!("cloud        offline since {}; work goes on and is kept", since(&cloud["since_ms"])),
        },
    ];
    for system in snapshot["lock_systems"].as_array().into_iter().flatten() {
        let state = if system["reachable"].as_bool() == Some(true) { "reachable" } else { "NOT REACHABLE" };
        lines.push(format!("lock system  {} ({}): {state}", word(&system["name"]), word(&system["kind"])));
    }
    lines.push(format!(
        "commands     {} queued, {} executing, {} in doubt; {} reports wait for the cloud",
        count("queued"),
        count("executing"),
        count("in_doubt"),
        count("outbox")
    ));
    if snapshot["engine"]["brake"].as_bool() == Some(true) {
        lines.push("brake        ON: no encoding, no new grants".to_owned());
    }
    if let Some(line) = super::quarantine::line(&snapshot["engine"]["quarantine"]) {
        lines.push(format!("quarantine   {line}"));
    }
    lines.extend(reasons(snapshot));
    lines.join("\n")
}

/// What there is to say of a daemon without an identity.
fn waiting(snapshot: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = vec![
        "The bridge waits for its identity; it carries out nothing yet.".to_owned(),
        String::new(),
        format!(
            "version      {}, running since {}",
            word(&snapshot["bridge"]["version"]),
            time(snapshot["bridge"]["started_ms"].as_i64().unwrap_or_default())
        ),
    ];
    lines.extend(reasons(snapshot));
    lines.join("\n")
}

/// Every reason with its case and its remedy.
fn reasons(snapshot: &Value) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = Vec::new();
    for reason in snapshot["reasons"].as_array().into_iter().flatten() {
        lines.push(String::new());
        lines.push(format!("! {} [{}, {}]", word(&reason["sentence"]), word(&reason["scope"]), word(&reason["code"])));
        let since = time(reason["since_ms"].as_i64().unwrap_or_default());
        lines.push(format!("  {} (since {since})", word(&reason["message"])));
        lines.push(format!("  -> {}", word(&reason["remedy"])));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::text;

    #[test]
    fn the_answer_comes_first_and_every_reason_with_its_remedy() {
        let text = text(&json!({
            "state": "degraded",
            "bridge": { "bridge_id": "b-1", "workspace_name": "Example", "version": "0.1.0", "started_ms": 1 },
            "cloud": { "connected": false, "since_ms": 1 },
            "lock_systems": [{ "name": "main", "kind": "salto_space", "reachable": true }],
            "engine": { "queued": 3, "executing": 0, "in_doubt": 1, "outbox": 9, "brake": false },
            "reasons": [{ "scope": "cloud", "code": "dns", "sentence": "S.", "message": "m", "remedy": "R.", "since_ms": 1 }],
        }));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "The bridge works; something needs a look.");
        assert!(text.contains("3 queued, 0 executing, 1 in doubt; 9 reports wait"));
        assert!(text.contains("! S. [cloud, dns]") && text.contains("-> R."));
    }
}
