//! Validation of SALTO's PMS Industry Standard: a lock system of its own, or the part of a SALTO Space system that makes keys
//! for hotel rooms.

use std::collections::BTreeSet;
use std::time::Duration;

use lockbridge_protocol::line::Checksum;
use lockbridge_protocol::salto_pms::audit::DateOrder;
use lockbridge_protocol::salto_pms::authorisation::Authorisations;
use lockbridge_protocol::salto_pms::client::Settings;
use lockbridge_protocol::salto_pms::limits::OPERATOR_CHARACTERS;
use lockbridge_protocol::salto_pms::request::{AuditStep, Handling, Request, ReturnSerial};

use super::line::{LINE_KEYS, endpoint};
use super::rooms::{KeyRoom, rooms};
use super::section::Section;
use super::types::EncoderConfig;
use crate::link::{Endpoint, Limits};

/// The keys of this part besides those of the line, for messages.
const OWN_KEYS: &str = "encoders, rooms, authorisations, checksum, enquire_first, enquiries, enquiry_pause_ms, \
                        reply_timeout_ms, answer_timeout_s, busy_pause_ms, resends, answer_refusals, silence_ms, hold_s, \
                        late_answers_survive_reconnect, card_handling, return_serial, operator, operator_mark, \
                        trust_encoder_errors, check_out, change_stays, early_keys, mobile_keys, \
                        audit_doors, audit_every_s, date_order";

/// All keys of this part.
pub(super) fn keys() -> String {
    format!("{LINE_KEYS}, {OWN_KEYS}")
}

/// What a mark adds to the name of the operator: a space and eight characters.
pub(crate) const MARK_CHARACTERS: usize = 9;
/// Doors whose trail is read at most: every record is a request of its own on a line that the front desk needs.
const AUDIT_DOORS: usize = 32;
/// Names that answers use for classes of cards: a room of that name could not be told from them.
const CARD_CLASSES: [&str; 4] = ["LM", "LR", "LC", "LD"];

/// Settings of the PMS protocol. Each weakly known fact is a setting here, with the safest default.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own in the configuration")]
pub struct SaltoPmsConfig {
    /// Where the line leads.
    pub endpoint: Endpoint,
    /// How long anything on the line may take.
    pub limits: Limits,
    /// Whether frames are checked. Default: they are.
    pub checksum: Checksum,
    /// Timers and repetitions of the exchange.
    pub exchange: Settings,
    /// Longest wait for the answer of an encoder. Default 45 s: known clients wait 30 s, and the server's own wait for a card is
    /// shorter than that.
    pub answer_timeout: Duration,
    /// Pause before an encoder that is busy is asked again. Default 1 s.
    pub busy_pause: Duration,
    /// Rooms that keys are made for.
    pub rooms: Vec<KeyRoom>,
    /// Further doors that a key can open.
    pub areas: Vec<PmsArea>,
    /// Encoders by name; empty in the joined form, where they are those of the SALTO Space system.
    pub encoders: Vec<EncoderConfig>,
    /// When an encoder answers. Default: as soon as the card is written.
    pub handling: Handling,
    /// Whether answers shall carry the serial number of the card. Default: it is not asked for.
    pub serial: ReturnSerial,
    /// Name under which keys are made. Default `LOCKBRIDGE`.
    pub operator: String,
    /// A mark of the request behind that name, so that a card that is read tells which request wrote it. Default true.
    pub operator_mark: bool,
    /// NC and EP mean that nothing was written. Default false: the encoder may have failed in the middle.
    pub trust_encoder_errors: bool,
    /// Rooms are checked out when their last key is taken away. Default true.
    pub check_out: bool,
    /// The end of a stay is changed at the server when its grant changes. Default true.
    pub change_stays: bool,
    /// A key for the next stay may be made while the present one lasts. Default false.
    pub early_keys: bool,
    /// Doors whose audit trail is read. Default: none. Not in the joined form, where SHIP tells events.
    pub audit_doors: Vec<AuditDoor>,
    /// Pause between readings. Default 60 s.
    pub audit_pause: Duration,
    /// Which number of a date in the trail comes first; a setting of the server. Default: the day.
    pub date_order: DateOrder,
    /// Keys are sent to phones, too (CNM, CCM). Default false: a licence of its own is needed at the server.
    pub mobile_keys: bool,
}

