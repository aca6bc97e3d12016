//! `lockbridge audit verify|export`: the journal, checked and handed out without the daemon and without the state key.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::output::time;
use super::{Failure, Output, exit, load};
use crate::audit::{self, AuditError, Covered, Exporter, Finding, KeyError, Keys, Origin, Range, Source, Verdict};
use crate::clock::{Clock as _, SystemClock};
use crate::identity::PublicKeys;

/// What to do with the audit log. Nothing is changed and nothing is locked: the daemon may run.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check that no entry was changed, cut, moved or made up.
    Verify(Verify),
    /// Write the audit log into one file that `verify --file` checks anywhere.
    Export(Export),
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// State directory; by default the one of the configuration.
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "file")]
    state: Option<PathBuf>,
    /// An export instead of a state directory.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Public audit key of the bridge, hexadecimal; may be given again.
    #[arg(long, value_name = "FILE")]
    bridge_key: Vec<PathBuf>,
    /// Public key of the cloud's authority, hexadecimal; may be given again.
    #[arg(long, value_name = "FILE")]
    authority_key: Vec<PathBuf>,
    /// What `lockbridge-cloud bridge witness` printed: finds a cut tail. Brings both keys; may be given again.
    #[arg(long, value_name = "FILE")]
    witness: Vec<PathBuf>,
    /// Another export or state directory of the same bridge, which must not say anything else.
    #[arg(long, value_name = "PATH")]
    against: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// State directory; by default the one of the configuration.
    #[arg(long, value_name = "DIRECTORY")]
    state: Option<PathBuf>,
    /// First entry.
    #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
    from: u64,
    /// Last entry.
    #[arg(long, value_name = "SEQUENCE", default_value_t = u64::MAX)]
    to: u64,
    /// Where to write; by default to standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// A list for people instead, one line an entry; it cannot be verified.
    #[arg(long)]
    text: bool,
}

/// What `verify --json` tells.
#[derive(Debug, Serialize)]
struct Answer {
    sound: bool,
    journal: Verdict,
    against: Option<Verdict>,
    /// Contradictions between the two.
    contradictions: Vec<Finding>,
}

pub(super) fn run(command: &Command, configuration: &Path, output: &mut Output) -> Result<ExitCode, Failure> {
    match command {
        Command::Verify(arguments) => verify(arguments, configuration, output),
        Command::Export(arguments) => export(arguments, configuration, output),
    }
}

fn state(given: Option<&PathBuf>, configuration: &Path) -> Result<PathBuf, Failure> {
    given.map_or_else(|| Ok(load(configuration)?.state_directory), |path| Ok(path.clone()))
}

fn verify(arguments: &Verify, configuration: &Path, output: &mut Output) -> Result<ExitCode, Failure> {
    let source = match &arguments.file {
        Some(file) => Source::Export(file.clone()),
        None => Source::Folder(state(arguments.state.as_ref(), configuration)?),
    };
    let keys = Keys::given(&arguments.bridge_key, &arguments.authority_key, &arguments.witness)?;
    let verdict = audit::verify(&source, &keys, &mut |_| Ok(()))?;
    let (against, contradictions) = match &arguments.against {
        None => (None, Vec::new()),
        Some(path) => {
            let other = if path.is_dir() { Source::Folder(path.clone()) } else { Source::Export(path.clone()) };
            let (other, findings) = audit::compare(&verdict, &other, &keys)?;
            (Some(other), findings)
        }
    };
    let sound = verdict.sound && contradictions.is_empty() && against.as_ref().is_none_or(|other| other.sound);
    let answer = Answer { sound, journal: verdict, against, contradictions };
    output.show(&answer, text);
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::from(exit::ERROR) })
}

fn export(arguments: &Export, configuration: &Path, output: &mut Output) -> Result<ExitCode, Failure> {
    let state = state(arguments.state.as_ref(), configuration)?;
    let out: Box<dyn Write> = match &arguments.out {
        None => Box::new(BufWriter::new(io::stdout())),
        Some(path) => {
            let file = File::create(path).map_err(|error| {
                Failure::new(exit::ERROR, format!("cannot create {}: {error}", path.display())).reason("export")
            })?;
            Box::new(BufWriter::new(file))
        }
    };
    let keys = PublicKeys::read(&state).unwrap_or_default();
    let range = Range { from: arguments.from, through: arguments.to };
    let mut exporter = Exporter::new(out, range, arguments.text, keys, SystemClock.wall_ms());
    let source = Source::Folder(state);
    let verdict = audit::verify(&source, &Keys::default(), &mut |visited| exporter.visit(visited))?;
    let entries = exporter.finish()?;
    if entries == 0 && !arguments.text {
        let message = format!("no entry lies in {} to {}", arguments.from, arguments.to.min(verdict.through));
        return Err(Failure::new(exit::ERROR, message)
            .reason("empty")
            .hint(format!("The journal holds the entries {} to {}.", verdict.from, verdict.through)));
    }
    if let Some(path) = &arguments.out {
        let value = serde_json::json!({ "file": path, "entries": entries, "findings": verdict.findings });
        output.show(&value, |_| format!("{}: {entries} entries.", path.display()));
    }
    if verdict.sound {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::new(
        exit::ERROR,
        format!("the export is written, but the journal has {} findings", verdict.findings.len()),
    )
    .reason("findings")
    .hint("`lockbridge audit verify` tells them."))
}

