//! A program at a terminal of its own, and somebody who reads and types.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::pty::{Winsize, openpty};
use tokio::process::{Child, Command};

use super::until;

/// Longest wait for the next words: a look at an encoder takes three seconds, a name service longer, a package manager too.
const WORDS: Duration = Duration::from_secs(60);

/// The program, its screen and its keyboard.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<String>>,
    /// How much of the screen was looked at.
    seen: usize,
}

impl Terminal {
    /// Starts the program; it ends when this is dropped.
    pub fn start(mut command: Command) -> Result<Self> {
        let size = Winsize { ws_row: 50, ws_col: 160, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(Some(&size), None).context("a pseudo terminal")?;
        let terminal = || -> Result<Stdio> { Ok(pair.slave.try_clone()?.into()) };
        let child = command.stdin(terminal()?).stdout(terminal()?).stderr(terminal()?).kill_on_drop(true).spawn()?;
        let screen = Arc::new(Mutex::new(String::new()));
        let (shown, mut lines) = (Arc::clone(&screen), File::from(pair.master.try_clone()?));
        // Ends with the last holder of the other end.
        std::thread::spawn(move || {
            let mut piece = [0; 1024];
            while let Ok(count @ 1..) = lines.read(&mut piece) {
                let text = String::from_utf8_lossy(piece.get(..count).unwrap_or_default()).into_owned();
                shown.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        Ok(Self { child, keyboard: File::from(pair.master), screen, seen: 0 })
    }

    /// All that was shown so far.
    pub fn screen(&self) -> String {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until these words are on the screen, behind what was waited for before.
    pub async fn shows(&mut self, words: &str) -> Result<()> {
        let from = self.seen;
        let found = until(words, WORDS, async || {
            let screen = self.screen();
            screen.get(from..).and_then(|new| new.find(words)).map(|at| from + at + words.len()).ok_or(screen)
        });
        self.seen = found.await?;
        Ok(())
    }

    /// Types a line.
    pub fn types(&mut self, line: &str) -> Result<()> {
        writeln!(self.keyboard, "{line}").context("typing")
    }

    /// Waits for the question and types an answer.
    pub async fn answer(&mut self, question: &str, text: &str) -> Result<()> {
        self.shows(question).await?;
        // The last of the prompt, after which the terminal is ready for this answer.
        self.shows(": ").await?;
        self.types(text)
    }

    /// Waits for the end of the program; its exit code.
    pub async fn ended(&mut self) -> Result<i32> {
        match tokio::time::timeout(WORDS, self.child.wait()).await {
            Ok(status) => status?.code().context("an exit code"),
            Err(_) => bail!("it did not end; the screen:\n{}", self.screen()),
        }
    }
}
