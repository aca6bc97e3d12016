//! Holding what is signed against the chain as it was read.

use std::collections::BTreeMap;

use lockbridge_protocol::journal::{ChainHash, StoreId};

use super::finding::{Code, Findings};
use super::signed::{Claim, Voucher};
use super::verdict::Covered;

/// The chain as it was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read<'a> {
    pub(super) store_id: StoreId,
    /// The last entry before the chain begins.
    pub(super) before: u64,
    /// The last entry.
    pub(super) last: u64,
    pub(super) heads: &'a BTreeMap<u64, ChainHash>,
}

/// How far signed heads that lie on the chain reach.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    pub(super) checkpoints: Covered,
    pub(super) witnesses: Covered,
    /// One of the witnesses was kept outside.
    pub(super) outside: bool,
}

/// Adds a finding for what does not lie on the chain, and tells what the rest covers.
pub(super) fn hold(read: Read<'_>, mut claims: Vec<Claim>, findings: &mut Findings) -> Coverage {
    claims.sort_by_key(|claim| (claim.sequence, claim.voucher));
    let own = |claim: &Claim| claim.store_id == read.store_id.0;
    // The cloud prints a line for every journal the bridge ever had.
    if claims.iter().any(|claim| claim.voucher == Voucher::Outside && own(claim)) {
        claims.retain(|claim| claim.voucher != Voucher::Outside || own(claim));
    }
    let mut coverage = Coverage::default();
    // Rewriting one entry changes every head after it: the first one that differs tells it all.
    let (mut good, mut differ, mut cut) = (read.before, Vec::new(), None);
    for claim in claims {
        if !own(&claim) {
            let message = format!("{} is about another journal", claim.voucher.words());
            findings.add(Code::Foreign, None, &claim.place, message);
        } else if claim.sequence > read.last {
            cut = Some(claim);
        } else if let Some(found) = read.heads.get(&claim.sequence) {
            if *found != claim.head {
                differ.push(claim);
                continue;
            }
            if differ.is_empty() && claim.voucher != Voucher::File {
                good = claim.sequence;
            }
            coverage.extend(&claim);
        }
        // Else it is of before the beginning, or of an entry that is missing: there is nothing to hold it against.
    }
    for claim in differ.iter().filter(|claim| claim.voucher == Voucher::File) {
        let message = format!(
            "it was made as of entry {} with the chain hash {}, which is not on this chain",
            claim.sequence, claim.head
        );
        findings.add(Code::CheckpointFile, Some((claim.sequence, claim.sequence)), &claim.place, message);
    }
    differ.retain(|claim| claim.voucher != Voucher::File);
    if let Some(claim) = differ.first() {
        let from = (good + 1).min(claim.sequence);
        let more = match differ.len() - 1 {
            0 => String::new(),
            more => format!("; {more} later ones differ too"),
        };
        let message = format!(
            "{} says that entry {} has the chain hash {}; here it has another one, so one of the entries {from} to {} was \
             changed after that{more}",
            claim.voucher.words(),
            claim.sequence,
            claim.head,
            claim.sequence
        );
        findings.add(Code::Rewritten, Some((from, claim.sequence)), &claim.place, message);
    }
    if let Some(claim) = cut {
        let message = format!(
            "{} reaches entry {}, the journal ends with entry {}: {} entries were cut off",
            claim.voucher.words(),
            claim.sequence,
            read.last,
            claim.sequence - read.last
        );
        findings.add(Code::Cut, Some((read.last + 1, claim.sequence)), &claim.place, message);
    }
    coverage
}

impl Coverage {
    fn extend(&mut self, claim: &Claim) {
        let covered = match claim.voucher {
            Voucher::File => return,
            Voucher::Bridge => &mut self.checkpoints,
            Voucher::Authority => &mut self.witnesses,
            Voucher::Outside => {
                self.outside = true;
                &mut self.witnesses
            }
        };
        *covered = Covered { count: covered.count + 1, through: claim.sequence, time_ms: claim.time_ms };
    }
}
