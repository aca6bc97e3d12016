//! What is asked of every lock system.

use std::path::Path;

use jiff::tz::TimeZone;

use super::rules::{always, one_of, short_name};
use super::{Group, Question};

/// In the order in which they are asked.
pub(super) const LOCK_SYSTEM: &[Question] = &[
    Question {
        key: "kind",
        source: "kind",
        flag: "kind",
        group: Group::LockSystem,
        prompt: "Kind of lock system: salto_space, salto_pms (hotel keys over the PMS interface) or fias (a vendor's key service)",
        wanted: always,
        default: |_| Some("salto_space".to_owned()),
        check: |_, text| one_of(text, &["salto_space", "salto_pms", "fias"]),
        ..Question::PLAIN
    },
    Question {
        key: "lock_system",
        source: "lock_system",
        flag: "lock-system",
        group: Group::LockSystem,
        prompt: "Short name of the lock system (the cloud shows it)",
        wanted: always,
        default: |_| Some("main".to_owned()),
        check: |_, text| short_name(text),
        ..Question::PLAIN
    },
    Question {
        key: "time_zone",
        source: "time_zone",
        flag: "time-zone",
        group: Group::LockSystem,
        prompt: "Time zone of the site (validity on cards is local time)",
        wanted: always,
        default: |_| machine_zone(Path::new("/etc/localtime")),
        check: |_, text| match TimeZone::get(text) {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("{text:?} is no IANA zone; it is written as Europe/Madrid")),
        },
        ..Question::PLAIN
    },
];

/// The zone this machine is set to, unless that is only UTC: few sites live by it.
fn machine_zone(link: &Path) -> Option<String> {
    let target = std::fs::read_link(link).ok()?;
    let target = target.to_str()?;
    let zone = target.split_once("zoneinfo/").map(|(_, zone)| zone.to_owned())?;
    let is_place = zone.contains('/') && !zone.starts_with("Etc/") && TimeZone::get(&zone).is_ok();
    is_place.then_some(zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_zone_is_proposed_when_it_is_a_place() {
        let folder = tempfile::tempdir().expect("a folder");
        for (target, zone) in [
            ("/usr/share/zoneinfo/Europe/Madrid", Some("Europe/Madrid")),
            ("../usr/share/zoneinfo/America/Argentina/Ushuaia", Some("America/Argentina/Ushuaia")),
            ("/usr/share/zoneinfo/Etc/UTC", None),
            ("/usr/share/zoneinfo/UTC", None),
            ("/somewhere/else", None),
        ] {
            let link = folder.path().join(target.replace('/', "_"));
            std::os::unix::fs::symlink(target, &link).expect("links");
            assert_eq!(machine_zone(&link).as_deref(), zone, "{target}");
        }
        assert_eq!(machine_zone(&folder.path().join("missing")), None);
    }
}
