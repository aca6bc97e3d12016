//! One run of a command from beginning to end, with a deadline.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Longest run of a CLI command or an administration command of the cloud.
const COMMAND: Duration = Duration::from_secs(60);

/// Runs a program that must succeed; what it printed.
pub(super) async fn run(program: &Path, arguments: &[&str]) -> Result<String> {
    let (code, stdout, stderr) = run_with_input(program, arguments, "").await?;
    if code != 0 {
        bail!("{} {} ended with {code}: {stderr}", program.display(), arguments.join(" "));
    }
    Ok(stdout)
}

/// Runs a program; exit code, stdout, stderr.
pub(super) async fn run_with_input(program: &Path, arguments: &[&str], input: &str) -> Result<(i32, String, String)> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    let mut stdin = child.stdin.take().context("standard input of the command")?;
    // A command that does not read its input closes it; that is its right.
    let _closed = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = tokio::time::timeout(COMMAND, child.wait_with_output())
        .await
        .with_context(|| format!("{} {} did not end", program.display(), arguments.join(" ")))??;
    let decode = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code().unwrap_or(-1), decode(&output.stdout), decode(&output.stderr)))
}
