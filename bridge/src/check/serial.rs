//! May the service use the serial encoders of this machine, and can their lines be set?
//!
//! Lines that are configured are looked at by the check `line`; these are the ports of the machine. Only devices that were given
//! to the bridge are opened: opening a line can reset what hangs on it.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use futures_util::FutureExt as _;
use nix::fcntl::OFlag;
use nix::sys::termios::{SetArg, tcgetattr, tcsetattr};
use nix::unistd::{Group, User, getgrouplist};

use super::{Check, Verdict};

/// Group of the devices that were given to the bridge.
const GROUP: &str = "lockbridge-serial";
/// User of the service.
const USER: &str = "lockbridge";
/// Names of lines that come and go with what is plugged in.
const PLUGGED: [&str; 2] = ["ttyUSB", "ttyACM"];

pub(super) const CHECK: Check = Check {
    id: "serial",
    description: "The service may use the serial encoders of this machine.",
    look: |_| {
        async { look(Path::new("/dev"), Group::from_name(GROUP).ok().flatten().map(|group| group.gid.as_raw())) }
            .boxed()
    },
};

/// A device as the file system shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Device {
    path: PathBuf,
    owner: u32,
    group: u32,
    mode: u32,
}

fn look(folder: &Path, group: Option<u32>) -> Vec<Verdict> {
    let devices = devices(folder, group);
    if devices.is_empty() {
        return vec![Verdict::skipped("there is no serial encoder on this machine")];
    }
    devices.iter().map(|device| judge(device, group).about(device.path.display().to_string())).collect()
}

/// Lines of plugged-in devices, and every other line of our group.
fn devices(folder: &Path, group: Option<u32>) -> Vec<Device> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut devices: Vec<Device> = entries
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let metadata = name.starts_with("tty").then(|| entry.metadata().ok()).flatten()?;
            let wanted = PLUGGED.iter().any(|kind| name.starts_with(kind)) || Some(metadata.gid()) == group;
            let device = Device {
                path: entry.path(),
                owner: metadata.uid(),
                group: metadata.gid(),
                mode: metadata.mode() & 0o777,
            };
            wanted.then_some(device)
        })
        .collect();
    devices.sort_by(|left, right| left.path.cmp(&right.path));
    devices
}

fn judge(device: &Device, group: Option<u32>) -> Verdict {
    let seen = format!("uid {}, gid {}, mode {:03o}", device.owner, device.group, device.mode);
    if Some(device.group) != group {
        return Verdict::skipped(format!("{seen}: not given to the bridge (group {GROUP})"));
    }
    if !service_may_use(device) {
        return Verdict::failed(
            format!("{seen}: the user {USER} may not read and write it"),
            format!("Let the group {GROUP} read and write it (udev rule of the package), with {USER} in the group."),
        );
    }
    match settable(&device.path) {
        Ok(()) => Verdict::ok(format!("{seen}; its speed can be set")),
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ResourceBusy) => {
            Verdict::skipped(format!("{seen}; not opened: {error}"))
        }
        Err(error) => Verdict::failed(
            format!("{seen}; its line cannot be set: {error}"),
            "Check the cable and the driver (`dmesg`); a virtual line may not have a speed.",
        ),
    }
}

/// Whether the user of the service may read and write it; true where there is no such user.
fn service_may_use(device: &Device) -> bool {
    let Ok(Some(user)) = User::from_name(USER) else { return true };
    let groups = std::ffi::CString::new(USER).ok().and_then(|name| getgrouplist(&name, user.gid).ok());
    let in_group = groups.is_some_and(|groups| groups.iter().any(|gid| gid.as_raw() == device.group));
    let is_owner = user.uid.as_raw() == device.owner;
    (in_group && device.mode & 0o060 == 0o060)
        || (is_owner && device.mode & 0o600 == 0o600)
        || device.mode & 0o006 == 0o006
}

/// Why the service cannot use this port although root, who looks, can.
pub(super) fn closed_to_service(path: &Path) -> Option<Verdict> {
    let metadata = fs::metadata(path).ok().filter(|_| nix::unistd::geteuid().is_root())?;
    let (owner, group, mode) = (metadata.uid(), metadata.gid(), metadata.mode() & 0o777);
    if service_may_use(&Device { path: path.to_owned(), owner, group, mode }) {
        return None;
    }
    let name = Group::from_gid(group.into()).ok().flatten().map_or_else(|| group.to_string(), |group| group.name);
    Some(Verdict::failed(
        format!("{}: the user {USER} may not read and write it (group {name}, mode {mode:03o})", path.display()),
        format!(
            "Give the port to the group {GROUP} by a udev rule (the package has one for USB adapters), or put {USER} into the \
             group {name}; then restart the service."
        ),
    ))
}

/// Sets the line to what it is set to.
fn settable(path: &Path) -> io::Result<()> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let line = OpenOptions::new().read(true).write(true).custom_flags(flags.bits()).open(path)?;
    let attributes = tcgetattr(&line)?;
    Ok(tcsetattr(&line, SetArg::TCSANOW, &attributes)?)
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[test]
    fn a_line_can_be_set_and_a_file_cannot() {
        let pair = nix::pty::openpty(None, None).expect("a pseudo terminal");
        let name = nix::unistd::ttyname(&pair.slave).expect("its name");
        settable(&name).expect("a terminal is a line");
        let file = tempfile::NamedTempFile::new().expect("a file");
        settable(file.path()).expect_err("no line");
    }

    #[test]
    fn only_devices_that_were_given_to_the_bridge_are_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = nix::unistd::getegid().as_raw();
        assert_eq!(look(folder.path(), Some(own))[0].outcome, Outcome::Skipped);
        for name in ["ttyUSB0", "ttyS0", "null"] {
            fs::write(folder.path().join(name), "").expect("written");
        }
        // Files, so that opening one as a line shows.
        let strangers = look(folder.path(), Some(own + 1));
        assert_eq!(strangers.len(), 1, "{strangers:?}");
        assert_eq!(strangers[0].outcome, Outcome::Skipped);
        assert!(strangers[0].subject.ends_with("ttyUSB0"));
        let ours = look(folder.path(), Some(own));
        assert_eq!(ours.len(), 2, "{ours:?}");
        assert!(ours.iter().all(|verdict| verdict.outcome == Outcome::Failed), "{ours:?}");
    }
}
