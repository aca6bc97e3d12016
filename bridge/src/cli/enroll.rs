//! `lockbridge enroll`: make this machine the bridge that a token is for.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::output::time;
use super::{Failure, Output, exit, load};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::identity::{self, EnrollError, EnrollOptions, Hint, TokenSource};
use crate::journal::{Disk, RealDisk, StateLock};
use crate::limits::JOURNAL_SAFETY_RESERVE_BYTES;
use crate::net::{Dialer, chain_text};

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
    // A running daemon has its identity in memory; enrolling beside it would only confuse.
    let _lock =
        StateLock::acquire(&config.state_directory).map_err(|error| Failure::new(exit::BUSY, chain_text(&error)))?;
    ensure_space(&config)?;
    let credential = std::env::var_os("CREDENTIALS_DIRECTORY")
        .is_some_and(|folder| Path::new(&folder).join("lockbridge.token").exists());
    let token = match &arguments.token_file {
        Some(path) => TokenSource::File(path.clone()),
        None if credential => TokenSource::Credential,
        None => TokenSource::Stdin,
    };
    let options = EnrollOptions {
        state_directory: config.state_directory,
        state_key: config.state_key,
        token,
        display_name: arguments.name.clone().unwrap_or_else(host_name),
        dialer: Dialer::new(config.proxy),
        clock: Arc::new(SystemClock),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(exit::ERROR, format!("no runtime for the enrollment: {error}")))?;
    let summary = runtime.block_on(identity::enroll(options)).map_err(|error| failure(&error))?;
    let until = summary.certificate_not_after.map_or(0, jiff::Timestamp::as_millisecond);
    let value = json!({
        "bridge_id": summary.bridge_id,
        "workspace_id": summary.workspace_id,
        "workspace_name": summary.workspace_name,
        "site_id": summary.site_id,
        "tunnel_url": summary.tunnel_url,
        "already_enrolled": summary.already_enrolled,
    });
    output.show(&value, |_| {
        let head = if summary.already_enrolled { "This bridge was enrolled before" } else { "Enrolled" };
        let validity = if until == 0 { String::new() } else { format!("certificate  until {}\n", time(until)) };
        format!(
            "{head}: workspace {} ({}).\n\nbridge       {}\ncloud        {}\n{validity}\n-> If that is the right workspace, start the daemon.",
            summary.workspace_name, summary.workspace_id, summary.bridge_id, summary.tunnel_url
        )
    });
    Ok(ExitCode::SUCCESS)
}

/// Better a refusal at the installation than at night (rule D7).
fn ensure_space(config: &Config) -> Result<(), Failure> {
    let needed = config.disk_reserve_bytes + config.audit_retention_bytes + JOURNAL_SAFETY_RESERVE_BYTES;
    let folder = config.state_directory.display();
    let free = RealDisk
        .free_bytes(&config.state_directory)
        .map_err(|error| Failure::new(exit::DISK, format!("cannot tell the free space of {folder}: {error}")))?;
    if free >= needed {
        return Ok(());
    }
    let message = format!(
        "the disk of {folder} has {} MiB free, and the bridge may need {} MiB of it: `storage.audit_retention_mib`, \
         `storage.disk_reserve_mib` and what is set aside for revokes",
        free >> 20,
        needed >> 20
    );
    let hint = "Free space, put the state directory on another disk, or lower `storage.audit_retention_mib`.";
    Err(Failure::new(exit::DISK, message).reason("disk_low").hint(hint))
}

fn failure(error: &EnrollError) -> Failure {
    Failure::new(exit::ERROR, chain_text(error)).reason("enrollment").hint(error.hint())
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "lockbridge".to_owned() } else { name.trim().to_owned() }
}
