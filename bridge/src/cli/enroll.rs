//! `lockbridge enroll`: make this machine the bridge that a token is for, through the daemon when it runs.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use nix::unistd::User;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::output::time;
use super::{Failure, Output, block_on, exit, load};
use crate::app::space::{self, SpaceError};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::control::{self, CallError, Request, SecretText};
use crate::identity::{self, EnrollError, EnrollOptions, EnrollSummary, Hint, TokenSource, forget_token};
use crate::journal::StateLock;
use crate::net::{Dialer, chain_text};

/// User of the service.
const USER: &str = "lockbridge";

/// Where the token is, and under which name this machine appears in the cloud.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Read the token from this file and wipe it once it is spent. Without it: from standard input, or from the systemd
    /// credential `lockbridge.token` when there is one.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Name shown in the cloud; the host name when not given.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

pub(super) fn run(arguments: &Arguments, file: &Path, output: &mut Output) -> Result<ExitCode, Failure> {
    let config = load(file)?;
    let token = match &arguments.token_file {
        Some(path) => TokenSource::File(path.clone()),
        None => TokenSource::credential().unwrap_or(TokenSource::Stdin),
    };
    let name = arguments.name.clone().unwrap_or_else(identity::machine::host_name);
    let enrolled = block_on(enroll(config, token, name))??;
    let summary = &enrolled.summary;
    let value = json!({
        "bridge_id": summary.bridge_id,
        "workspace_id": summary.workspace_id,
        "workspace_name": summary.workspace_name,
        "site_id": summary.site_id,
        "tunnel_url": summary.tunnel_url,
        "already_enrolled": summary.already_enrolled,
    });
    output.show(&value, |_| text(&enrolled));
    Ok(ExitCode::SUCCESS)
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Enrolled {
    /// Who this bridge is now.
    pub(super) summary: EnrollSummary,
    /// The daemon did it, and works from here on.
    pub(super) by_daemon: bool,
    /// Why the token file is still there, if it is.
    pub(super) token_left: Option<String>,
}

fn text(enrolled: &Enrolled) -> String {
    let Enrolled { summary, by_daemon, token_left } = enrolled;
    let head = if summary.already_enrolled { "This bridge was enrolled before" } else { "Enrolled" };
    let until = summary.certificate_not_after.map(jiff::Timestamp::as_millisecond);
    let validity = until.map_or_else(String::new, |until| format!("certificate  until {}\n", time(until)));
    let next = if *by_daemon {
        "-> If that is the right workspace, look at `lockbridge status`: the daemon goes on by itself."
    } else {
        "-> If that is the right workspace, start the daemon."
    };
    let left = token_left.as_ref().map_or_else(String::new, |why| format!("\n-> The token file was not wiped: {why}."));
    format!(
        "{head}: workspace {} ({}).\n\nbridge       {}\ncloud        {}\n{validity}\n{next}{left}",
        summary.workspace_name, summary.workspace_id, summary.bridge_id, summary.tunnel_url
    )
}

/// Gives the token to the daemon, or does its work on the state directory when none answers.
pub(super) async fn enroll(config: Config, token: TokenSource, name: String) -> Result<Enrolled, Failure> {
    let spent = match &token {
        TokenSource::File(path) => Some(path.clone()),
        TokenSource::Stdin | TokenSource::Text(_) | TokenSource::Credential => None,
    };
    let text = token.text().map_err(|error| failure(&error.into()))?;
    let request = Request::Enroll { token: SecretText::new(text.expose_secret()), name: name.clone() };
    match control::call(&config.control_socket, &request).await {
        Ok(summary) => {
            // The daemon has its identity, and it may not reach the file.
            let wiped = spent.map(|path| forget_token(&path));
            let token_left = wiped.and_then(Result::err).map(|error| chain_text(&error));
            Ok(Enrolled { summary, by_daemon: true, token_left })
        }
        Err(CallError::NotRunning { .. }) => {
            // Standard input was read; a file stays the source, so that the daemon wipes it after its first session.
            let token = if spent.is_some() { token } else { TokenSource::Text(text) };
            let summary = without_daemon(config, token, name).await?;
            Ok(Enrolled { summary, by_daemon: false, token_left: None })
        }
        Err(error) => Err(error.into()),
    }
}

async fn without_daemon(config: Config, token: TokenSource, name: String) -> Result<EnrollSummary, Failure> {
    ensure_own(&config.state_directory)?;
    // A daemon that holds the directory and does not answer has its identity in memory.
    let _lock =
        StateLock::acquire(&config.state_directory).map_err(|error| Failure::new(exit::BUSY, chain_text(&error)))?;
    space::ensure(&config).map_err(|error| no_space(&error))?;
    let options = EnrollOptions {
        state_directory: config.state_directory,
        state_key: config.state_key,
        token,
        display_name: name,
        dialer: Dialer::new(config.proxy),
        clock: Arc::new(SystemClock),
    };
    identity::enroll(options).await.map_err(|error| failure(&error))
}

/// The service runs as its own user and would not read what root wrote here.
fn ensure_own(folder: &Path) -> Result<(), Failure> {
    let own = nix::unistd::geteuid();
    let belongs_to = match std::fs::metadata(folder) {
        Ok(metadata) if metadata.uid() == own.as_raw() => return Ok(()),
        Ok(metadata) => {
            let user = User::from_uid(metadata.uid().into()).ok().flatten();
            user.map_or_else(|| format!("uid {}", metadata.uid()), |user| user.name)
        }
        // The service makes it, where there is one; what else is wrong with it comes out next.
        Err(error) if error.kind() == ErrorKind::NotFound && own.is_root() && is_service_installed() => USER.to_owned(),
        Err(_) => return Ok(()),
    };
    let message = format!("the daemon does not run, and {} belongs to {belongs_to}", folder.display());
    Err(Failure::new(exit::UNAVAILABLE, message)
        .reason("not_running")
        .hint("Start it with `systemctl start lockbridge`; it waits for the token. Then enroll again."))
}

/// The package made the service's user, and systemd runs here.
fn is_service_installed() -> bool {
    Path::new("/run/systemd/system").exists() && matches!(User::from_name(USER), Ok(Some(_)))
}

fn no_space(error: &SpaceError) -> Failure {
    Failure::new(exit::DISK, chain_text(error)).reason("disk_low").hint(error.hint())
}

fn failure(error: &EnrollError) -> Failure {
    Failure::new(exit::ERROR, chain_text(error)).reason("enrollment").hint(error.hint())
}
