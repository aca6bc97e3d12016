//! Commands inside of the machine, as root at its console would type them.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::Machine;

/// Longest run of one command.
const COMMAND: Duration = Duration::from_secs(120);

/// How a command ended, and what it said.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Machine {
    /// Runs a command to its end, whatever that is.
    pub async fn run(&self, words: &[&str]) -> Result<Ended> {
        self.run_with_input(words, "").await
    }

    /// The same with text on standard input.
    pub async fn run_with_input(&self, words: &[&str], input: &str) -> Result<Ended> {
        let mut child = self
            .command()
            .arg("DEBIAN_FRONTEND=noninteractive")
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", words.join(" ")))?;
        let mut stdin = child.stdin.take().context("standard input of the command")?;
        // A command that does not read its input closes it; that is its right.
        let _closed = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = tokio::time::timeout(COMMAND, child.wait_with_output());
        let output = output.await.with_context(|| format!("{} did not end", words.join(" ")))??;
        let decode = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        Ok(Ended { code, stdout: decode(&output.stdout), stderr: decode(&output.stderr) })
    }

    /// A shell as root at the machine's console has it, for a terminal.
    pub fn login(&self) -> Command {
        let mut shell = self.command();
        shell.args(["TERM=dumb", "PS1=root@site:\\w# ", "setsid", "--ctty", "--wait", "bash", "--norc", "--noprofile"]);
        shell
    }

    /// One property of the bridge's unit, as systemd tells it.
    pub async fn property(&self, name: &str) -> Result<String> {
        let shown = self.succeed(&["systemctl", "show", "--value", "--property", name, "lockbridge"]).await?;
        Ok(shown.trim().to_owned())
    }

    /// The bridge's own report.
    pub async fn status(&self) -> Result<Value> {
        let ended = self.run(&["lockbridge", "status", "--json"]).await?;
        serde_json::from_str(&ended.stdout).with_context(|| format!("{ended:?}"))
    }

    /// Enters the machine with a clean environment; variables and words follow.
    fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.init.to_string(), "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"])
            .args(["--", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"]);
        command
    }

    /// Runs a command that must succeed; what it printed.
    pub async fn succeed(&self, words: &[&str]) -> Result<String> {
        let ended = self.run(words).await?;
        let (stdout, stderr) = (&ended.stdout, &ended.stderr);
        ensure!(ended.code == 0, "{} ended with {}:\n{stdout}\n{stderr}", words.join(" "), ended.code);
        Ok(ended.stdout)
    }

    /// Runs a line of shell that must succeed; what it printed.
    pub async fn shell(&self, line: &str) -> Result<String> {
        self.succeed(&["sh", "-euc", line]).await
    }
}
