//! What this machine shows of itself to a daemon without privileges (rule H8): the machine id of the system, and the
//! permanent addresses of its wired network interfaces.
//!
//! Both are kept as hashes under the state key only. What cannot be read is left out, and what is left out proves nothing.

use std::fs;
use std::path::Path;

use lockbridge_protocol::proto::journal::Machine;

use crate::seal::Sealer;

/// Where the kernel lists network interfaces.
const INTERFACES: &str = "/sys/class/net";
/// `addr_assign_type`: the address is the hardware's own.
const PERMANENT: &str = "0";
/// `type`: Ethernet.
const ETHERNET: &str = "1";

/// Reads what this machine shows now; `id_file` is usually `/etc/machine-id`.
pub fn look(id_file: &Path, sealer: &Sealer) -> Machine {
    describe(id_file, Path::new(INTERFACES), sealer)
}

/// Under which name it appears in the cloud unless somebody gives another one.
pub fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "lockbridge".to_owned() } else { name.trim().to_owned() }
}

fn describe(id_file: &Path, interfaces: &Path, sealer: &Sealer) -> Machine {
    let mut hardware: Vec<Vec<u8>> = addresses(interfaces)
        .iter()
        .map(|address| sealer.fingerprint("hardware", address.as_bytes()).to_vec())
        .collect();
    hardware.sort_unstable();
    hardware.dedup();
    let machine_id =
        word(id_file).map(|id| sealer.fingerprint("machine-id", id.as_bytes()).to_vec()).unwrap_or_default();
    Machine { machine_id, hardware }
}

/// What is different between the machine that the state belongs to and this one; `None` when nothing speaks against it. One
/// network card that is still there is enough: cards are added and replaced.
pub fn difference(known: &Machine, shown: &Machine) -> Option<&'static str> {
    let hardware = !known.hardware.is_empty()
        && !shown.hardware.is_empty()
        && !shown.hardware.iter().any(|address| known.hardware.contains(address));
    let id = !known.machine_id.is_empty() && !shown.machine_id.is_empty() && known.machine_id != shown.machine_id;
    match (id, hardware) {
        (true, true) => Some("machine id and network cards"),
        (true, false) => Some("machine id"),
        (false, true) => Some("network cards"),
        (false, false) => None,
    }
}

fn addresses(interfaces: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(interfaces) else { return Vec::new() };
    entries.flatten().filter_map(|entry| address(&entry.path())).collect()
}

/// The address of an interface of hardware that neither software nor a wireless network may choose anew.
fn address(interface: &Path) -> Option<String> {
    let is = |file: &str, value: &str| word(&interface.join(file)).is_some_and(|found| found == value);
    let wireless = interface.join("wireless").exists() || interface.join("phy80211").exists();
    if !interface.join("device").exists() || wireless || !is("addr_assign_type", PERMANENT) || !is("type", ETHERNET) {
        return None;
    }
    word(&interface.join("address"))
}

fn word(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    struct Computer(tempfile::TempDir, Sealer);

    impl Computer {
        fn new(id: &str) -> Self {
            let machine = Self(tempfile::tempdir().expect("a folder"), Sealer::new(&Zeroizing::new([3; 32])));
            fs::write(machine.0.path().join("machine-id"), id).expect("writes");
            fs::create_dir(machine.0.path().join("net")).expect("makes");
            machine
        }

        fn card(&self, name: &str, address: &str, also: &[(&str, &str)]) {
            let folder = self.0.path().join("net").join(name);
            fs::create_dir_all(folder.join("device")).expect("makes");
            for (file, text) in [("address", address), ("addr_assign_type", "0\n"), ("type", "1\n")].iter().chain(also)
            {
                fs::write(folder.join(file), text).expect("writes");
            }
        }

        fn look(&self) -> Machine {
            describe(&self.0.path().join("machine-id"), &self.0.path().join("net"), &self.1)
        }
    }

    #[test]
    fn another_id_or_only_other_cards_are_another_machine() {
        let home = Computer::new("0123456789abcdef\n");
        home.card("eth0", "02:00:00:00:00:01\n", &[]);
        let known = home.look();
        assert_eq!(difference(&known, &home.look()), None);
        home.card("eth1", "02:00:00:00:00:02\n", &[]);
        assert_eq!(difference(&known, &home.look()), None, "a card more");
        assert_eq!(difference(&home.look(), &known), None, "a card less");

        let other = Computer::new("fedcba9876543210\n");
        assert_eq!(difference(&known, &other.look()), Some("machine id"));
        other.card("eth0", "02:00:00:00:00:03\n", &[]);
        assert_eq!(difference(&known, &other.look()), Some("machine id and network cards"));
        let copy = Computer::new("0123456789abcdef\n");
        copy.card("eth0", "02:00:00:00:00:03\n", &[]);
        assert_eq!(difference(&known, &copy.look()), Some("network cards"), "a cloned disk keeps its id");
    }

    #[test]
    fn what_is_not_shown_proves_nothing_and_what_changes_by_itself_is_not_looked_at() {
        let home = Computer::new("0123456789abcdef\n");
        home.card("eth0", "02:00:00:00:00:01\n", &[]);
        home.card("wlan0", "02:00:00:00:00:04\n", &[("wireless", "")]);
        home.card("eth9", "02:00:00:00:00:05\n", &[("addr_assign_type", "3\n")]);
        assert_eq!(home.look().hardware.len(), 1);
        assert_eq!(difference(&home.look(), &Machine::default()), None);
        assert_eq!(difference(&Machine::default(), &home.look()), None);
        assert_eq!(describe(Path::new("/nonexistent"), Path::new("/nonexistent"), &home.1), Machine::default());
        let plain = format!("{:?}", home.look());
        assert!(!plain.contains("0123456789abcdef"), "only hashes are kept");
    }
}
