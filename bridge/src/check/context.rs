//! What all checks look at: configuration, the running daemon, the identity, the way to the cloud, the lock systems.

use std::sync::Arc;

use serde_json::Value;

use super::cloud::{Cloud, Trust};
use super::line;
use super::lock_system::System;
use crate::clock::Clock;
use crate::config::Config;
use crate::control::{self, CallError, Request};
use crate::identity::SeenIdentity;
use crate::net::{Dialer, chain_text};

/// The running daemon's word, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub enum Daemon {
    /// Its status.
    Answers(Value),
    /// Nobody listens at the control socket; the error's words.
    NotRunning(String),
    /// It may run, and this user may not ask or got no answer; the error's words.
    Unknown(String),
}

impl Daemon {
    /// Asks at the control socket.
    pub async fn ask(config: &Config) -> Self {
        match control::call(&config.control_socket, &Request::Status).await {
            Ok(snapshot) => Self::Answers(snapshot),
            Err(error @ CallError::NotRunning { .. }) => Self::NotRunning(error.to_string()),
            Err(error) => Self::Unknown(chain_text(&error)),
        }
    }

    /// Its status, when it answers.
    pub fn snapshot(&self) -> Option<&Value> {
        match self {
            Self::Answers(snapshot) => Some(snapshot),
            Self::NotRunning(_) | Self::Unknown(_) => None,
        }
    }
}

/// Who this bridge is, as far as this user may see it.
#[derive(Debug)]
pub(super) enum Known {
    Enrolled(Box<SeenIdentity>),
    NotEnrolled,
    /// There is something that cannot be used; the error's words.
    Unusable(String),
    /// This user may not look; the error's words.
    Hidden(String),
}

/// What all checks look at. What they find out for each other is found out once.
#[derive(Debug)]
pub struct Context {
    pub(super) config: Config,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) daemon: Daemon,
    pub(super) identity: Known,
    /// `None`: the address of the cloud is not known.
    pub(super) cloud: Option<Cloud>,
    pub(super) systems: Vec<System>,
}

impl Context {
    /// Looks at what is at hand: the daemon is asked, files are read, nothing is connected yet.
    pub async fn gather(config: Config, clock: Arc<dyn Clock>) -> Self {
        let daemon = Daemon::ask(&config).await;
        let identity = look(&config);
        let dialer = Dialer::new(config.proxy.clone());
        let cloud = match &identity {
            Known::Enrolled(seen) => {
                let trust = Trust::Bundle(seen.ca_bundle.clone());
                Cloud::new(seen.tunnel_url.as_str(), trust, dialer, Arc::clone(&clock))
            }
            // The daemon tells whom it dials; whom it trusts only the files do.
            _ => daemon
                .snapshot()
                .and_then(|snapshot| snapshot["cloud"]["hub"].as_str())
                .and_then(|hub| Cloud::new(&format!("https://{hub}"), Trust::Unknown, dialer, Arc::clone(&clock))),
        };
        let systems = config.lock_systems.iter().map(|system| System::new(system, &clock)).collect();
        Self { config, clock, daemon, identity, cloud, systems }
    }

    /// For lines as they are planned: the daemon's figures count only for lines that are the same in the configuration in use.
    #[must_use]
    pub fn for_planned_lines(mut self, present: Option<&Config>) -> Self {
        let unchanged: Vec<String> = line::places(&self.config)
            .filter(|place| present.is_some_and(|present| line::places(present).any(|other| other == *place)))
            .map(|(name, _)| name)
            .collect();
        if let Daemon::Answers(snapshot) = &mut self.daemon
            && let Some(lines) = snapshot.get_mut("lines").and_then(Value::as_array_mut)
        {
            lines.retain(|line| unchanged.iter().any(|name| line["name"] == *name));
        }
        self
    }

    /// Looks at another cloud than the one of the identity: the one that a token names.
    #[must_use]
    pub fn with_cloud(self, cloud: Cloud) -> Self {
        Self { cloud: Some(cloud), ..self }
    }
}

fn look(config: &Config) -> Known {
    // An unreadable folder and one that is not there look the same from inside; the folder itself tells.
    let folder = config.state_directory.join("identity");
    match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return Known::Hidden(format!("{} is not readable by this user: run it with sudo", folder.display()));
        }
        Ok(_) | Err(_) => {}
    }
    match SeenIdentity::read(&config.state_directory) {
        Ok(Some(seen)) => Known::Enrolled(Box::new(seen)),
        Ok(None) => Known::NotEnrolled,
        Err(error) => Known::Unusable(chain_text(&error)),
    }
}
