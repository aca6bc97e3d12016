//! Builds the packages: binaries, man pages and completions from the command line itself, then one .deb and one .rpm each
//! for bridge and cloud.
//!
//! What a package holds stands in the manifests (`bridge/Cargo.toml`, `cloud/Cargo.toml`), what its scripts do in
//! `packaging/`. Everything generated goes below `target/`. Never: installs anything, or changes a file of the sources.

mod pages;
mod sizes;
mod tools;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::harness;
use pages::Program;
pub use sizes::Figures;

/// How optimised the binaries are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// As shipped.
    Release,
    /// As the tests build them: large and quick to make.
    Dev,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "dev",
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "debug",
        }
    }
}

/// What to build.
#[derive(Debug, Clone)]
pub struct Options {
    /// Of the binaries.
    pub profile: Profile,
    /// Where the packages go; made when it is not there.
    pub out: PathBuf,
    /// Version of the packages, when it is not that of the sources.
    pub version: Option<String>,
    /// The binaries are current: only pack them.
    pub skip_build: bool,
    /// The .rpm files too.
    pub rpm: bool,
}

/// One package.
#[derive(Debug, Clone)]
pub struct Package {
    /// `lockbridge` or `lockbridge-cloud`.
    pub name: &'static str,
    /// The file.
    pub file: PathBuf,
    /// What it weighs.
    pub figures: Figures,
}

/// Crates that become packages, by folder.
const CRATES: [(&str, &str); 2] = [("bridge", "lockbridge"), ("cloud", "lockbridge-cloud")];

/// What is missing for making packages, with the command that gets it.
pub fn missing(rpm: bool) -> Option<String> {
    tools::require(rpm).err().map(|error| error.to_string())
}

/// Builds everything; blocks for as long as the compiler needs.
pub fn build(options: &Options) -> Result<Vec<Package>> {
    tools::require(options.rpm)?;
    if !options.skip_build {
        tools::build_binaries(options.profile)?;
    }
    let generated = workspace().join("target/package");
    pages::write(&generated, Program::Bridge)?;
    pages::write(&generated, Program::Cloud)?;
    std::fs::create_dir_all(&options.out).with_context(|| options.out.display().to_string())?;
    let out = options.out.canonicalize()?;
    let mut packages = Vec::new();
    for (folder, name) in CRATES {
        let file = tools::deb(folder, name, options, &out)?;
        packages.push(Package { name, figures: sizes::of_deb(&file)?, file });
        if options.rpm {
            let file = tools::rpm(folder, name, options, &out)?;
            packages.push(Package { name, figures: sizes::of_file(&file)?, file });
        }
    }
    Ok(packages)
}

/// Binaries of the profile, which the packages take up.
fn binary(profile: Profile, name: &str) -> Result<PathBuf> {
    let path = workspace().join("target").join(profile.folder()).join(name);
    ensure!(path.exists(), "{} is not there; build it first", path.display());
    Ok(path)
}

fn workspace() -> PathBuf {
    harness::workspace().canonicalize().unwrap_or_else(|_| harness::workspace().to_owned())
}

/// `path` as an argument.
fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is no text", path.display()))
}
