//! One child process: its ready line, its log file, and its end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Longest wait for a ready line.
const READY: Duration = Duration::from_secs(20);
/// Longest wait for an orderly end.
const END: Duration = Duration::from_secs(40);

/// The ready line of a child, as JSON.
pub type Ready = Value;

/// A running child; killed and reaped when dropped.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    /// Ours, for waiting on a child closes the input that it owns, and that is a second order to stop.
    _stdin: Option<ChildStdin>,
    stdout: Option<BufReader<ChildStdout>>,
    log: PathBuf,
}

impl Process {
    /// Starts `program` with standard error appended to `log`. Its standard input stays open as long as we live.
    pub fn start(name: &'static str, program: &Path, arguments: &[&str], log: &Path) -> Result<Self> {
        let errors = File::options().create(true).append(true).open(log).with_context(|| log.display().to_string())?;
        let mut child = Command::new(program)
            .args(arguments)
            // As in the unit: what memory is measured to be is what it will be.
            .env("MALLOC_ARENA_MAX", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let stdout = child.stdout.take().map(BufReader::new);
        let stdin = child.stdin.take();
        Ok(Self { name, child, _stdin: stdin, stdout, log: log.to_owned() })
    }

    /// Reads the one JSON line by which the child says that it is ready.
    pub async fn ready(&mut self) -> Result<Ready> {
        let mut line = String::new();
        let stdout = self.stdout.as_mut().context("the ready line was read before")?;
        let read = tokio::time::timeout(READY, stdout.read_line(&mut line)).await;
        match read {
            Ok(Ok(bytes)) if bytes > 0 => {
                serde_json::from_str(&line).with_context(|| format!("ready line of {}: {line:?}", self.name))
            }
            _ => bail!("{} did not become ready; its log ends:\n{}", self.name, self.log_tail()),
        }
    }

    /// Process id, to look at; end the process through this type only.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// `kill -9`, and waits until it is gone; one that ended by itself is.
    pub async fn kill(&mut self) -> Result<()> {
        if !self.runs() {
            return Ok(());
        }
        self.child.kill().await.with_context(|| format!("killing {}", self.name))
    }

    /// SIGTERM, and waits for the orderly end.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        if let Some(id) = self.id() {
            let id = i32::try_from(id).context("a process id")?;
            kill(Pid::from_raw(id), Signal::SIGTERM).with_context(|| format!("stopping {}", self.name))?;
        }
        self.ended().await
    }

    /// Waits for an end that comes by itself.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        match tokio::time::timeout(END, self.child.wait()).await {
            Ok(status) => status.with_context(|| format!("waiting for {}", self.name)),
            Err(_) => bail!("{} did not end within {} s; its log ends:\n{}", self.name, END.as_secs(), self.log_tail()),
        }
    }

    /// Last lines of its log, for messages.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(20)).copied().collect::<Vec<_>>().join("\n")
    }
}