fn text(answer: &Answer) -> String {
    let mut text = about(&answer.journal);
    if let Some(other) = &answer.against {
        let _always_fits = write!(text, "\n\nThe other one:\n{}", about(other));
        if answer.contradictions.is_empty() {
            text.push_str("\n\nThe two do not contradict each other.");
        }
        text.push_str(&listed(&answer.contradictions));
    }
    text
}

fn about(verdict: &Verdict) -> String {
    let headline = if verdict.sound { "The audit log is sound." } else { "The audit log is NOT sound." };
    let covered = |what: &Covered, who: &str| match what.count {
        0 => "none".to_owned(),
        count => format!("{count}, the last up to entry {} of {}; {who}", what.through, time(what.time_ms)),
    };
    let key = |origin: Origin| match origin {
        Origin::None => "no key to check them with",
        Origin::Beside => "checked with the key found beside the log, which proves less than one from the cloud",
        Origin::Given => "checked with the key given",
    };
    let mut lines = vec![
        headline.to_owned(),
        String::new(),
        format!("journal      {}", verdict.store_id),
        format!("entries      {} to {}, {} read", verdict.from, verdict.through, verdict.entries),
        format!("checkpoints  {}", covered(&verdict.checkpoints, key(verdict.audit_key))),
        format!("witnesses    {}", covered(&verdict.witnesses, key(verdict.authority_key))),
        format!("unwitnessed  {} entries after that: only the chain speaks for them", verdict.not_witnessed),
    ];
    if !verdict.witness_from_outside {
        lines.push(
            "             Without --witness from the cloud, a cut of the newest entries cannot be told from a shorter log."
                .to_owned(),
        );
    }
    lines.extend(verdict.notes.iter().map(|note| format!("note         {note}")));
    let mut text = lines.join("\n");
    text.push_str(&listed(&verdict.findings));
    if verdict.more_findings > 0 {
        let _always_fits = write!(text, "\n\nAnd {} findings more.", verdict.more_findings);
    }
    text
}

fn listed(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let entries = match (finding.sequence, finding.through) {
            (Some(from), Some(through)) => format!("entries {from} to {through}, "),
            (Some(from), None) => format!("entry {from}, "),
            (None, _) => String::new(),
        };
        let code = serde_json::to_value(finding.code).unwrap_or_default();
        let code = code.as_str().unwrap_or_default();
        let _always_fits =
            write!(text, "\n\n! {} [{code}]\n  {entries}{}\n  -> {}", finding.message, finding.place, finding.remedy);
    }
    text
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::new(exit::NO_INPUT, crate::net::chain_text(&error))
            .reason("key")
            .hint("`lockbridge-cloud bridge witness BRIDGE` prints a witness file with both keys.")
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        let (code, hint) = match &error {
            AuditError::Read { .. } => (exit::NO_INPUT, "Check the path, and run the command with sudo."),
            AuditError::Nothing { .. } => {
                (exit::NO_INPUT, "Give the state directory with --state, or an export with --file.")
            }
            AuditError::Version { .. } => {
                (exit::NO_INPUT, "Use the version of lockbridge that wrote it, or a later one.")
            }
            AuditError::Moving { .. } => {
                (exit::ERROR, "Try again; while a backlog is worked off, stop the daemon first.")
            }
            AuditError::Write(_) => (exit::ERROR, "Check free space and permissions."),
        };
        Self::new(code, crate::net::chain_text(&error)).reason("audit").hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use lockbridge_protocol::journal::{ChainHash, StoreId};

    use super::*;
    use crate::audit::Code;

    #[test]
    fn the_answer_comes_first_and_every_finding_with_its_next_step() {
        let verdict = Verdict {
            sound: false,
            store_id: StoreId([1; 16]),
            from: 1,
            through: 9,
            begins_after: ChainHash([0; 32]),
            head: ChainHash([2; 32]),
            entries: 9,
            checkpoints: Covered { count: 1, through: 7, time_ms: 0 },
            witnesses: Covered::default(),
            witness_from_outside: false,
            not_witnessed: 9,
            audit_key: Origin::Beside,
            authority_key: Origin::None,
            findings: vec![Finding {
                code: Code::Missing,
                sequence: Some(3),
                through: Some(4),
                place: "x, byte 5".into(),
                message: "2 entries are not there".into(),
                remedy: Code::Missing.remedy(),
            }],
            more_findings: 0,
            notes: vec![],
            heads: std::collections::BTreeMap::new(),
        };
        let answer = Answer { sound: false, journal: verdict, against: None, contradictions: Vec::new() };
        let text = text(&answer);
        assert!(text.starts_with("The audit log is NOT sound."), "{text}");
        assert!(
            text.contains("! 2 entries are not there [missing]\n  entries 3 to 4, x, byte 5\n  -> Compare"),
            "{text}"
        );
        assert!(text.contains("the last up to entry 7") && text.contains("beside the log"), "{text}");
        assert!(text.contains("Without --witness"), "{text}");
    }
}
