//! The audit export: one file that holds all that a verification needs.
//!
//! JSON, one object a line: a head (what it is, which journal, the public keys, the chain hash before the first entry), one
//! line an entry (sequence, chain hash, the exact bytes in Base64, and what they say for who only reads), and an end. The
//! chain hash of an entry is BLAKE3 over the record's fixed part and the bytes, so it can be computed from the lines alone.
//! Sealed parts stay sealed.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use lockbridge_protocol::journal::{ChainHash, ENTRY_BYTES, Position, StoreId};
use lockbridge_protocol::proto::journal::Entry;
use prost::Message;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::AuditError;
use super::chain::{Chain, Verdict, Visited};
use super::extract::{TEXT_VERSION, describe, extract};
use super::finding::{At, Code, Place};
use super::keys::Keys;
use crate::identity::PublicKeys;

const FORMAT: &str = "lockbridge-audit";
const VERSION: u32 = 1;
/// An entry at its largest in Base64, and what it says.
const LINE_BYTES: u64 = (ENTRY_BYTES * 2) as u64 + 256 * 1024;

#[derive(Serialize, Deserialize)]
struct Head {
    format: String,
    version: u32,
    text_version: u32,
    software: String,
    exported_ms: i64,
    bridge_id: String,
    store_id: String,
    audit_keys: Vec<String>,
    authority_keys: Vec<String>,
    first: u64,
    previous: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    sequence: u64,
    hash: String,
    at_ms: i64,
    says: Value,
    bytes: String,
}

#[derive(Serialize, Deserialize)]
struct End {
    end: Totals,
}

#[derive(Serialize, Deserialize)]
struct Totals {
    entries: u64,
    through: u64,
    hash: String,
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
        let hex = |keys: &[Vec<u8>]| keys.iter().map(|key| data_encoding::HEXLOWER.encode(key)).collect();
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

/// Reads lines of bounded length.
struct Lines<'a> {
    path: &'a Path,
    reader: BufReader<File>,
    number: u64,
}

impl<'a> Lines<'a> {
    /// The next line; `None` at the end of the file, an error in it as a text.
    fn next(&mut self) -> Result<Option<Result<String, &'static str>>, AuditError> {
        let mut bytes = Vec::new();
        let read = self.reader.by_ref().take(LINE_BYTES).read_until(b'\n', &mut bytes);
        if read.map_err(AuditError::read(self.path))? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if bytes.pop_if(|last| *last == b'\n').is_none() {
            return Ok(Some(Err("the line is cut off or too long")));
        }
        Ok(Some(String::from_utf8(bytes).map_err(|_| "the line is not text")))
    }

    fn place(&self) -> Place<'a> {
        Place { file: self.path, at: At::Line(self.number) }
    }
}

pub(super) fn verify(
    path: &Path,
    keys: &Keys,
    visit: &mut dyn FnMut(&Visited<'_>) -> Result<(), AuditError>,
) -> Result<Verdict, AuditError> {
    let file = File::open(path).map_err(AuditError::read(path))?;
    let mut lines = Lines { path, reader: BufReader::new(file), number: 0 };
    let version = |problem: String| AuditError::Version { path: path.to_owned(), problem };
    let first = lines.next()?.and_then(Result::ok).unwrap_or_default();
    let head: Head =
        serde_json::from_str(&first).map_err(|error| version(format!("its first line is no head: {error}")))?;
    if head.format != FORMAT || head.version != VERSION {
        return Err(version(format!("it says {} {}", head.format, head.version)));
    }
    let beside = PublicKeys {
        bridge_id: head.bridge_id.clone(),
        audit: head.audit_keys.iter().filter_map(|key| hex(key)).collect(),
        authority: head.authority_keys.iter().filter_map(|key| hex(key)).collect(),
    };
    let keys = keys.or_beside(&beside);
    let store_id = hex(&head.store_id).and_then(|bytes| bytes.try_into().ok()).map(StoreId);
    let begin = chain_hash(&head.previous).map(|hash| Position { next: head.first, head: hash });
    let (Some(store_id), Some(begin)) = (store_id, begin) else {
        return Err(version("its head names no journal or no chain hash".to_owned()));
    };
    let mut chain = Chain::begin(&keys, visit, store_id, begin);
    let same_texts = head.text_version == TEXT_VERSION;
    if !same_texts {
        chain.note("The readable texts were written by another version and were not compared.".to_owned());
    }
    let mut entries = 0;
    let mut ended = false;
    while let Some(line) = lines.next()? {
        let place = lines.place();
        let problem = match line {
            Err(problem) => problem.to_owned(),
            Ok(_) if ended => "there is something behind the end".to_owned(),
            Ok(text) => match serde_json::from_str::<Line>(&text) {
                Ok(line) => {
                    entries += 1;
                    take(&mut chain, place, &line, same_texts)?;
                    continue;
                }
                Err(error) => match serde_json::from_str::<End>(&text) {
                    Ok(End { end }) => {
                        ended = true;
                        let Position { next, head } = chain.position();
                        if (end.entries, end.through) == (entries, next - 1) && end.hash == head.to_string() {
                            continue;
                        }
                        format!(
                            "the end says {} entries up to {} and does not fit what stands before it",
                            end.entries, end.through
                        )
                    }
                    Err(_) => format!("the line is neither an entry nor the end: {error}"),
                },
            },
        };
        chain.finding(Code::ExportFormat, None, place, problem);
    }
    if !ended {
        chain.finding(Code::ExportFormat, None, lines.place(), "the export has no end; it was cut off".to_owned());
    }
    Ok(chain.finish())
}

fn take(chain: &mut Chain<'_>, place: Place<'_>, line: &Line, same_texts: bool) -> Result<(), AuditError> {
    let sequence = line.sequence;
    let (Ok(bytes), Some(stated)) = (BASE64.decode(line.bytes.as_bytes()), chain_hash(&line.hash)) else {
        let message = format!("the bytes or the hash of entry {sequence} cannot be read");
        chain.finding(Code::ExportFormat, Some((sequence, sequence)), place, message);
        return Ok(());
    };
    // Behind missing lines the hash cannot be computed; the lines that follow build on the stated one.
    let computed = chain.before(sequence).map(|before| before.after(sequence, &bytes));
    if computed.is_some_and(|computed| computed != Some(stated)) {
        let message = format!("the bytes of entry {sequence} do not have the chain hash {stated}");
        chain.finding(Code::Edited, Some((sequence, sequence)), place, message);
    }
    let entry = Entry::decode(bytes.as_slice()).ok().filter(|entry| entry.body.is_some());
    let says = extract(entry.as_ref());
    if same_texts && (says != line.says || entry.as_ref().map_or(0, |entry| entry.wall_ms) != line.at_ms) {
        let message = format!("the text of entry {sequence} is not what its bytes say: {says}");
        chain.finding(Code::ExportText, Some((sequence, sequence)), place, message);
    }
    chain.entry(place, sequence, None, stated, &bytes)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()
}

fn chain_hash(text: &str) -> Option<ChainHash> {
    hex(text)?.try_into().ok().map(ChainHash)
}
