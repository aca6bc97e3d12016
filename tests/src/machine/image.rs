//! The Debian that every machine begins as: made once with debootstrap, kept below `target/`.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;

use crate::harness;

/// Changes when what is in it changes.
const NAME: &str = "bookworm-1";
/// Beside the minimal base. `faketime` gives one program another clock; the machine's own is the host's.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,udev,ca-certificates,procps,iproute2,faketime";
/// Longest time for debootstrap, in seconds.
const LIMIT: &str = "900";

/// What is missing for a machine, if anything.
pub(super) fn missing() -> Option<String> {
    if !geteuid().is_root() {
        return Some("a machine needs root".to_owned());
    }
    let tools = ["systemd-nspawn", "debootstrap", "setpriv", "unshare", "nsenter", "ip"];
    let absent: Vec<&str> = tools.into_iter().filter(|tool| harness::find(tool).is_none()).collect();
    (!absent.is_empty())
        .then(|| format!("{} not found; apt-get install debootstrap systemd-container iproute2", absent.join(", ")))
}

/// The image's folder; made now when it is not there.
pub(super) fn base() -> Result<PathBuf> {
    let folder = harness::workspace().canonicalize()?.join("target/machine");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let image = folder.join(NAME);
    let lock = File::create(folder.join("lock")).context("the lock of the images")?;
    // Two test programs at once: the second one waits for the image of the first.
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error).context("locking the images")?;
    if image.exists() {
        return Ok(image);
    }
    let partial = folder.join(format!("{NAME}.partial"));
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| partial.display().to_string())?;
    }
    let output = Command::new("timeout")
        .args([LIMIT, "debootstrap", "--variant=minbase", &format!("--include={PACKAGES}"), "bookworm"])
        .arg(&partial)
        .stdin(Stdio::null())
        .output()
        .context("starting debootstrap")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let tail = said.lines().rev().take(5).collect::<Vec<_>>().join("\n");
    ensure!(output.status.success(), "debootstrap ended with {}:\n{tail}", output.status);
    for useless in ["var/cache/apt/archives", "usr/share/doc", "usr/share/locale"] {
        fs::remove_dir_all(partial.join(useless)).with_context(|| format!("removing {useless}"))?;
    }
    fs::create_dir_all(partial.join("var/cache/apt/archives/partial"))?;
    // systemd makes one for each machine at its first boot.
    fs::write(partial.join("etc/machine-id"), "uninitialized\n")?;
    // Which would ask somebody at the console for a zone and a password.
    symlink("/dev/null", partial.join("etc/systemd/system/systemd-firstboot.service"))?;
    fs::rename(&partial, &image).with_context(|| image.display().to_string())?;
    Ok(image)
}
