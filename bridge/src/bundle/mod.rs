//! The support bundle: what somebody who cannot log in here needs to see, in one archive that a site may send.
//!
//! Owns what is gathered, how long each piece may take, and what is taken out. Promises: one piece that fails or hangs costs
//! its own deadline and a line in the summary, never the bundle; nothing in it is a secret or names a guest; the file is its
//! owner's alone. Works without the daemon, and with a configuration that does not hold. Never: sends it anywhere, or reads
//! what the journal says.

mod archive;
mod collect;
mod redact;

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use thiserror::Error;

use archive::Archive;

/// Most of one piece that is kept, from its end: the last lines of a log are the ones that matter.
const PIECE_BYTES: usize = 4 * 1024 * 1024;

/// What to gather from.
#[derive(Debug)]
pub struct Sources {
    /// Main configuration file.
    pub configuration: PathBuf,
    /// Log file of a daemon that does not write to journald.
    pub log: Option<PathBuf>,
    /// Name of the systemd unit.
    pub unit: String,
    /// This program, for the commands that gather by themselves.
    pub program: PathBuf,
}

/// The archive was not made.
#[derive(Debug, Error)]
#[error("cannot write the bundle {}", path.display())]
pub struct BundleError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// One piece, before redaction.
#[derive(Debug)]
enum Piece {
    Json(Value),
    Text(String),
}

/// A piece that came, or why it did not.
#[derive(Debug)]
struct Gathered {
    name: &'static str,
    what: &'static str,
    content: Result<Piece, String>,
}

/// Gathers everything into a new archive in `folder` and gives its path.
pub async fn make(sources: &Sources, folder: &Path, now: jiff::Timestamp) -> Result<PathBuf, BundleError> {
    let gathered = collect::all(sources).await;
    let name = format!("lockbridge-bundle-{}", now.strftime("%Y%m%dT%H%M%SZ"));
    let path = folder.join(format!("{name}.tar"));
    let failed = |source| BundleError { path: path.clone(), source };
    let mut archive = Archive::create(&path, u64::try_from(now.as_second()).unwrap_or(0)).map_err(failed)?;
    let summary = redact::text(&summary(&gathered, now));
    archive.add(&format!("{name}/summary.txt"), summary.as_bytes()).map_err(failed)?;
    for piece in gathered {
        let Ok(content) = piece.content else { continue };
        let (text, kind) = match content {
            Piece::Json(value) => {
                let value = redact::value(value);
                (serde_json::to_string_pretty(&value).unwrap_or_else(|error| error.to_string()), "json")
            }
            Piece::Text(text) => (redact::text(&text), "txt"),
        };
        let end = text.ceil_char_boundary(text.len().saturating_sub(PIECE_BYTES));
        archive
            .add(&format!("{name}/{}.{kind}", piece.name), text.as_bytes().get(end..).unwrap_or_default())
            .map_err(failed)?;
    }
    archive.finish().map_err(failed)
}

/// What a reader looks at first.
fn summary(gathered: &[Gathered], now: jiff::Timestamp) -> String {
    let json = |name: &str| {
        gathered.iter().find(|piece| piece.name == name).and_then(|piece| match &piece.content {
            Ok(Piece::Json(value)) => Some(value),
            _ => None,
        })
    };
    let mut lines =
        vec![format!("Lockbridge support bundle, made {now}"), format!("version {}", env!("CARGO_PKG_VERSION"))];
    match json("status") {
        Some(status) => {
            let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
            lines.push(format!("bridge {}: {}", word(&status["bridge"]["bridge_id"]), word(&status["state"])));
            for reason in status["reasons"].as_array().into_iter().flatten() {
                lines.push(format!(
                    "! {} ({}): {} {}",
                    word(&reason["code"]),
                    word(&reason["scope"]),
                    word(&reason["sentence"]),
                    word(&reason["message"])
                ));
            }
        }
        None => lines.push("The daemon did not tell its status.".to_owned()),
    }
    lines.push(String::new());
    for piece in gathered {
        lines.push(match &piece.content {
            Ok(_) => format!("{}: {}", piece.name, piece.what),
            Err(why) => format!("{}: MISSING ({}): {why}", piece.name, piece.what),
        });
    }
    lines.push(String::new());
    lines.push(
        "Secrets, card serials, mail addresses, phone numbers and keys are taken out; names of guests are in none of this.".into(),
    );
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn without_daemon_and_configuration_there_is_a_bundle_that_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let sources = Sources {
            configuration: folder.path().join("none.toml"),
            log: Some(folder.path().join("none.log")),
            unit: "lockbridge-that-is-not-installed".into(),
            program: "/nonexistent/lockbridge".into(),
        };
        let now = jiff::Timestamp::from_second(1_795_000_000).expect("a time");
        let path = make(&sources, folder.path(), now).await.expect("is made");
        let bytes = std::fs::read(&path).expect("is there");
        let text = String::from_utf8_lossy(&bytes);
        for part in ["The daemon did not tell its status.", "check: MISSING", "configuration: MISSING", "none.toml"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(text.contains("version.json"));
        assert!(make(&sources, folder.path(), now).await.is_err(), "an older one is not written over");
    }

    #[test]
    fn the_summary_says_what_is_wrong_and_what_is_missing() {
        let status = json!({ "state": "degraded", "bridge": { "bridge_id": "b-1" },
            "reasons": [{ "code": "dns", "scope": "cloud", "sentence": "S.", "message": "m" }] });
        let gathered = [
            Gathered { name: "status", what: "health", content: Ok(Piece::Json(status)) },
            Gathered { name: "check", what: "checks", content: Err("took longer than 60 s".into()) },
        ];
        let text = summary(&gathered, jiff::Timestamp::UNIX_EPOCH);
        assert!(text.contains("bridge b-1: degraded") && text.contains("! dns (cloud): S. m"), "{text}");
        assert!(text.contains("check: MISSING (checks): took longer than 60 s"), "{text}");
    }
}
