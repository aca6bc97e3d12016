//! Two journals of one store: one must be the beginning of the other.

use super::finding::{Code, Findings};
use super::verdict::Verdict;
use super::{AuditError, Finding, Keys, Source, verify};

/// Holds what was read of `this` against another source. An empty list: neither contradicts the other.
pub fn compare(this: &Verdict, other: &Source, keys: &Keys) -> Result<(Verdict, Vec<Finding>), AuditError> {
    let other_verdict = verify(other, keys, &mut |_| Ok(()))?;
    let (Source::Folder(path) | Source::Export(path)) = other;
    let findings = contradictions(this, &other_verdict, &path.display().to_string());
    Ok((other_verdict, findings))
}

pub(super) fn contradictions(this: &Verdict, other: &Verdict, place: &str) -> Vec<Finding> {
    let mut findings = Findings::default();
    if this.store_id != other.store_id {
        let message = format!("it is the journal {}, not {}", other.store_id, this.store_id);
        findings.add(Code::Foreign, None, place, message);
        return findings.list;
    }
    let mut agreed = None;
    let both = this.heads.iter().filter_map(|(sequence, head)| Some((*sequence, *head, *other.heads.get(sequence)?)));
    for (sequence, own, theirs) in both {
        if own == theirs {
            agreed = Some(sequence);
            continue;
        }
        let until = agreed.map_or_else(String::new, |agreed| format!("; they agree up to entry {agreed}"));
        let message = format!("entry {sequence} has the chain hash {theirs} there and {own} here{until}");
        findings.add(Code::Fork, Some((sequence, sequence)), place, message);
        break;
    }
    findings.list
}
