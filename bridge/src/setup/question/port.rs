//! Serial ports of this machine, by the names that stay.

use std::path::Path;

/// Where udev keeps names that stay the same: the package's own first.
const FOLDERS: [&str; 2] = ["/dev/lockbridge", "/dev/serial/by-id"];
/// A list that a person still reads.
const SHOWN: usize = 8;

/// The ports that are there.
pub(super) fn ports() -> Vec<String> {
    FOLDERS.iter().flat_map(|folder| ports_in(Path::new(folder))).take(SHOWN).collect()
}

fn ports_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut names: Vec<String> = entries.filter_map(|entry| entry.path().to_str().map(str::to_owned)).collect();
    names.sort_unstable();
    names
}

/// A path that is the same port after the next restart.
pub(super) fn device(text: &str) -> Result<(), String> {
    let path = Path::new(text);
    if !path.is_absolute() {
        return Err(format!("{text:?} is no path of a port; it is written as /dev/lockbridge/front-desk"));
    }
    let changes = ["/dev/ttyUSB", "/dev/ttyACM"].iter().any(|kind| text.starts_with(kind));
    if !changes {
        return Ok(());
    }
    let stable = FOLDERS.iter().flat_map(|folder| ports_in(Path::new(folder))).find(|name| {
        let target = std::fs::canonicalize(name);
        target.is_ok_and(|target| target == path)
    });
    let instead = stable.unwrap_or_else(|| "its name below /dev/lockbridge, /dev/serial/by-id or by-path".to_owned());
    Err(format!("{text} may be another adapter after a restart; give {instead}"))
}

/// Bits of a character, parity and stop bits, as `8N1`.
pub(super) fn format(text: &str) -> Result<(), String> {
    let good = match text.as_bytes() {
        [data, parity, stop] => b"78".contains(data) && b"NOE".contains(parity) && b"12".contains(stop),
        _ => false,
    };
    if good { Ok(()) } else { Err(format!("{text:?} is not 7 or 8, then N, O or E, then 1 or 2, as 8N1")) }
}

/// Symbols a second.
pub(super) fn baud(text: &str) -> Result<(), String> {
    match text.parse::<u32>() {
        Ok(300..=921_600) => Ok(()),
        _ => Err(format!("{text:?} is no speed of a serial port; it is a number from 300 to 921600, as 9600")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_stay_are_listed_and_those_that_change_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["usb-b", "usb-a"] {
            std::os::unix::fs::symlink("/dev/null", folder.path().join(name)).expect("links");
        }
        let found = ports_in(folder.path());
        assert!(found.len() == 2 && found[0].ends_with("usb-a"), "{found:?}");
        assert!(ports_in(&folder.path().join("missing")).is_empty());
        device("/dev/serial/by-id/usb-a").expect("stays");
        for (wrong, told) in [("/dev/ttyUSB0", "after a restart"), ("ttyS0", "no path")] {
            let problem = device(wrong).expect_err("refused");
            assert!(problem.contains(told), "{problem}");
        }
    }

    #[test]
    fn speed_and_format_are_checked() {
        for (good, bad) in [("8N1", "8n1"), ("7E2", "9N1"), ("8O1", "8N"), ("7N1", "8N1.5")] {
            format(good).expect("a format");
            format(bad).expect_err("none");
        }
        for (good, bad) in [("9600", "9600 8N1"), ("300", "299"), ("921600", "921601")] {
            baud(good).expect("a speed");
            baud(bad).expect_err("none");
        }
    }
}
