//! Metrics, alert rules and dashboard hold together: what the files name stands in a scrape of a real bridge.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lockbridge::health::ReasonCode;
use lockbridge_tests::harness::guest::{self, Directory};
use lockbridge_tests::harness::{ApiClient, Site, SiteOptions};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn file(path: &str) -> Result<String> {
    std::fs::read_to_string(root().join(path)).with_context(|| path.to_owned())
}

async fn scrape(site: &Site) -> Result<String> {
    let text = ApiClient::plain(&site.health_address)?.get("/metrics").await?;
    Ok(text.as_str().context("metrics are text")?.to_owned())
}

/// Names of series, with those that a histogram brings; also of families without a sample at the moment.
fn names(scrape: &str) -> BTreeSet<String> {
    let heads = scrape.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    heads
        .filter_map(|head| head.split_once(' '))
        .flat_map(|(name, kind)| match kind {
            "histogram" => ["_bucket", "_sum", "_count"].map(|part| format!("{name}{part}")).to_vec(),
            _ => vec![name.to_owned()],
        })
        .collect()
}

/// What looks like the name of one of our metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("lockbridge_") || word.starts_with("process_")).map(str::to_owned).collect()
}

/// `(metric, label, value)` of every matcher with one or more plain values.
fn matchers(text: &str) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices('{') {
        let (before, after) = text.split_at(at);
        let before = before.rsplit(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').next();
        let Some(metric) = before.filter(|word| word.starts_with("lockbridge_")) else { continue };
        let inside = after.trim_start_matches('{').split('}').next().unwrap_or_default().replace("\\\"", "\"");
        for matcher in inside.split(',') {
            let Some((label, value)) = matcher.split_once('=') else { continue };
            let value = value.trim_start_matches('~').trim_matches('"');
            if !value.contains('$') {
                found.extend(value.split('|').map(|one| (metric.to_owned(), label.trim().to_owned(), one.to_owned())));
            }
        }
    }
    found
}

/// Every expression of a dashboard.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if ["expr", "definition", "query"].contains(&name.as_str()) => {
                        found.push(text.to_owned());
                    }
                    _ => expressions(value, found),
                }
            }
        }
        Value::Array(values) => {
            for value in values {
                expressions(value, found);
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn alerts_and_dashboard_name_what_a_scrape_holds() -> Result<()> {
    let site = Site::running(SiteOptions::default()).await?;
    let directory = Directory::read(&site).await?;
    guest::ready_grant(&site, &directory, "Ada Example", &["Main entrance"]).await?;
    let scrape = scrape(&site).await?;
    let known = names(&scrape);
    let alerts = file("packaging/alerts.yml")?;
    let dashboard: Value =
        serde_json::from_str(&file("packaging/dashboard.json")?).context("packaging/dashboard.json")?;
    let mut panels = Vec::new();
    expressions(&dashboard, &mut panels);
    assert!(panels.len() >= 10, "a dashboard without panels");
    for (what, text) in [("packaging/alerts.yml", alerts), ("packaging/dashboard.json", panels.join("\n"))] {
        let wanted = named(&text);
        assert!(wanted.len() >= 8, "{what} names {wanted:?}");
        assert_eq!(
            wanted.difference(&known).collect::<Vec<_>>(),
            Vec::<&String>::new(),
            "{what} names what is not told"
        );
        for (metric, label, value) in matchers(&text) {
            let holds = if metric == "lockbridge_reason" && label == "code" {
                ReasonCode::ALL.iter().any(|code| code.code() == value)
            } else {
                let pair = format!("{label}=\"{value}\"");
                scrape.lines().any(|line| line.starts_with(&format!("{metric}{{")) && line.contains(&pair))
            };
            assert!(holds, "{what}: no {metric} has {label}={value:?}");
        }
    }
    // What was done is counted: one grant, done, with the time that it took.
    let value = |name: &str| scrape.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let done = value("lockbridge_commands_ended_total{outcome=\"succeeded\"}").context("a count of what was done")?;
    let timed = value("lockbridge_command_duration_seconds_count{priority=\"convergent\"}");
    assert!(done != "0" && timed == Some(done), "{done} done, {timed:?} timed");
    let expiry: i64 = value("lockbridge_certificate_expiry_timestamp_seconds").context("an expiry")?.parse()?;
    let days = (expiry - jiff::Timestamp::now().as_second()) / 86_400;
    assert!((28..=31).contains(&days), "the certificate ends in {days} days");
    Ok(())
}

#[test]
fn matchers_and_names_are_found_in_expressions() {
    let text = "sum(rate(lockbridge_a_total{x=\"1\",y=~\"2|3\"}[5m])) > process_b{instance=~\"$instance\"}";
    assert_eq!(named(text).into_iter().collect::<Vec<_>>(), ["lockbridge_a_total", "process_b"]);
    let one = |label: &str, value: &str| ("lockbridge_a_total".to_owned(), label.to_owned(), value.to_owned());
    assert_eq!(matchers(text), [one("x", "1"), one("y", "2"), one("y", "3")]);
}

#[test]
fn promtool_accepts_the_rules_and_they_fire_when_they_should() -> Result<()> {
    let promtool = |arguments: [&str; 3]| -> Result<Option<String>> {
        match Command::new("promtool").args(arguments).current_dir(root()).output() {
            Ok(output) => {
                let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
                ensure!(output.status.success(), "promtool {arguments:?}: {told}");
                Ok(Some(told))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context("running promtool"),
        }
    };
    let Some(told) = promtool(["check", "rules", "packaging/alerts.yml"])? else {
        skipped();
        return Ok(());
    };
    let rules = file("packaging/alerts.yml")?.matches("- alert:").count();
    assert!(told.contains(&format!("{rules} rules found")), "{told}");
    promtool(["test", "rules", "tests/prometheus/alerts.test.yml"])?;
    Ok(())
}

#[expect(clippy::print_stderr, reason = "what was not tested is said loudly")]
fn skipped() {
    eprintln!("SKIPPED: the alert rules were not checked: no promtool; `apt-get install prometheus`");
}
