//! Following the chain: every entry against the one before it, and every signed head against the chain.

use std::collections::BTreeMap;
use std::path::Path;

use lockbridge_protocol::journal::{ChainHash, Commit, Position, StoreId};
use lockbridge_protocol::proto::journal::{Entry, entry};
use prost::Message;

use super::AuditError;
use super::finding::{At, Code, Findings, Place};
use super::hold::{Coverage, Read, hold};
use super::keys::Keys;
use super::signed::{self, Claim, Refused, Voucher};
use super::verdict::{Verdict, Visited};

type Visit<'v> = dyn FnMut(&Visited<'_>) -> Result<(), AuditError> + 'v;

/// Follows one chain; sources feed it in the order in which things stand in their files.
pub(super) struct Chain<'v> {
    keys: &'v Keys,
    visit: &'v mut Visit<'v>,
    store_id: StoreId,
    begin: Position,
    position: Position,
    heads: BTreeMap<u64, ChainHash>,
    /// Ranges not seen (yet), and where their absence was noticed.
    missing: Vec<(u64, u64, String)>,
    entries: u64,
    claims: Vec<Claim>,
    /// Signed values that no key was there for: how many, the first one's entry and place, by what was missing.
    unchecked: BTreeMap<String, (u64, u64, String)>,
    findings: Findings,
    notes: Vec<String>,
}

impl std::fmt::Debug for Chain<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Chain")
            .field("store_id", &self.store_id)
            .field("at", &self.position)
            .finish_non_exhaustive()
    }
}

