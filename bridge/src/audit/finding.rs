//! Findings: what is wrong, where, and what to do next.

use std::path::Path;

use serde::Serialize;

/// Findings kept; beyond it they are counted. One lost segment must not fill the memory.
const FINDINGS: usize = 1_000;

/// What kind of thing is wrong. The names are stable, for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Bytes that are no record, or whose checksum differs.
    Damaged,
    /// An entry that is not the one its successor was written after.
    Edited,
    /// Entries that are not there although later ones are.
    Missing,
    /// An entry behind one that came after it.
    Reordered,
    /// The same sequence twice.
    Repeated,
    /// The mark at the end of a batch does not fit it, or is not there.
    BatchMark,
    /// The head of a segment does not fit its name, its content or its predecessor.
    SegmentHead,
    /// A file of another journal.
    Foreign,
    /// A checkpoint file of the working set that is damaged or not of this chain.
    CheckpointFile,
    /// A signature that does not verify.
    Signature,
    /// Signed values that could not be checked, because no key was given.
    NoKey,
    /// A head of the chain that was signed is not the head of this chain: history was written anew.
    Rewritten,
    /// The journal ends before a place that was signed.
    Cut,
    /// Two journals of one store that say different things.
    Fork,
    /// An export that is not whole, or is not in its format.
    ExportFormat,
    /// Readable text in an export that does not say what the entry says.
    ExportText,
}

impl Code {
    /// The next step, in one sentence.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Damaged | Self::CheckpointFile => {
                "Look at the disk first (`smartctl`, kernel log); damage that no disk explains was made by somebody."
            }
            Self::Missing | Self::Reordered | Self::Repeated | Self::BatchMark | Self::SegmentHead => {
                "Compare with an older export or backup: `lockbridge audit verify --against OTHER`."
            }
            Self::Edited | Self::Rewritten => {
                "Treat the log as tampered with: keep this folder as it is, revoke the bridge in the cloud, compare with \
                 an older export."
            }
            Self::Cut => {
                "Treat the log as tampered with, or the state as restored from a backup: the cloud's reports tell what \
                 the missing entries reported."
            }
            Self::Fork => "Two copies of one bridge have run: stop both, revoke the bridge in the cloud, enroll anew.",
            Self::Foreign => "Find out who put the file there; it is not part of this journal.",
            Self::Signature => {
                "Check that the key is this bridge's: `lockbridge-cloud bridge witness BRIDGE` prints it; if it is, the \
                 entry is forged."
            }
            Self::NoKey => {
                "Give --witness with what `lockbridge-cloud bridge witness BRIDGE` prints, or --bridge-key and \
                 --authority-key."
            }
            Self::ExportFormat => "Ask for the export again and compare the files.",
            Self::ExportText => "Believe the bytes, not the text; whoever passed the file on has changed it.",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which kind.
    pub code: Code,
    /// The first entry concerned, if one can be named.
    pub sequence: Option<u64>,
    /// The last entry concerned, when it is not the first.
    pub through: Option<u64>,
    /// File, and the byte or line in it.
    pub place: String,
    /// One sentence.
    pub message: String,
    /// The next step.
    pub remedy: &'static str,
}

/// A place in a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) file: &'a Path,
    pub(super) at: At,
}

/// Where in the file.
#[derive(Debug, Clone, Copy)]
pub(super) enum At {
    Byte(usize),
    Line(u64),
    Whole,
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let file = self.file.display();
        match self.at {
            At::Byte(byte) => write!(formatter, "{file}, byte {byte}"),
            At::Line(line) => write!(formatter, "{file}, line {line}"),
            At::Whole => write!(formatter, "{file}"),
        }
    }
}

/// All findings, bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Findings {
    pub(super) list: Vec<Finding>,
    pub(super) more: u64,
}

impl Findings {
    pub(super) fn add(&mut self, code: Code, range: Option<(u64, u64)>, place: &str, message: String) {
        if self.list.len() >= FINDINGS {
            self.more += 1;
            return;
        }
        let through = range.filter(|(from, through)| through > from).map(|(_, through)| through);
        let (sequence, place, remedy) = (range.map(|(from, _)| from), place.to_owned(), code.remedy());
        self.list.push(Finding { code, sequence, through, place, message, remedy });
    }
}
