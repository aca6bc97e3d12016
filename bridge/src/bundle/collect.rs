//! The pieces: each asks one thing, and has its own deadline.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

use super::{Gathered, Piece, Sources};
use crate::config::{Config, Loaded};
use crate::control::{self, Request};

/// One question to the daemon.
const DAEMON: Duration = Duration::from_secs(10);
/// One program of the system.
const PROGRAM: Duration = Duration::from_secs(10);
/// All checks: each of them has limits of its own, and together they may take this long.
const CHECKS: Duration = Duration::from_secs(60);
/// Rows of the queue.
const QUEUE_ROWS: usize = 1_000;
/// Lines of the log.
const LOG_LINES: &str = "5000";
/// What is read of a log file, from its end.
const LOG_BYTES: u64 = 4 * 1024 * 1024;

/// All of them, in the order of the summary.
pub(super) async fn all(sources: &Sources) -> Vec<Gathered> {
    let loaded = crate::config::load(&sources.configuration).map_err(|error| error.to_string());
    let socket = loaded.as_ref().map(|loaded| loaded.config.control_socket.clone()).map_err(Clone::clone);
    let state = loaded.as_ref().map(|loaded| loaded.config.state_directory.clone()).map_err(Clone::clone);
    let piece = |name, what, content| Gathered { name, what, content };
    let ask = async |request: Request| {
        let socket = socket.clone()?;
        let asked = within(DAEMON, control::call::<Value>(&socket, &request)).await?;
        asked.map(Piece::Json).map_err(|error| crate::net::chain_text(&error))
    };
    let program = sources.program.to_string_lossy().into_owned();
    let configuration = sources.configuration.to_string_lossy().into_owned();
    vec![
        piece("version", "versions of this program and the system", Ok(Piece::Json(versions()))),
        piece("status", "health, reasons and figures", ask(Request::Status).await),
        piece("queue", "commands that have not ended", ask(Request::Queue { limit: QUEUE_ROWS }).await),
        piece("doubts", "commands in doubt", ask(Request::Doubts).await),
        piece(
            "configuration",
            "values in force and where they come from",
            loaded.as_ref().map(values).map_err(Clone::clone),
        ),
        piece("journal", "files of the journal, without their content", state.clone().and_then(|state| files(&state))),
        piece("disk", "space under the state directory", state.and_then(|state| disk(&state))),
        piece(
            "check",
            "`lockbridge check`",
            run_json(&program, &["--config", &configuration, "--json", "check"], CHECKS).await,
        ),
        piece("unit", "the systemd unit", unit(&sources.unit).await),
        piece("log", "the last lines of the log", log(sources, loaded.ok().map(|loaded| loaded.config)).await),
    ]
}

async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Result<T, String> {
    tokio::time::timeout(limit, future).await.map_err(|_| format!("took longer than {} s", limit.as_secs()))
}

fn versions() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let release = read("/etc/os-release");
    let system = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or_default();
    json!({
        "lockbridge": env!("CARGO_PKG_VERSION"),
        "architecture": std::env::consts::ARCH,
        "system": system.trim_matches('"'),
        "kernel": read("/proc/sys/kernel/osrelease"),
        "uptime_s": read("/proc/uptime").split('.').next().and_then(|text| text.parse::<u64>().ok()),
    })
}

/// Secrets are never among the values, only where they are read from; who logs in is nobody's business either.
fn values(loaded: &Loaded) -> Piece {
    let rows = loaded.effective.iter().map(|value| {
        let shown = if value.key.ends_with("user") { "[set]" } else { value.value.as_str() };
        json!({ "key": value.key, "value": shown, "origin": value.origin })
    });
    Piece::Json(rows.collect())
}

fn files(state: &Path) -> Result<Piece, String> {
    let folder = state.join("journal");
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut rows = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let metadata = entry.metadata().map_err(failed)?;
        let modified = metadata.modified().ok().and_then(|time| jiff::Timestamp::try_from(time).ok());
        rows.push(json!({
            "file": entry.file_name().to_string_lossy().split('.').map(short).collect::<Vec<_>>().join("."),
            "bytes": metadata.len(),
            "modified": modified.map(|time| time.to_string()),
        }));
    }
    rows.sort_by_key(|row| row["file"].as_str().unwrap_or_default().to_owned());
    Ok(Piece::Json(rows.into()))
}

