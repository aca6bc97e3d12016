//! The programs that do the work: cargo, cargo-deb, cargo-generate-rpm.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::{Options, Profile, binary, text, workspace};
use crate::harness;

/// Fails with the command that installs what is missing.
pub(super) fn require(rpm: bool) -> Result<()> {
    let wanted = ["cargo-deb", "cargo-generate-rpm"];
    let missing: Vec<&str> =
        wanted.into_iter().take(if rpm { 2 } else { 1 }).filter(|tool| harness::find(tool).is_none()).collect();
    ensure!(
        missing.is_empty(),
        "{} not found on PATH; get it with: cargo install --locked {}",
        missing.join(" and "),
        missing.join(" ")
    );
    Ok(())
}

/// Builds the two programs. The release takes their own features only; what tests switch on stays out of it.
pub(super) fn build_binaries(profile: Profile) -> Result<()> {
    let selection: &[&str] = match profile {
        Profile::Release => &["--release", "--package", "lockbridge", "--package", "lockbridge-cloud"],
        Profile::Dev => &["--workspace"],
    };
    run(harness::cargo().args(["build", "--locked", "--bins"]).args(selection))
}

/// Packs one .deb.
pub(super) fn deb(folder: &str, name: &str, options: &Options, out: &Path) -> Result<PathBuf> {
    binary(options.profile, name)?;
    let mut command = Command::new(found("cargo-deb")?);
    command.args(["--no-build", "--locked", "--manifest-path"]).arg(workspace().join(folder).join("Cargo.toml"));
    command.args(["--profile", options.profile.name(), "--output", text(out)?]);
    if options.profile == Profile::Dev {
        command.arg("--fast");
    }
    if let Some(version) = &options.version {
        command.args(["--deb-version", version]);
    }
    packed(command, out, name, "deb")
}

/// Packs one .rpm.
pub(super) fn rpm(folder: &str, name: &str, options: &Options, out: &Path) -> Result<PathBuf> {
    binary(options.profile, name)?;
    let mut command = Command::new(found("cargo-generate-rpm")?);
    command.args(["--package", folder, "--profile", options.profile.name(), "--output", text(out)?]);
    if let Some(version) = &options.version {
        // A .deb writes both in one word.
        let (version, release) = version.split_once('-').unwrap_or((version.as_str(), "1"));
        command.args(["--set-metadata", &format!("version = \"{version}\"")]);
        command.args(["--set-metadata", &format!("release = \"{release}\"")]);
    }
    packed(command, out, name, "rpm")
}

/// Runs a packing tool and finds the one file that it wrote.
fn packed(mut command: Command, out: &Path, name: &str, extension: &str) -> Result<PathBuf> {
    let ours = |path: &Path| {
        let file = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let rest = file.strip_prefix(name).and_then(|rest| rest.strip_prefix(['_', '-']));
        path.extension() == Some(OsStr::new(extension))
            && rest.is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()))
    };
    let list = || -> Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(out)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        Ok(entries.into_iter().filter(|path| ours(path)).collect())
    };
    // An older version beside it would be taken for the one just made.
    for old in list()? {
        std::fs::remove_file(&old).with_context(|| old.display().to_string())?;
    }
    command.current_dir(workspace());
    run(&mut command)?;
    match list()?.as_slice() {
        [file] => Ok(file.clone()),
        files => bail!("one .{extension} of {name} was expected in {}: {files:?}", out.display()),
    }
}

fn run(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting {shown}"))?;
    ensure!(
        output.status.success(),
        "{shown} ended with {}:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn found(tool: &str) -> Result<PathBuf> {
    harness::find(tool).with_context(|| format!("{tool} is not on PATH"))
}
