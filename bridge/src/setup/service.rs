//! The unit of the service: whether there is one, and starting it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use thiserror::Error;
use tokio::process::Command;

const UNIT: &str = "lockbridge.service";
/// A question to systemd.
const QUESTION: Duration = Duration::from_secs(5);
/// Starting waits until the daemon says that it is ready; reading a long journal takes a while.
const START: Duration = Duration::from_secs(90);

/// The service could not be started.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// systemctl cannot be run.
    #[error("systemctl cannot be run")]
    Run(#[source] std::io::Error),
    /// systemd said no.
    #[error("`systemctl {words}` failed: {said}")]
    Refused {
        /// What was asked.
        words: String,
        /// Its words.
        said: String,
    },
    /// Not within the limit; it may still come.
    #[error("`systemctl {words}` did not end within {} s; it may still do", START.as_secs())]
    Slow {
        /// What was asked.
        words: String,
    },
}

/// How the daemon runs on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Not by systemd.
    None,
    /// By systemd, and it does not run now.
    Stopped,
    /// By systemd, and it runs.
    Running,
}

impl Service {
    /// Asks systemd.
    pub async fn look() -> Self {
        if !Path::new("/run/systemd/system").exists() {
            return Self::None;
        }
        let asked = Command::new("systemctl")
            .args(["show", UNIT, "--property", "LoadState,ActiveState"])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let Ok(Ok(output)) = tokio::time::timeout(QUESTION, asked).await else { return Self::None };
        let text = String::from_utf8_lossy(&output.stdout);
        match (text.contains("LoadState=loaded"), text.contains("ActiveState=active")) {
            (true, true) => Self::Running,
            (true, false) => Self::Stopped,
            (false, _) => Self::None,
        }
    }

    /// Makes the service run with the configuration as it is now, after the next boot too; nothing where systemd has none.
    pub async fn start(self) -> Result<(), ServiceError> {
        match self {
            Self::None => Ok(()),
            Self::Stopped => systemctl(&["enable", "--now", UNIT]).await,
            Self::Running => {
                systemctl(&["enable", UNIT]).await?;
                systemctl(&["restart", UNIT]).await
            }
        }
    }
}

async fn systemctl(words: &[&str]) -> Result<(), ServiceError> {
    let shown = words.join(" ");
    let run = Command::new("systemctl").args(words).stdin(Stdio::null()).kill_on_drop(true).output();
    match tokio::time::timeout(START, run).await {
        Err(_) => Err(ServiceError::Slow { words: shown }),
        Ok(Err(error)) => Err(ServiceError::Run(error)),
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(ServiceError::Refused { words: shown, said })
        }
    }
}
