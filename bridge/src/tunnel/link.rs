//! Whether this machine has any network link, to try at once when it comes back (rule G4).

use std::fs;
use std::path::Path;

/// Whether an interface other than loopback is up. Where that cannot be told, it counts as up: then only the backoff rules.
pub(super) fn is_up() -> bool {
    any_up(Path::new("/sys/class/net"))
}

fn any_up(interfaces: &Path) -> bool {
    let Ok(entries) = fs::read_dir(interfaces) else { return true };
    entries.flatten().filter(|entry| entry.file_name() != "lo").any(|entry| {
        // Tunnels and some virtual interfaces never leave "unknown".
        fs::read_to_string(entry.path().join("operstate")).is_ok_and(|state| matches!(state.trim(), "up" | "unknown"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_interface_that_is_up_is_a_link_and_loopback_is_none() {
        let root = tempfile::tempdir().unwrap();
        let set = |name: &str, state: &str| {
            fs::create_dir_all(root.path().join(name)).unwrap();
            fs::write(root.path().join(name).join("operstate"), state).unwrap();
        };
        set("lo", "unknown\n");
        set("eth0", "down\n");
        assert!(!any_up(root.path()));
        set("eth0", "up\n");
        assert!(any_up(root.path()));
        assert!(any_up(&root.path().join("absent")), "unknown counts as up");
    }
}
