//! Reading the policy file: every mistake at once, with key and what was expected.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use config::{Config, File, FileFormat};
use jiff::civil::Time;
use lockbridge_protocol::signed::sha256;
use serde_json::{Map, Value};
use thiserror::Error;

use super::{Policy, SystemPolicy};

/// Kinds a policy can name.
pub(super) const KINDS: &[&str] = &[
    "put_user",
    "suspend_user",
    "delete_user",
    "set_group_membership",
    "put_grant",
    "delete_grant",
    "put_credential",
    "delete_credential",
    "assign_card",
    "encode_credential",
    "scan_credential",
    "scan_to_assign",
    "unlock_entrance",
    "refresh_inventory",
    "run_diagnostics",
    "cancel_command",
];
const KEYS: &[&str] = &[
    "allow",
    "entrances",
    "max_validity_days",
    "hours",
    "encodes_per_hour",
    "encodes_per_day",
    "encodes_per_room_per_day",
    "grants_per_hour",
];
/// Larger than any policy a person writes.
const FILE_BYTES: u64 = 256 * 1024;

/// One mistake in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Dotted key.
    pub key: String,
    /// What should stand there.
    pub expected: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}`: expected {}", self.key, self.expected)
    }
}

/// Why there is no policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// Missing, too large, or not readable by the daemon.
    #[error("cannot read the policy file {}: {reason}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// Not TOML.
    #[error("the policy file is not valid TOML: {reason}")]
    Syntax {
        /// Where and what.
        reason: String,
    },
    /// Keys or values that are not understood.
    #[error("the policy file has {} mistake(s): {}", .0.len(), join(.0))]
    Mistakes(Vec<Mistake>),
}

fn join(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Policy {
    /// Reads and checks the file.
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        let unreadable = |reason: String| PolicyError::Unreadable { path: path.to_owned(), reason };
        let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
        if size > FILE_BYTES {
            return Err(unreadable(format!("{size} bytes, more than {FILE_BYTES}")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        Self::parse(&text)
    }

    /// Checks the text of a policy file.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let tree: Map<String, Value> = Config::builder()
            .add_source(File::from_str(text, FileFormat::Toml))
            .build()
            .and_then(Config::try_deserialize)
            .map_err(|error| PolicyError::Syntax { reason: error.to_string() })?;
        let mut reader = Reader { mistakes: Vec::new() };
        let policy = reader.policy(&tree, sha256(text.as_bytes()));
        if reader.mistakes.is_empty() { Ok(policy) } else { Err(PolicyError::Mistakes(reader.mistakes)) }
    }
}

struct Reader {
    mistakes: Vec<Mistake>,
}

impl Reader {
    fn policy(&mut self, tree: &Map<String, Value>, hash: [u8; 32]) -> Policy {
        self.no_others("", tree, &["version", "systems"]);
        let version = tree.get("version").and_then(Value::as_u64).filter(|version| *version > 0);
        if version.is_none() {
            self.mistake("version", "a whole number from 1");
        }
        let mut systems = BTreeMap::new();
        match tree.get("systems") {
            Some(Value::Object(tables)) if !tables.is_empty() => {
                for (name, table) in tables {
                    let key = format!("systems.{name}");
                    match table {
                        Value::Object(table) => {
                            let system = self.system(&key, table);
                            systems.insert(name.clone(), system);
                        }
                        _ => self.mistake(&key, "a table"),
                    }
                }
            }
            _ => self.mistake("systems", "at least one table `[systems.<name>]` or `[systems.\"*\"]`"),
        }
        Policy { version: version.unwrap_or_default(), hash, systems }
    }

    fn system(&mut self, key: &str, table: &Map<String, Value>) -> SystemPolicy {
        self.no_others(key, table, KEYS);
        let allow = self.texts(key, table, "allow", "a list of command kinds, or [\"*\"]");
        for kind in allow.iter().flatten().filter(|kind| *kind != "*" && !KINDS.contains(&kind.as_str())) {
            self.mistake(&format!("{key}.allow"), &format!("one of {}; found `{kind}`", KINDS.join(", ")));
        }
        if allow.is_none() && !table.contains_key("allow") {
            self.mistake(&format!("{key}.allow"), "a list of command kinds, or [\"*\"]");
        }
        let allow = allow.unwrap_or_default();
        let everything = allow.iter().any(|kind| kind == "*");
        let entrances = self
            .texts(key, table, "entrances", "a list of entrance ids, with `*` for any characters")
            .unwrap_or_else(|| vec!["*".to_owned()]);
        let days = self.number(key, table, "max_validity_days", 31, 36_500);
        SystemPolicy {
            allow: (!everything).then(|| allow.into_iter().collect()),
            entrances,
            max_validity_days: u32::try_from(days).ok().filter(|days| *days > 0),
            hours: self.hours(key, table),
            encodes_per_hour: self.number(key, table, "encodes_per_hour", 60, 100_000),
            encodes_per_day: self.number(key, table, "encodes_per_day", 300, 1_000_000),
            encodes_per_room_per_day: self.number(key, table, "encodes_per_room_per_day", 10, 100_000),
            grants_per_hour: self.number(key, table, "grants_per_hour", 600, 1_000_000),
        }
    }

    fn texts(&mut self, key: &str, table: &Map<String, Value>, name: &str, expected: &str) -> Option<Vec<String>> {
        let texts: Option<Vec<String>> = table
            .get(name)?
            .as_array()
            .and_then(|list| list.iter().map(|item| item.as_str().map(str::to_owned)).collect());
        if texts.is_none() {
            self.mistake(&format!("{key}.{name}"), expected);
        }
        texts
    }

    fn number(&mut self, key: &str, table: &Map<String, Value>, name: &str, default: u64, most: u64) -> u64 {
        let Some(value) = table.get(name) else { return default };
        value.as_u64().filter(|number| *number <= most).unwrap_or_else(|| {
            self.mistake(&format!("{key}.{name}"), &format!("a whole number from 0 to {most}"));
            default
        })
    }

    fn hours(&mut self, key: &str, table: &Map<String, Value>) -> Option<(Time, Time)> {
        let value = table.get("hours")?;
        let parsed = value.as_str().and_then(|text| {
            let (from, until) = text.split_once('-')?;
            let time = |part: &str| Time::strptime("%H:%M", part.trim()).ok();
            Some((time(from)?, time(until)?))
        });
        if parsed.is_none() {
            self.mistake(&format!("{key}.hours"), "two times like \"06:00-23:00\"");
        }
        parsed
    }

    fn no_others(&mut self, key: &str, table: &Map<String, Value>, known: &[&str]) {
        for name in table.keys().filter(|name| !known.contains(&name.as_str())) {
            let full = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            self.mistake(&full, &format!("no such key; known here: {}", known.join(", ")));
        }
    }

    fn mistake(&mut self, key: &str, expected: &str) {
        self.mistakes.push(Mistake { key: key.to_owned(), expected: expected.to_owned() });
    }
}
