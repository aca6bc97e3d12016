//! Validation of a front desk: the property software of the site that asks for keys.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use lockbridge_protocol::line::CodePage;

use super::line::{LINE_KEYS, endpoint};
use super::section::Section;
use super::types::{LockSystemConfig, SecretSource};
use crate::link::Endpoint;

/// One front desk.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in the file")]
pub struct FrontDeskConfig {
    /// Short name, unique.
    pub name: String,
    /// The lock system that it is for.
    pub lock_system: String,
    /// Zone of that lock system: the property software tells local dates.
    pub time_zone: TimeZone,
    /// The wire to the property software.
    pub endpoint: Endpoint,
    /// A second connection takes the place of the first; else it is refused. Listening only.
    pub replaces: bool,
    /// Records are acknowledged and repeated as on a serial line. Always on one; over TCP behind a converter.
    pub acknowledges: bool,
    /// Frames end with a checksum. Where records are acknowledged only.
    pub checksum: bool,
    /// Of names and rooms.
    pub code_page: CodePage,
    /// From a request to its answer at the latest.
    pub answer_timeout: Duration,
    /// When a stay begins on its first day, unless the key is made earlier on that day.
    pub check_in: Time,
    /// When a stay ends on its last day, unless the request says so itself.
    pub check_out: Time,
    /// Names of guests go to the lock system.
    pub guest_names: bool,
    /// An `LA` of the property software is answered.
    pub answers_alive: bool,
    /// Between two records of the introduction.
    pub spacing: Duration,
    /// Quiet time after which the property software is asked whether it is there.
    pub probe_interval: Duration,
    /// Proves to the property software who we are.
    pub link_key: Option<SecretSource>,
    /// Doors by the rooms' names, where names do not tell.
    pub rooms: BTreeMap<String, String>,
    /// Encoders by the numbers or names that the property software uses.
    pub encoders: BTreeMap<String, String>,
}

/// The keys of this part, for messages.
pub(super) const KEYS: &str = "protocol, lock_system, second_connection, acknowledges, checksum, code_page, answer_timeout_s, \
                    check_in, check_out, guest_names, answer_alive, record_spacing_ms, probe_interval_s, link_key_file, \
                    link_key_credential, rooms, encoders";

/// Longest list of rooms or encoders.
const MAP_ENTRIES: usize = 20_000;

/// Validates one section; the lock systems are validated already.
pub(super) fn validate(
    name: String,
    mut section: Section,
    systems: &[Option<LockSystemConfig>],
) -> Option<FrontDeskConfig> {
    let named_well = !name.is_empty()
        && name.len() <= 32
        && name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-');
    if !named_well {
        section.problem("(name)", Some(&format!("{name:?}")), "1 to 32 of a-z, 0-9 and '-'");
    }
    // One so far; named in the file so that another can be added without guessing what old files mean.
    let protocol = section.choice("protocol", &[("fias", ())], "fias");
    let known: Vec<&LockSystemConfig> = systems.iter().flatten().collect();
    let system = match (section.text("lock_system"), known.as_slice()) {
        (Some(wanted), _) => {
            let found = known.iter().find(|system| system.name == wanted);
            if found.is_none() && known.len() == systems.len() {
                section.problem(
                    "lock_system",
                    Some(&format!("{wanted:?}")),
                    "the name of a [lock_system.<name>] table",
                );
            }
            found.map(|system| (system.name.clone(), system.time_zone.clone()))
        }
        (None, [only]) if systems.len() == 1 => Some((only.name.clone(), only.time_zone.clone())),
        (None, _) => {
            if systems.len() != 1 {
                section.missing("lock_system", "the lock system that this front desk makes keys for");
            }
            None
        }
    };
    let endpoint = endpoint(&mut section, "tcp");
    let second = section.choice("second_connection", &[("replace", true), ("refuse", false)], "refuse");
    let is_serial = matches!(endpoint, Some(Endpoint::Serial(_)));
    let acknowledges = section.flag("acknowledges", is_serial);
    if is_serial && !acknowledges {
        section.problem("acknowledges", Some("false"), "true on a serial line: the protocol needs it there");
    }
    let checksum = section.flag("checksum", acknowledges);
    if checksum && !acknowledges {
        section.problem("checksum", Some("true"), "acknowledges = true beside it: a checksum alone helps nobody");
    }
    let pages = "utf-8, latin-1, cp1252 or cp850";
    let code_page = section.parsed_or("code_page", pages, CodePage::Cp1252.name().to_owned(), |text| {
        CodePage::from_name(text).map(|page| page.name().to_owned())
    });
    let answer_timeout = Duration::from_secs(section.number("answer_timeout_s", 5..=300, 55));
    let check_in = clock(&mut section, "check_in", "14:00");
    let check_out = clock(&mut section, "check_out", "12:00");
    let guest_names = section.flag("guest_names", true);
    let answers_alive = section.flag("answer_alive", true);
    let spacing = Duration::from_millis(section.number("record_spacing_ms", 0..=5_000, 100));
    let probe_interval = Duration::from_secs(section.number("probe_interval_s", 300..=86_400, 300));
    let link_key = section.secret("link_key");
    let rooms = section.texts_by_name("rooms", "a table of doors, as { \"0101\" = \"DOOR101\" }");
    let encoders = section.texts_by_name("encoders", "a table of encoders, as { \"1\" = \"Front desk 1\" }");
    for (key, map) in [("rooms", &rooms), ("encoders", &encoders)] {
        if map.len() > MAP_ENTRIES {
            section.problem(key, Some(&map.len().to_string()), "at most 20000 entries");
        }
    }
    section.finish(&format!("{KEYS}, {LINE_KEYS}"));
    protocol?;
    let (lock_system, time_zone) = system?;
    Some(FrontDeskConfig {
        name,
        lock_system,
        time_zone,
        endpoint: endpoint?,
        replaces: second?,
        acknowledges,
        checksum,
        code_page: CodePage::from_name(&code_page)?,
        answer_timeout,
        check_in: check_in?,
        check_out: check_out?,
        guest_names,
        answers_alive,
        spacing,
        probe_interval,
        link_key,
        rooms,
        encoders,
    })
}

fn clock(section: &mut Section, key: &str, default: &str) -> Option<Time> {
    let read = |text: &str| Time::strptime("%H:%M", text).ok();
    let text = section
        .parsed_or(key, "a time of day, as 14:00", default.to_owned(), |text| read(text).map(|_| text.to_owned()));
    read(&text)
}
