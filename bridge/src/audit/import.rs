//! An audit export as a source: everything is computed anew from the exact bytes in its lines.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use lockbridge_protocol::journal::{ChainHash, ENTRY_BYTES, Position, StoreId};
use lockbridge_protocol::proto::journal::Entry;
use prost::Message;

use super::AuditError;
use super::chain::Chain;
use super::export::{End, FORMAT, Head, Line, VERSION};
use super::extract::{TEXT_VERSION, extract};
use super::finding::{At, Code, Place};
use super::keys::Keys;
use super::verdict::{Verdict, Visited};
use crate::identity::PublicKeys;

/// An entry at its largest in Base64, and what it says.
const LINE_BYTES: u64 = (ENTRY_BYTES * 2) as u64 + 256 * 1024;

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