impl<'v> Chain<'v> {
    pub(super) fn begin(keys: &'v Keys, visit: &'v mut Visit<'v>, store_id: StoreId, begin: Position) -> Self {
        let mut chain = Self {
            keys,
            visit,
            store_id,
            begin,
            position: begin,
            heads: BTreeMap::from([(begin.next.saturating_sub(1), begin.head)]),
            missing: Vec::new(),
            entries: 0,
            claims: Vec::new(),
            unchecked: BTreeMap::new(),
            findings: Findings::default(),
            notes: Vec::new(),
        };
        let genesis = ChainHash::genesis(store_id);
        if begin.next == 1 && begin.head != genesis {
            let message =
                format!("the chain begins after {}, a journal of this identity begins after {genesis}", begin.head);
            chain.findings.add(Code::SegmentHead, Some((1, 1)), "", message);
        }
        if begin.next > 1 {
            chain.notes.push(format!(
                "The entries 1 to {} are not here, given up by retention or not exported; the chain begins after the chain \
                 hash {}.",
                begin.next - 1,
                begin.head
            ));
        }
        chain
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// Chain hash before an entry, if it is known.
    pub(super) fn before(&self, sequence: u64) -> Option<ChainHash> {
        self.heads.get(&sequence.saturating_sub(1)).copied()
    }

    pub(super) fn finding(&mut self, code: Code, range: Option<(u64, u64)>, place: Place<'_>, message: String) {
        self.findings.add(code, range, &place.to_string(), message);
    }

    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub(super) fn claim(&mut self, claim: Claim) {
        self.claims.push(claim);
    }

    /// A segment says where it begins.
    pub(super) fn segment(&mut self, start: Position, place: Place<'_>) {
        if start.next > self.position.next {
            self.missing.push((self.position.next, start.next - 1, place.to_string()));
        } else if start.head != self.position.head {
            let message = format!(
                "the segment was begun after the chain hash {}, but the chain before it ends with {}",
                start.head, self.position.head
            );
            self.finding(Code::Edited, Some((start.next.saturating_sub(1), start.next)), place, message);
        }
        self.position = start;
        self.heads.entry(start.next.saturating_sub(1)).or_insert(start.head);
    }

    /// The next entry as it stands in its file. `previous` is what it says of the one before; exports do not say it.
    pub(super) fn entry(
        &mut self,
        place: Place<'_>,
        sequence: u64,
        previous: Option<ChainHash>,
        hash: ChainHash,
        payload: &[u8],
    ) -> Result<(), AuditError> {
        let known = self.heads.get(&sequence.saturating_sub(1)).copied();
        if sequence > self.position.next {
            self.missing.push((self.position.next, sequence - 1, place.to_string()));
        } else if sequence < self.position.next {
            if !self.found_after_all(sequence) {
                let message = format!("entry {sequence} stands here again");
                self.finding(Code::Repeated, Some((sequence, sequence)), place, message);
                return Ok(());
            }
            let message = format!("entry {sequence} stands behind entry {}", self.position.next - 1);
            self.finding(Code::Reordered, Some((sequence, self.position.next - 1)), place, message);
        }
        if let (Some(known), Some(previous)) = (known, previous)
            && known != previous
        {
            let before = sequence.saturating_sub(1);
            let message = format!(
                "entry {sequence} was written after an entry {before} with the chain hash {previous}; the entry {before} \
                 that stands here has {known}"
            );
            self.finding(Code::Edited, Some((before, sequence)), place, message);
        }
        self.heads.insert(sequence, hash);
        self.entries += 1;
        if sequence >= self.position.next {
            self.position = Position { next: sequence.saturating_add(1), head: hash };
        }
        let entry = Entry::decode(payload).ok().filter(|entry| entry.body.is_some());
        if let Some(entry) = &entry {
            self.signed(place, sequence, entry);
        }
        let previous = previous.or(known).unwrap_or(hash);
        let entry = entry.as_ref();
        (self.visit)(&Visited { store_id: self.store_id, sequence, previous, hash, payload, entry })
    }

    /// The mark at the end of a batch that began with `first`; not known behind damage.
    pub(super) fn commit(&mut self, place: Place<'_>, first: Option<u64>, commit: Commit, head: ChainHash) {
        let Position { next, head: reached } = self.position;
        let first = first.unwrap_or(commit.first);
        if commit.first != first || commit.last.saturating_add(1) != next {
            let message = format!(
                "the mark closes a batch {} to {}, what stands before it is {first} to {}",
                commit.first,
                commit.last,
                next.saturating_sub(1)
            );
            self.finding(Code::BatchMark, Some((first.min(commit.first), next.saturating_sub(1))), place, message);
        } else if head != reached {
            let last = commit.last;
            let message =
                format!("entry {last} was committed with the chain hash {head}; what stands here has {reached}");
            self.finding(Code::Edited, Some((last, last)), place, message);
            // What follows was written after the entry that was committed.
            self.position.head = head;
            self.heads.insert(last, head);
        }
    }

    fn found_after_all(&mut self, sequence: u64) -> bool {
        let Some(at) = self.missing.iter().position(|(from, through, _)| (*from..=*through).contains(&sequence)) else {
            return false;
        };
        let (from, through, place) = self.missing.swap_remove(at);
        if from < sequence {
            self.missing.push((from, sequence - 1, place.clone()));
        }
        if sequence < through {
            self.missing.push((sequence + 1, through, place));
        }
        true
    }

    fn signed(&mut self, place: Place<'_>, sequence: u64, entry: &Entry) {
        let shown = format!("entry {sequence} ({place})");
        let checked = match &entry.body {
            Some(entry::Body::Reported(reported)) => signed::checkpoint(self.keys, reported, &shown),
            Some(entry::Body::Witnessed(witnessed)) => Some(signed::witnessed(self.keys, witnessed, &shown)),
            _ => None,
        };
        match checked {
            Some(Ok(claim)) if claim.sequence >= sequence => {
                let message =
                    format!("{} speaks of entry {}, which comes later", claim.voucher.words(), claim.sequence);
                self.finding(Code::Rewritten, Some((sequence, sequence)), place, message);
            }
            Some(Ok(claim)) => self.claims.push(claim),
            Some(Err(Refused { code: Code::NoKey, message })) => {
                self.unchecked.entry(message).or_insert_with(|| (0, sequence, place.to_string())).0 += 1;
            }
            Some(Err(Refused { code, message })) => self.finding(code, Some((sequence, sequence)), place, message),
            None => {}
        }
    }

    /// Holds what is signed against the chain, and concludes.
    pub(super) fn finish(mut self) -> Verdict {
        for (from, through, place) in std::mem::take(&mut self.missing) {
            let message = format!("{} entries are not there", through - from + 1);
            self.findings.add(Code::Missing, Some((from, through)), &place, message);
        }
        for (message, (count, sequence, place)) in std::mem::take(&mut self.unchecked) {
            let message = format!("{message}: {count} signed values are not checked");
            self.findings.add(Code::NoKey, Some((sequence, sequence)), &place, message);
        }
        let keys = self.keys;
        for (path, file) in &keys.witnesses {
            let place = path.display().to_string();
            match signed::counter_signed(keys, &file.witness, Voucher::Outside, &place) {
                Ok(claim) => self.claims.push(claim),
                Err(Refused { code, message }) => self.findings.add(code, None, &place, message),
            }
        }
        let through = self.position.next.saturating_sub(1);
        let before = self.begin.next.saturating_sub(1);
        let read = Read { store_id: self.store_id, before, last: through, heads: &self.heads };
        let Coverage { checkpoints, witnesses, outside } = hold(read, self.claims, &mut self.findings);
        Verdict {
            sound: self.findings.list.is_empty(),
            store_id: self.store_id,
            from: self.begin.next,
            through,
            begins_after: self.begin.head,
            head: self.position.head,
            entries: self.entries,
            not_witnessed: through.saturating_sub(witnesses.through.max(before)),
            checkpoints,
            witnesses,
            witness_from_outside: outside,
            audit_key: keys.audit_origin,
            authority_key: keys.authority_origin,
            findings: self.findings.list,
            more_findings: self.findings.more,
            notes: self.notes,
            heads: self.heads,
        }
    }
}

/// The whole of a file as a place.
pub(super) fn whole(file: &Path) -> Place<'_> {
    Place { file, at: At::Whole }
}
