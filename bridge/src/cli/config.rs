//! `lockbridge config check|show`.

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::output::table;
use super::{Failure, Output, exit};
use crate::command::policy::Policy;

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say every mistake, or that there is none. Reads the policy file too.
    Check,
    /// Show every value in force and where it came from. Secrets are never in it.
    Show,
}

pub(super) fn run(command: &Command, file: &Path, output: &mut Output) -> Result<ExitCode, Failure> {
    let loaded = crate::config::load(file)?;
    match command {
        Command::Check => {
            let policy = Policy::load(&loaded.config.policy_file)
                .map_err(|error| Failure::new(exit::CONFIG, error.to_string()).reason("policy"))?;
            let value = json!({ "file": file, "lock_systems": loaded.config.lock_systems.len(),
                                "policy_version": policy.version });
            output.show(&value, |_| format!("{}: the configuration holds.", file.display()));
        }
        Command::Show => {
            let rows: Vec<_> = loaded
                .effective
                .iter()
                .map(|value| json!({ "key": value.key, "value": value.value, "origin": value.origin }))
                .collect();
            output.show(&rows, |_| {
                let rows: Vec<Vec<String>> = loaded
                    .effective
                    .iter()
                    .map(|value| vec![value.key.clone(), value.value.clone(), value.origin.clone()])
                    .collect();
                table(&["KEY", "VALUE", "FROM"], &rows)
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}