/// A further door: an authorisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PmsArea {
    /// 1 to 62.
    pub number: u8,
    /// The entrance that it is for the cloud; in the joined form its `ExtDoorID`.
    pub entrance: String,
    /// For people.
    pub display_name: String,
}

/// A door whose audit trail is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditDoor {
    /// Exact spelling at the Salto server.
    pub name: String,
    /// The entrance that it is for the cloud; that of the room of this name, or the name, when not given.
    pub entrance: String,
}

/// Reads this part. `joined`: encoders are named by the SALTO Space system around it.
pub(super) fn validate(section: &mut Section, joined: bool) -> Option<SaltoPmsConfig> {
    let line = endpoint(section, "tcp");
    let checksum = if section.flag("checksum", true) { Checksum::CheckedUnlessMarked } else { Checksum::Marked };
    let exchange = exchange(section);
    let answer_timeout = Duration::from_secs(section.number("answer_timeout_s", 5..=55, 45));
    let busy_pause = Duration::from_millis(section.number("busy_pause_ms", 100..=10_000, 1_000));
    let mut entrances = BTreeSet::new();
    let rooms = rooms(section, &mut entrances, "name, spelled as at the Salto server", room_problem);
    let areas = areas(section, &mut entrances);
    let audit_doors = audit_doors(section, &rooms, joined);
    let audit_pause = Duration::from_secs(section.number("audit_every_s", 5..=3_600, 60));
    let date_order = section.choice(
        "date_order",
        &[("day_month", DateOrder::DayMonth), ("month_day", DateOrder::MonthDay)],
        "day_month",
    );
    let encoders = if joined { Vec::new() } else { encoders(section) };
    let handling = section.choice(
        "card_handling",
        &[("retain", Handling::Retain), ("eject", Handling::Eject), ("rear_eject", Handling::RearEject)],
        "retain",
    );
    let serial = section.choice(
        "return_serial",
        &[("unsaid", ReturnSerial::Unsaid), ("none", ReturnSerial::No), ("last", ReturnSerial::Last)],
        "unsaid",
    );
    let operator_mark = section.flag("operator_mark", true);
    let operator = operator(section, operator_mark);
    Some(SaltoPmsConfig {
        endpoint: line?,
        limits: Limits::default(),
        checksum,
        exchange: exchange?,
        answer_timeout,
        busy_pause,
        rooms,
        areas,
        encoders,
        handling: handling?,
        serial: serial?,
        operator,
        operator_mark,
        trust_encoder_errors: section.flag("trust_encoder_errors", false),
        check_out: section.flag("check_out", true),
        change_stays: section.flag("change_stays", true),
        early_keys: section.flag("early_keys", false),
        audit_doors,
        audit_pause,
        date_order: date_order?,
        mobile_keys: section.flag("mobile_keys", false),
    })
}

fn exchange(section: &mut Section) -> Option<Settings> {
    let milliseconds =
        |section: &mut Section, key: &str, range, default| Duration::from_millis(section.number(key, range, default));
    Some(Settings {
        enquire_first: section.flag("enquire_first", true),
        enquiries: u32::try_from(section.number("enquiries", 1..=20, 3)).ok()?,
        pause: milliseconds(section, "enquiry_pause_ms", 50..=10_000, 200),
        reply_timeout: milliseconds(section, "reply_timeout_ms", 100..=30_000, 5_000),
        resends: u32::try_from(section.number("resends", 0..=5, 2)).ok()?,
        answer_refusals: u32::try_from(section.number("answer_refusals", 0..=5, 2)).ok()?,
        silence: milliseconds(section, "silence_ms", 50..=10_000, 1_000),
        hold: Duration::from_secs(section.number("hold_s", 0..=600, 60)),
        answers_survive_reconnect: section.flag("late_answers_survive_reconnect", true),
    })
}