/// Numbers of journal files are sixteen digits; without the zeros nobody takes them for a card.
fn short(part: &str) -> String {
    let kept = part.trim_start_matches('0');
    if kept.is_empty() { "0".to_owned() } else { kept.to_owned() }
}

fn disk(state: &Path) -> Result<Piece, String> {
    let found = nix::sys::statvfs::statvfs(state).map_err(|error| format!("{}: {error}", state.display()))?;
    let block: u64 = found.fragment_size();
    Ok(Piece::Json(json!({
        "directory": state.display().to_string(),
        "total_bytes": block.saturating_mul(found.blocks()),
        "free_bytes": block.saturating_mul(found.blocks_available()),
        "files_free": found.files_available(),
    })))
}

async fn unit(name: &str) -> Result<Piece, String> {
    let state = run("systemctl", &["show", name, "--no-pager", "--property", UNIT_PROPERTIES], PROGRAM).await?;
    let status = run("systemctl", &["cat", name, "--no-pager"], PROGRAM).await.unwrap_or_else(|why| why);
    Ok(Piece::Text(format!("{state}\n{status}\n")))
}

const UNIT_PROPERTIES: &str = "LoadState,ActiveState,SubState,Result,ExecMainStatus,NRestarts,ActiveEnterTimestamp,\
     MemoryCurrent,TasksCurrent,CPUUsageNSec,UnitFileState";

async fn log(sources: &Sources, config: Option<Config>) -> Result<Piece, String> {
    if let Some(path) = &sources.log {
        return tail(path).map(Piece::Text).map_err(|error| format!("{}: {error}", path.display()));
    }
    // Debug lines may quote what a lock server said.
    let level = if config.is_none_or(|config| config.log_level <= tracing::Level::INFO) { "7" } else { "6" };
    let arguments = ["-u", &sources.unit, "-n", LOG_LINES, "-p", level, "--no-pager", "-o", "short-iso-precise"];
    run("journalctl", &arguments, PROGRAM).await.map(Piece::Text)
}

fn tail(path: &PathBuf) -> std::io::Result<String> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    // A line cut in the middle could show half of what redaction would have found.
    let begin = if length > LOG_BYTES { text.find('\n').map_or(text.len(), |at| at + 1) } else { 0 };
    Ok(text.get(begin..).unwrap_or_default().to_owned())
}

async fn run_json(program: &str, arguments: &[&str], limit: Duration) -> Result<Piece, String> {
    let printed = run(program, arguments, limit).await?;
    serde_json::from_str(&printed).map(Piece::Json).map_err(|error| format!("{program} printed no JSON: {error}"))
}

/// What a program prints. One that finds something wrong prints it, too; only one that prints nothing failed.
async fn run(program: &str, arguments: &[&str], limit: Duration) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = within(limit, command.output()).await?.map_err(|error| format!("{program}: {error}"))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() || !printed.trim().is_empty() {
        return Ok(printed);
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().chars().take(300).collect::<String>();
    Err(format!("{program} ended with {}: {words}", output.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_program_that_hangs_costs_its_deadline_and_no_more() {
        let begun = std::time::Instant::now();
        let why = run("sleep", &["60"], Duration::from_millis(100)).await.expect_err("takes too long");
        assert!(why.contains("took longer"), "{why}");
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert_eq!(run("sh", &["-c", "echo told; exit 3"], PROGRAM).await, Ok("told\n".to_owned()));
        assert!(run("sh", &["-c", "echo why >&2; exit 3"], PROGRAM).await.expect_err("says nothing").contains("why"));
    }

    #[test]
    fn a_long_log_is_cut_at_a_line() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let bytes = usize::try_from(LOG_BYTES).expect("fits");
        std::fs::write(file.path(), format!("{}\nlast\n", "x".repeat(bytes))).expect("writes");
        assert_eq!(tail(&file.path().to_owned()).expect("reads"), "last\n");
    }
}
