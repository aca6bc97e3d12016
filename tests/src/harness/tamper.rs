//! A copy of a bridge's state folder, and what somebody with write access could do to the journal in it.
//!
//! Everything here but [`JournalCopy::rot`] keeps checksums right, as a careful forger would: only the chain, signatures and
//! witnesses can tell.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use lockbridge_protocol::journal::{
    ChainHash, Commit, HEADER_BYTES, Record, RecordBody, SegmentHeader, Step, write_commit, write_entry,
};

/// The copy.
#[derive(Debug)]
pub struct JournalCopy {
    state: PathBuf,
}

/// One record as it stands in a segment.
struct Found {
    offset: usize,
    length: usize,
    sequence: u64,
    previous: ChainHash,
    body: Body,
}

enum Body {
    Entry(Vec<u8>),
    Commit(Commit),
}

impl JournalCopy {
    /// Copies the folder `state` to `to`; nobody may write to it meanwhile.
    pub fn make(state: &Path, to: &Path) -> Result<Self> {
        copy(state, to).with_context(|| format!("copying {} to {}", state.display(), to.display()))?;
        Ok(Self { state: to.to_owned() })
    }

    /// The state folder itself; nobody may use it meanwhile.
    pub fn in_place(state: &Path) -> Self {
        Self { state: state.to_owned() }
    }

    /// Every entry that can be read, by sequence, as it was appended.
    pub fn entries(&self) -> Result<Vec<(u64, Vec<u8>)>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(self.state.join("journal"))? {
            let bytes = std::fs::read(entry?.path())?;
            if SegmentHeader::decode(&bytes).is_ok() {
                entries.extend(records(&bytes).into_iter().filter_map(|found| match found.body {
                    Body::Entry(payload) => Some((found.sequence, payload)),
                    Body::Commit(_) => None,
                }));
            }
        }
        entries.sort_by_key(|(sequence, _)| *sequence);
        Ok(entries)
    }

    /// Bits of an entry turn over, as on a worn disk.
    pub fn rot(&self, sequence: u64) -> Result<()> {
        self.change(sequence, |bytes, found| {
            for byte in bytes.iter_mut().skip(found.offset + found.length / 2).take(4) {
                *byte ^= 0x5a;
            }
            Ok(())
        })
    }

    /// The copied state folder.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Changes the last byte of what an entry says.
    pub fn edit(&self, sequence: u64) -> Result<()> {
        self.change(sequence, |bytes, found| {
            let Body::Entry(mut payload) = found.body else { bail!("not an entry") };
            if let Some(last) = payload.last_mut() {
                *last ^= 1;
            }
            let mut record = Vec::new();
            write_entry(&mut record, found.sequence, found.previous, &payload).context("an entry of its length")?;
            bytes[found.offset..found.offset + found.length].copy_from_slice(&record);
            Ok(())
        })
    }

    /// Cuts the journal off in front of an entry.
    pub fn cut(&self, sequence: u64) -> Result<()> {
        self.change(sequence, |bytes, found| {
            bytes[found.offset..].fill(0);
            Ok(())
        })
    }

    /// Exchanges an entry with the next one of its segment; a commit marker between them stays where it is.
    pub fn swap(&self, sequence: u64) -> Result<()> {
        self.change(sequence, |bytes, found| {
            let is_next = |other: &Found| other.sequence == sequence + 1 && matches!(other.body, Body::Entry(_));
            let next = records(bytes).into_iter().find(is_next).context("the last entry of its segment")?;
            let end = next.offset + next.length;
            let between = found.offset + found.length..next.offset;
            let exchanged =
                [&bytes[next.offset..end], &bytes[between], &bytes[found.offset..][..found.length]].concat();
            bytes[found.offset..end].copy_from_slice(&exchanged);
            Ok(())
        })
    }

    /// Puts other content into an entry and computes the whole chain behind it anew.
    pub fn rewrite(&self, sequence: u64, payload: &[u8]) -> Result<()> {
        self.change(sequence, |bytes, at| {
            let mut out = bytes[..at.offset].to_vec();
            let mut head = at.previous;
            for found in records(bytes).into_iter().filter(|found| found.offset >= at.offset) {
                match found.body {
                    Body::Commit(commit) => write_commit(&mut out, commit, head),
                    Body::Entry(own) => {
                        let payload = if found.sequence == sequence { payload } else { own.as_slice() };
                        head =
                            write_entry(&mut out, found.sequence, head, payload).context("an entry of its length")?;
                    }
                }
            }
            if out.len() > bytes.len() {
                bail!("the segment became too long");
            }
            out.resize(bytes.len(), 0);
            *bytes = out;
            Ok(())
        })
    }

    fn change(&self, sequence: u64, change: impl FnOnce(&mut Vec<u8>, Found) -> Result<()>) -> Result<()> {
        for entry in std::fs::read_dir(self.state.join("journal"))? {
            let path = entry?.path();
            let mut bytes = std::fs::read(&path)?;
            if SegmentHeader::decode(&bytes).is_err() {
                continue;
            }
            let wanted = |found: &Found| found.sequence == sequence && matches!(found.body, Body::Entry(_));
            if let Some(found) = records(&bytes).into_iter().find(wanted) {
                change(&mut bytes, found)?;
                return Ok(std::fs::write(&path, bytes)?);
            }
        }
        bail!("no segment holds entry {sequence}")
    }
}

fn records(bytes: &[u8]) -> Vec<Found> {
    let mut offset = HEADER_BYTES;
    let mut found = Vec::new();
    while let Some(Ok(Step::Record(record, length))) = bytes.get(offset..).map(Record::read) {
        let body = match record.body {
            RecordBody::Entry(payload) => Body::Entry(payload.to_vec()),
            RecordBody::Commit(commit) => Body::Commit(commit),
        };
        found.push(Found { offset, length, sequence: record.sequence, previous: record.previous, body });
        offset += length;
    }
    found
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
