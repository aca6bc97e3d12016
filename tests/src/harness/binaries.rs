//! Finds the binaries of the workspace beside the running one, and builds them if they are not current.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

/// Paths of the binaries that are driven.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// The daemon and its CLI.
    pub bridge: PathBuf,
    /// The reference cloud.
    pub cloud: PathBuf,
    /// The simulators.
    pub simulator: PathBuf,
}

/// Builds what is not current, in the profile of the running binary, once a process.
pub fn build() -> Result<&'static Binaries> {
    static BINARIES: OnceLock<Result<Binaries, String>> = OnceLock::new();
    let built = BINARIES.get_or_init(|| build_once().map_err(|error| format!("{error:#}")));
    built.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
}

fn build_once() -> Result<Binaries> {
    let own = std::env::current_exe().context("the path of the running program")?;
    // target/<profile>/lockbridge-demo, or target/<profile>/deps/<test>-<hash>
    let mut folder = own.parent().context("a folder around the running program")?;
    let tested = folder.ends_with("deps");
    if tested {
        folder = folder.parent().context("a folder around deps")?;
    }
    let mut command = cargo();
    // The same selection as the command that built us, so that nothing is built twice with other features: usually this
    // finds everything current. The binaries of a package with tests of its own are built by `cargo test` too.
    command.args(if tested { ["test", "--no-run"] } else { ["build", "--bins"] });
    command.args(["--quiet", "--workspace"]).stdin(Stdio::null()).stdout(Stdio::null());
    if folder.ends_with("release") {
        command.arg("--release");
    }
    // Without the sources (binaries copied elsewhere) what stands beside us is taken as it is.
    if workspace().join("Cargo.toml").exists() {
        let status = command.status().context("running cargo build")?;
        if !status.success() {
            bail!("cargo build failed: {status}");
        }
    }
    let find = |name: &str| {
        let path = folder.join(name);
        if path.exists() { Ok(path) } else { bail!("{} is not there; run `cargo build --workspace`", path.display()) }
    };
    Ok(Binaries { bridge: find("lockbridge")?, cloud: find("lockbridge-cloud")?, simulator: find("lockbridge-sim")? })
}

/// cargo in the workspace, as somebody would call it who was not started by cargo.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    // What `cargo test` and `cargo run` tell their programs about the package must not reach this cargo: build scripts
    // that watch those variables (ring's does) would run again, and with them half of all crates, each time.
    for (name, _) in std::env::vars_os() {
        let told =
            ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"];
        if name.to_str().is_some_and(|name| told.iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(name);
        }
    }
    command
}

/// A program on the search path.
pub(crate) fn find(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(tool)).find(|file| file.is_file())
}

pub(crate) fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
