//! What a package weighs, on the wire and installed.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

/// Sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Of the package file.
    pub package_bytes: u64,
    /// Of its files once installed, as the package manager counts; `None` where it was not asked.
    pub installed_bytes: Option<u64>,
}

/// Of any package file.
pub(super) fn of_file(file: &Path) -> Result<Figures> {
    let metadata = std::fs::metadata(file).with_context(|| file.display().to_string())?;
    Ok(Figures { package_bytes: metadata.len(), installed_bytes: None })
}

/// Of a .deb, with what `dpkg` will say of its installed size.
pub(super) fn of_deb(file: &Path) -> Result<Figures> {
    let output = Command::new("dpkg-deb").arg("--field").arg(file).arg("Installed-Size").output();
    let output = output.context("running dpkg-deb (package dpkg)")?;
    ensure!(output.status.success(), "dpkg-deb cannot read {}", file.display());
    let kibibytes: u64 = String::from_utf8_lossy(&output.stdout).trim().parse().context("an installed size")?;
    Ok(Figures { installed_bytes: Some(kibibytes * 1024), ..of_file(file)? })
}
