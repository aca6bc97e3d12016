//! Validation of a lock vendor's key service that speaks FIAS.

use std::collections::BTreeSet;
use std::time::Duration;

use lockbridge_protocol::line::CodePage;

use super::line::{LINE_KEYS, endpoint};
use super::rooms::{KeyRoom, rooms};
use super::section::Section;
use super::types::{EncoderConfig, SecretSource};
use crate::link::Endpoint;

/// The keys of this part besides those of the line, for messages.
const OWN_KEYS: &str = "acknowledges, checksum, code_page, rooms, options, encoders, workstation, reply_timeout_s, hold_s, \
                        acknowledge_timeout_ms, settle_ms, silence_ms, trust_encoder_errors, check_out, early_keys, on_line, link_key_file, link_key_credential";

/// All keys of this part.
pub(super) fn keys() -> String {
    format!("{LINE_KEYS}, {OWN_KEYS}")
}

/// Longest values of the protocol.
const ENCODER_CHARACTERS: usize = 8;
const ROOM_CHARACTERS: usize = 20;
const WORKSTATION_CHARACTERS: usize = 16;

/// Settings of a key service.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in the file")]
pub struct FiasConfig {
    /// Where the line leads.
    pub endpoint: Endpoint,
    /// Records are acknowledged and repeated as on a serial line. Always on one.
    pub acknowledges: bool,
    /// Frames end with a checksum.
    pub checksum: bool,
    /// Of names and rooms.
    pub code_page: CodePage,
    /// Rooms that keys are made for.
    pub rooms: Vec<KeyRoom>,
    /// Further doors that a key can open.
    pub options: Vec<KeyOption>,
    /// Encoders by name.
    pub encoders: Vec<EncoderConfig>,
    /// The workstation that is named in requests.
    pub workstation: String,
    /// Longest wait for an answer.
    pub answer_timeout: Duration,
    /// How long an encoder is not used after an answer was missing: it may still come.
    pub hold: Duration,
    /// Longest wait for the acknowledgement of a record. Default 3 s, as specified.
    pub acknowledge_timeout: Duration,
    /// How long nothing may speak against a refusal before the record goes out again. Default 300 ms.
    pub settle: Duration,
    /// Bytes of one frame never lie further apart. Default 1 s.
    pub silence: Duration,
    /// RY and NR mean that nothing was written. Default false: the encoder may have failed in the middle.
    pub trust_encoder_errors: bool,
    /// Rooms are checked out when their last key is taken away. Default true.
    pub check_out: bool,
    /// A key for the next stay may be made while the present one lasts. Default false.
    pub early_keys: bool,
    /// The key service tracks keys by reservation number: a stay's end changes without a card. Default false.
    pub on_line: bool,
    /// The key service has to prove that it has this key.
    pub link_key: Option<SecretSource>,
}

/// A further door: a position of the key options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyOption {
    /// 1 to 20.
    pub position: u8,
    /// The entrance that it is for the cloud; the name when not given.
    pub entrance: String,
    /// For people.
    pub display_name: String,
}

/// Reads this part.
pub(super) fn validate(section: &mut Section) -> Option<FiasConfig> {
    let line = endpoint(section, "listen");
    let is_serial = matches!(line, Some(Endpoint::Serial(_)));
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
    let mut entrances = BTreeSet::new();
    let rooms = rooms(section, &mut entrances, "number, as at the key service", room_problem);
    let options = options(section, &mut entrances);
    let encoders = super::salto_space::encoders(section);
    if encoders.is_empty() {
        section.missing("encoders", "the encoders' numbers or names at the key service");
    }
    for encoder in &encoders {
        if let Some((found, expected)) = encoder_problem(&encoder.name) {
            section.problem("encoders", Some(&found), expected);
        }
    }
    let workstation =
        section.parsed_or("workstation", "1 to 16 characters without '|'", "LOCKBRIDGE".to_owned(), |text| {
            can_be_sent(text, WORKSTATION_CHARACTERS).then(|| text.to_owned())
        });
    let answer_timeout = Duration::from_secs(section.number("reply_timeout_s", 5..=55, 50));
    let hold = Duration::from_secs(section.number("hold_s", 0..=600, 60));
    let mut milliseconds = |key: &str, range, default| Duration::from_millis(section.number(key, range, default));
    let acknowledge_timeout = milliseconds("acknowledge_timeout_ms", 100..=30_000, 3_000);
    let settle = milliseconds("settle_ms", 50..=10_000, 300);
    let silence = milliseconds("silence_ms", 50..=10_000, 1_000);
    let trust_encoder_errors = section.flag("trust_encoder_errors", false);
    let check_out = section.flag("check_out", true);
    let early_keys = section.flag("early_keys", false);
    let on_line = section.flag("on_line", false);
    let link_key = section.secret("link_key");
    Some(FiasConfig {
        endpoint: line?,
        acknowledges,
        checksum,
        code_page: CodePage::from_name(&code_page)?,
        rooms,
        options,
        encoders,
        workstation,
        answer_timeout,
        hold,
        acknowledge_timeout,
        settle,
        silence,
        trust_encoder_errors,
        check_out,
        early_keys,
        on_line,
        link_key,
    })
}

fn can_be_sent(text: &str, longest: usize) -> bool {
    let characters = text.chars().count();
    (1..=longest).contains(&characters) && text.chars().all(|character| character != '|' && !character.is_control())
}

/// What is wrong with the name of a room, and what would do.
pub(crate) fn room_problem(name: &str) -> Option<(String, &'static str)> {
    let good = can_be_sent(name, ROOM_CHARACTERS) && !name.contains([';', ',']);
    (!good).then(|| (format!("{name:?}"), "1 to 20 characters without '|', ';' and ','"))
}

/// What is wrong with the name of an encoder, and what would do.
pub(crate) fn encoder_problem(name: &str) -> Option<(String, &'static str)> {
    (!can_be_sent(name, ENCODER_CHARACTERS)).then(|| (format!("{name:?}"), "names of 1 to 8 characters without '|'"))
}

fn options(section: &mut Section, entrances: &mut BTreeSet<String>) -> Vec<KeyOption> {
    let mut positions = BTreeSet::new();
    let mut options = Vec::new();
    for mut item in section.items("options", "", "a list of tables with position and name") {
        let position = item.required_parsed("position", "the place in the key options, 1 to 20", |text| {
            text.parse::<u8>().ok().filter(|position| (1..=20).contains(position))
        });
        let name = item.required("name", "what the option opens");
        let entrance = item.text("entrance").or_else(|| name.clone());
        if let (Some(position), Some(display_name), Some(entrance)) = (position, name, entrance) {
            if !positions.insert(position) || !entrances.insert(entrance.clone()) {
                let found = format!("{position} {entrance:?} again");
                item.problem("position", Some(&found), "each position and each entrance once");
            }
            options.push(KeyOption { position, entrance, display_name });
        }
        item.finish("position, name, entrance");
    }
    options
}
