//! `lockbridge check`: what works on the way to the cloud and to the locks, and what does not, hop by hop.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::output::table;
use super::{Failure, Output, block_on, exit};
use crate::check::{self, CHECKS, Context, Finding, Outcome};
use crate::clock::SystemClock;

/// Which checks.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Run this check only; may be given several times.
    #[arg(long, value_name = "ID", value_parser = clap::builder::PossibleValuesParser::new(CHECKS.iter().map(|check| check.id)))]
    only: Vec<String>,
    /// List the checks and run none.
    #[arg(long)]
    list: bool,
}

pub(super) fn run(arguments: &Arguments, file: &Path, output: &mut Output) -> Result<ExitCode, Failure> {
    if arguments.list {
        list(output);
        return Ok(ExitCode::SUCCESS);
    }
    let findings = match crate::config::load(file) {
        Ok(loaded) => block_on(async {
            let context = Context::gather(loaded.config, Arc::new(SystemClock)).await;
            check::run(&context, &arguments.only).await
        })?,
        Err(error) => vec![Finding {
            check: "configuration",
            description: "The configuration holds.",
            subject: String::new(),
            outcome: Outcome::Fatal,
            evidence: error.to_string(),
            remedy: "Correct the values above, or begin with `lockbridge setup`; then check again.".to_owned(),
        }],
    };
    let worst = worst(&findings);
    output.show(&json!({ "outcome": worst, "checks": findings }), |_| text(&findings));
    Ok(match worst {
        Outcome::Ok | Outcome::Skipped => ExitCode::SUCCESS,
        Outcome::Warning => ExitCode::from(exit::DEGRADED),
        Outcome::Failed | Outcome::Fatal => ExitCode::from(exit::ERROR),
    })
}

fn list(output: &mut Output) {
    let rows: Vec<_> = CHECKS.iter().map(|check| json!({ "id": check.id, "description": check.description })).collect();
    output.show(&rows, |_| {
        let rows: Vec<Vec<String>> =
            CHECKS.iter().map(|check| vec![check.id.to_owned(), check.description.to_owned()]).collect();
        table(&["ID", "WHAT HOLDS WHEN IT IS OK"], &rows)
    });
}

/// The worst of all that was looked at.
fn worst(findings: &[Finding]) -> Outcome {
    let grave = |outcome: &Outcome| match outcome {
        Outcome::Ok | Outcome::Skipped => 0,
        Outcome::Warning => 1,
        Outcome::Failed => 2,
        Outcome::Fatal => 3,
    };
    findings
        .iter()
        .map(|finding| finding.outcome)
        .filter(|outcome| *outcome != Outcome::Skipped)
        .max_by_key(grave)
        .unwrap_or(Outcome::Ok)
}

/// One line a finding, the next step under what is wrong, and the sum at the end.
fn text(findings: &[Finding]) -> String {
    let mut lines = Vec::new();
    for finding in findings {
        lines.push(line(finding));
        if !finding.remedy.is_empty() {
            lines.push(format!("         -> {}", finding.remedy));
        }
    }
    let count = |outcome: Outcome| findings.iter().filter(|finding| finding.outcome == outcome).count();
    lines.push(String::new());
    lines.push(format!(
        "{} ok, {} to look at, {} failed, {} skipped",
        count(Outcome::Ok),
        count(Outcome::Warning),
        count(Outcome::Failed) + count(Outcome::Fatal),
        count(Outcome::Skipped)
    ));
    lines.join("\n")
}

/// Readable without colour.
pub(super) fn line(finding: &Finding) -> String {
    let word = match finding.outcome {
        Outcome::Ok => "ok",
        Outcome::Warning => "LOOK",
        Outcome::Skipped => "skipped",
        Outcome::Failed => "FAILED",
        Outcome::Fatal => "FATAL",
    };
    let subject = if finding.subject.is_empty() { String::new() } else { format!(" [{}]", finding.subject) };
    format!("{word:<8} {}{subject}: {}", finding.check, finding.evidence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(outcome: Outcome) -> Finding {
        Finding {
            check: "cloud_name",
            description: "It resolves.",
            subject: "main".to_owned(),
            outcome,
            evidence: "seen".to_owned(),
            remedy: if outcome == Outcome::Failed { "do it".to_owned() } else { String::new() },
        }
    }

    #[test]
    fn the_worst_counts_and_skipping_is_no_fault() {
        let all = [Outcome::Ok, Outcome::Skipped, Outcome::Warning, Outcome::Failed, Outcome::Fatal].map(finding);
        assert_eq!(worst(&all), Outcome::Fatal);
        assert_eq!(worst(&all[..3]), Outcome::Warning);
        assert_eq!(worst(&all[1..2]), Outcome::Ok);
    }

    #[test]
    fn what_failed_is_followed_by_what_to_do() {
        let text = text(&[finding(Outcome::Ok), finding(Outcome::Failed)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "ok       cloud_name [main]: seen");
        assert_eq!(lines[1], "FAILED   cloud_name [main]: seen");
        assert_eq!(lines[2].trim(), "-> do it");
        assert_eq!(lines[4], "1 ok, 0 to look at, 1 failed, 0 skipped");
    }
}