/// What is wrong with the name of a room, and what would do.
pub(crate) fn room_problem(name: &str) -> Option<(String, &'static str)> {
    if let Err(unusable) = (Request::CheckOut { room: name.to_owned() }).write() {
        return Some((format!("{name:?}: {unusable}"), "a name that the protocol can carry"));
    }
    let expected = "another name: a card that is read could not be told from a class of cards";
    CARD_CLASSES.contains(&name).then(|| (format!("{name:?}"), expected))
}

/// What is wrong with the name of an encoder, and what would do.
pub(crate) fn encoder_problem(name: &str) -> Option<(String, &'static str)> {
    let read = Request::ReadCard { encoder: name.to_owned(), handling: Handling::Retain };
    let unusable = read.write().err()?;
    Some((format!("{name:?}: {unusable}"), "names that the protocol can carry"))
}

fn areas(section: &mut Section, entrances: &mut BTreeSet<String>) -> Vec<PmsArea> {
    let mut numbers = BTreeSet::new();
    let mut areas = Vec::new();
    for mut item in section.items("authorisations", "", "a list of tables with number and name") {
        let number = item.required_parsed("number", "the authorisation's number, 1 to 62", |text| {
            text.parse::<u8>().ok().filter(|number| Authorisations::from_numbers([*number]).is_ok())
        });
        let name = item.required("name", "what the authorisation opens");
        let entrance = item.text("entrance").or_else(|| name.clone());
        if let (Some(number), Some(display_name), Some(entrance)) = (number, name, entrance) {
            if !numbers.insert(number) || !entrances.insert(entrance.clone()) {
                item.problem("number", Some(&format!("{number} {entrance:?} again")), "each number and entrance once");
            }
            areas.push(PmsArea { number, entrance, display_name });
        }
        item.finish("number, name, entrance");
    }
    areas
}

fn audit_doors(section: &mut Section, rooms: &[KeyRoom], joined: bool) -> Vec<AuditDoor> {
    let mut names = BTreeSet::new();
    let mut doors = Vec::new();
    for mut item in section.items("audit_doors", "name", "a list of door names, spelled as at the Salto server") {
        let name = item.required("name", "the door's name, spelled as at the Salto server");
        let entrance = item.text("entrance");
        if let Some(name) = name {
            let request = Request::Audit { step: AuditStep::First, door: name.clone() };
            if let Err(unusable) = request.write() {
                let found = format!("{name:?}: {unusable}");
                item.problem("name", Some(&found), "a name that the protocol can carry");
            } else if !names.insert(name.clone()) {
                item.problem("name", Some(&format!("{name:?} again")), "each door once");
            }
            let of_room = rooms.iter().find(|room| room.name == name).map(|room| room.entrance.clone());
            doors.push(AuditDoor { entrance: entrance.or(of_room).unwrap_or_else(|| name.clone()), name });
        }
        item.finish("name, entrance");
    }
    if doors.len() > AUDIT_DOORS {
        let found = format!("{} doors", doors.len());
        section.problem(
            "audit_doors",
            Some(&found),
            &format!("at most {AUDIT_DOORS}: they are read one record at a time"),
        );
    }
    if joined && !doors.is_empty() {
        section.problem("audit_doors", Some("doors"), "none: SALTO Space tells the events of all doors over SHIP");
    }
    doors
}

fn encoders(section: &mut Section) -> Vec<EncoderConfig> {
    let encoders = super::salto_space::encoders(section);
    check_encoders(section, &encoders);
    encoders
}

/// Notes encoders that no request could name.
pub(super) fn check_encoders(section: &mut Section, encoders: &[EncoderConfig]) {
    for encoder in encoders {
        if let Some((found, expected)) = encoder_problem(&encoder.name) {
            section.problem("encoders", Some(&found), expected);
        }
    }
}

fn operator(section: &mut Section, with_mark: bool) -> String {
    let longest = if with_mark { OPERATOR_CHARACTERS.saturating_sub(MARK_CHARACTERS) } else { OPERATOR_CHARACTERS };
    let expected = format!("1 to {longest} letters, digits and signs of ASCII");
    section.parsed_or("operator", &expected, "LOCKBRIDGE".to_owned(), |text| {
        let fits = text.len() <= longest && text.trim() == text && !text.is_empty();
        (fits && text.chars().all(|character| matches!(character, ' '..='~'))).then(|| text.to_owned())
    })
}
