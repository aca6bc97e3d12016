//! The audit export: one file that holds all that a verification needs.
//!
//! JSON, one object a line: a head (what it is, which journal, the public keys, the chain hash before the first entry), one
//! line an entry (sequence, chain hash, the exact bytes in Base64, and what they say for who only reads), and an end. The
//! chain hash of an entry is BLAKE3 over the record's fixed part and the bytes, so it can be computed from the lines alone.
//! Sealed parts stay sealed.

use std::io::Write;

use data_encoding::{BASE64, HEXLOWER};
use lockbridge_protocol::journal::ChainHash;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::AuditError;
use super::extract::{TEXT_VERSION, describe, extract};
use super::verdict::Visited;
use crate::identity::PublicKeys;

pub(super) const FORMAT: &str = "lockbridge-audit";
pub(super) const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) format: String,
    pub(super) version: u32,
    pub(super) text_version: u32,
    pub(super) software: String,
    pub(super) exported_ms: i64,
    pub(super) bridge_id: String,
    pub(super) store_id: String,
    pub(super) audit_keys: Vec<String>,
    pub(super) authority_keys: Vec<String>,
    pub(super) first: u64,
    pub(super) previous: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) sequence: u64,
    pub(super) hash: String,
    pub(super) at_ms: i64,
    pub(super) says: Value,
    pub(super) bytes: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct End {
    pub(super) end: Totals,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Totals {
    pub(super) entries: u64,
    pub(super) through: u64,
    pub(super) hash: String,
}

/// Which entries to export, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First sequence.
    pub from: u64,
    /// Last sequence.
    pub through: u64,
}

/// Writes an export, or a list for people, entry by entry.
#[derive(Debug)]
pub struct Exporter<W: Write> {
    out: W,
    range: Range,
    text: bool,
    keys: PublicKeys,
    exported_ms: i64,
    totals: Option<(u64, u64, ChainHash)>,
}

impl<W: Write> Exporter<W> {
    /// `text`: a list for people, which cannot be verified.
    pub fn new(out: W, range: Range, text: bool, keys: PublicKeys, exported_ms: i64) -> Self {
        Self { out, range, text, keys, exported_ms, totals: None }
    }

    /// Takes an entry; those outside the range are passed over.
    pub fn visit(&mut self, visited: &Visited<'_>) -> Result<(), AuditError> {
        if !(self.range.from..=self.range.through).contains(&visited.sequence) {
            return Ok(());
        }
        let at_ms = visited.entry.map_or(0, |entry| entry.wall_ms);
        if self.text {
            let at = jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default();
            return self.write(&format!("{:>8} {at:.3} {}", visited.sequence, describe(visited.entry)));
        }
        if self.totals.is_none() {
            self.head(visited)?;
        }
        let line = Line {
            sequence: visited.sequence,
            hash: visited.hash.to_string(),
            at_ms,
            says: extract(visited.entry),
            bytes: BASE64.encode(visited.payload),
        };
        let count = self.totals.map_or(0, |(count, ..)| count) + 1;
        self.totals = Some((count, visited.sequence, visited.hash));
        self.json(&line)
    }

    /// Writes the end; how many entries there are.
    pub fn finish(mut self) -> Result<u64, AuditError> {
        let count = self.totals.map_or(0, |(count, ..)| count);
        if let (Some((entries, through, hash)), false) = (self.totals, self.text) {
            self.json(&End { end: Totals { entries, through, hash: hash.to_string() } })?;
        }
        self.out.flush().map_err(AuditError::Write)?;
        Ok(count)
    }

    fn head(&mut self, first: &Visited<'_>) -> Result<(), AuditError> {
        let hex = |keys: &[Vec<u8>]| keys.iter().map(|key| HEXLOWER.encode(key)).collect();
        let head = Head {
            format: FORMAT.to_owned(),
            version: VERSION,
            text_version: TEXT_VERSION,
            software: env!("CARGO_PKG_VERSION").to_owned(),
            exported_ms: self.exported_ms,
            bridge_id: self.keys.bridge_id.clone(),
            store_id: first.store_id.to_string(),
            audit_keys: hex(&self.keys.audit),
            authority_keys: hex(&self.keys.authority),
            first: first.sequence,
            previous: first.previous.to_string(),
        };
        self.json(&head)
    }

    fn json<T: Serialize>(&mut self, value: &T) -> Result<(), AuditError> {
        let text = serde_json::to_string(value).map_err(|error| AuditError::Write(error.into()))?;
        self.write(&text)
    }

    fn write(&mut self, line: &str) -> Result<(), AuditError> {
        writeln!(self.out, "{line}").map_err(AuditError::Write)
    }
}
