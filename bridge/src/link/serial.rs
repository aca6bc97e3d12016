//! Opens a serial port for one user, and says why when it cannot.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use nix::unistd::{Gid, Group};
use tokio_serial::SerialStream;

use super::endpoint::{DataBits, FlowControl, Parity, SerialSettings, StopBits};
use super::error::LineError;

/// Opens the port with these settings: no other program may have it, none can have it from then on.
pub(super) async fn open(settings: &SerialSettings) -> Result<SerialStream, LineError> {
    let settings = settings.clone();
    // Drivers of USB adapters talk to the adapter while they open, and a sick one takes its time.
    let opened = tokio::task::spawn_blocking(move || open_now(&settings)).await;
    opened.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

fn open_now(settings: &SerialSettings) -> Result<SerialStream, LineError> {
    let device = &settings.device;
    // A look first: what is no port must not be opened, for opening can have effects.
    let metadata = fs::metadata(device).map_err(|error| explain(settings, &error, String::new()))?;
    if !metadata.file_type().is_char_device() {
        return Err(LineError::NotSerial { device: device.clone() });
    }
    let builder = tokio_serial::new(device.to_string_lossy(), settings.baud)
        .data_bits(match settings.data_bits {
            DataBits::Seven => tokio_serial::DataBits::Seven,
            DataBits::Eight => tokio_serial::DataBits::Eight,
        })
        .parity(match settings.parity {
            Parity::None => tokio_serial::Parity::None,
            Parity::Odd => tokio_serial::Parity::Odd,
            Parity::Even => tokio_serial::Parity::Even,
        })
        .stop_bits(match settings.stop_bits {
            StopBits::One => tokio_serial::StopBits::One,
            StopBits::Two => tokio_serial::StopBits::Two,
        })
        .flow_control(match settings.flow_control {
            FlowControl::None => tokio_serial::FlowControl::None,
            FlowControl::Hardware => tokio_serial::FlowControl::Hardware,
            FlowControl::Software => tokio_serial::FlowControl::Software,
        })
        .exclusive(true);
    SerialStream::open(&builder).map_err(|error| {
        let kind = match error.kind {
            tokio_serial::ErrorKind::Io(kind) => kind,
            // The library's word for a port that another program has locked.
            tokio_serial::ErrorKind::NoDevice => io::ErrorKind::ResourceBusy,
            tokio_serial::ErrorKind::InvalidInput | tokio_serial::ErrorKind::Unknown => io::ErrorKind::Other,
        };
        explain(settings, &kind.into(), error.description)
    })
}

fn explain(settings: &SerialSettings, error: &io::Error, said: String) -> LineError {
    let device = settings.device.clone();
    let metadata = fs::metadata(&device);
    match (error.kind(), &metadata) {
        (io::ErrorKind::NotFound, _) => LineError::Missing { device },
        (io::ErrorKind::PermissionDenied, metadata) => {
            let owner = metadata.as_ref().ok().map(|metadata| (metadata.gid(), metadata.mode() & 0o777));
            let (group, mode) = owner.map_or_else(|| ("unknown".to_owned(), 0), |(gid, mode)| (group_name(gid), mode));
            LineError::Permission { device, group, mode }
        }
        (io::ErrorKind::ResourceBusy, _) => LineError::Busy { holder: holder(&device), device },
        _ => {
            let problem = if said.is_empty() { error.to_string() } else { said };
            LineError::Device { device, format: settings.format(), problem }
        }
    }
}

fn group_name(gid: u32) -> String {
    let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    group.map_or_else(|| gid.to_string(), |group| group.name)
}

/// The other program that has the device open, as far as this user may look.
fn holder(device: &Path) -> Option<String> {
    let device = device.canonicalize().ok()?;
    let own = std::process::id();
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).filter(|id| *id != own).find_map(
        |id| {
            let folder = Path::new("/proc").join(id.to_string());
            let mut open = fs::read_dir(folder.join("fd")).ok()?.filter_map(Result::ok);
            let has_it = open.any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == device));
            let name = has_it.then(|| fs::read_to_string(folder.join("comm")).ok()).flatten()?;
            Some(format!("process {id} ({})", name.trim()))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_open_it_is_told_which_group_may() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let settings = SerialSettings::new(file.path().to_owned());
        let metadata = fs::metadata(file.path()).expect("its metadata");
        let error = explain(&settings, &io::ErrorKind::PermissionDenied.into(), String::new());
        let LineError::Permission { group, mode, .. } = &error else { panic!("{error:?}") };
        let expected = Group::from_gid(Gid::from_raw(metadata.gid())).expect("readable").expect("a group").name;
        assert_eq!((group, *mode), (&expected, metadata.mode() & 0o777));
        assert!(error.remedy().contains(&format!("group `{expected}`")), "{}", error.remedy());
    }

    #[test]
    fn the_program_that_has_a_device_is_named() {
        let pair = nix::pty::openpty(None, None).expect("a pseudo terminal");
        let device = nix::unistd::ttyname(&pair.slave).expect("its name");
        assert_eq!(holder(&device), None, "this program itself does not count");
        let port = std::process::Stdio::from(pair.slave);
        let mut child = std::process::Command::new("sleep").arg("60").stdout(port).spawn().expect("sleep runs");
        let found = holder(&device);
        child.kill().expect("killed");
        child.wait().expect("ends");
        let found = found.expect("a holder");
        assert!(found.contains(&child.id().to_string()), "{found}");
    }
}
