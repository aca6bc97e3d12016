//! `lockbridge-package`: builds the .deb and .rpm files from a clean checkout.

use std::io::Write as _;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use lockbridge_tests::package::{self, Options, Profile};
use serde_json::json;

/// Build the packages of bridge and cloud.
#[derive(Debug, Parser)]
#[command(name = "lockbridge-package", max_term_width = 100)]
struct Arguments {
    /// How optimised: `release` as shipped, `dev` large and quick to make.
    #[arg(long, value_enum, default_value = "release")]
    profile: ProfileName,
    /// Folder for the packages.
    #[arg(long, value_name = "DIR", default_value = "target/package")]
    out: PathBuf,
    /// Another version than that of the sources.
    #[arg(long, value_name = "VERSION")]
    package_version: Option<String>,
    /// Only .deb files.
    #[arg(long)]
    deb_only: bool,
    /// Write the sizes into this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProfileName {
    Release,
    Dev,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let packages = package::build(&Options {
        profile: match arguments.profile {
            ProfileName::Release => Profile::Release,
            ProfileName::Dev => Profile::Dev,
        },
        out: arguments.out,
        version: arguments.package_version,
        skip_build: false,
        rpm: !arguments.deb_only,
    })?;
    let mut out = std::io::stdout().lock();
    for package in &packages {
        let installed =
            package.figures.installed_bytes.map_or_else(String::new, |bytes| format!(", {} installed", mib(bytes)));
        writeln!(out, "{}: {}{installed}", package.file.display(), mib(package.figures.package_bytes))?;
    }
    if let Some(file) = arguments.json {
        let rows: Vec<_> =
            packages.iter().map(|package| json!({ "file": package.file, "figures": package.figures })).collect();
        std::fs::write(file, serde_json::to_string_pretty(&rows)?)?;
    }
    Ok(())
}

fn mib(bytes: u64) -> String {
    format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20)
}
