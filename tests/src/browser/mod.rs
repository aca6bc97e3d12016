//! A real browser, headless, driven by its debugging protocol: Debian's chromium, if it is installed.
//!
//! Promises: every wait has a deadline; the browser ends with the value; what the page asked for, complained about or broke
//! is kept for judging. Never: reaches out of this machine.

mod page;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::{Child, Command};

pub use page::{Page, Trouble, View};

use crate::harness::until;

/// Longest wait for a browser that starts on a busy machine.
const START: Duration = Duration::from_secs(60);
/// Without a user interface, a sandbox (it needs privileges that tests lack) or anything that goes to the network by itself.
const ARGUMENTS: [&str; 14] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-proxy-server",
];

/// A running browser with an empty profile.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    /// `host:port` and path of its debugging socket.
    address: (String, String),
    _profile: TempDir,
}

impl Browser {
    /// The program: `LOCKBRIDGE_CHROMIUM`, or where Debian puts it. `None`: not installed.
    pub fn program() -> Option<PathBuf> {
        let named = std::env::var_os("LOCKBRIDGE_CHROMIUM").map(PathBuf::from);
        named.or_else(|| Some(PathBuf::from("/usr/bin/chromium"))).filter(|path| path.exists())
    }

    /// Starts it and waits until it can be driven.
    pub async fn start(program: &Path) -> Result<Self> {
        let profile = tempfile::Builder::new().prefix("lockbridge-browser-").tempdir()?;
        let child = Command::new(program)
            .args(ARGUMENTS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A group of its own: its helpers end with it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let told = profile.path().join("DevToolsActivePort");
        let address = until("the browser's DevTools", START, async || {
            let text = std::fs::read_to_string(&told).map_err(|error| error.to_string())?;
            let mut lines = text.lines();
            match (lines.next(), lines.next()) {
                (Some(port), Some(path)) => Ok((format!("127.0.0.1:{port}"), path.to_owned())),
                _ => Err(format!("half a file: {text:?}")),
            }
        })
        .await?;
        Ok(Self { child, address, _profile: profile })
    }

    /// Opens an empty page of the given form.
    pub async fn page(&self, view: View) -> Result<Page> {
        Page::open(&self.address.0, &self.address.1, view).await
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            // Gone already is as good.
            let _gone = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}
