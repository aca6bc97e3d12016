//! The checker: compares the history with the simulator's witness once everything came to rest.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::json;

use super::history::{End, History, Holder};
use super::witness::{self, Present};
use crate::harness::Site;

/// What did not hold; empty lists are what is promised.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Acknowledged and not at the lock server, or still pending at the API.
    pub(super) lost: Vec<String>,
    /// More cards written than commands allow.
    pub(super) doubled: Vec<String>,
    /// Told otherwise than the simulator counted.
    pub(super) dishonest: Vec<String>,
}

pub(super) async fn check(site: &Site, history: &History) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    let present = witness::present(site).await?;
    let writes = witness::writes(site).await?;
    for holder in &history.holders {
        if let Some(problem) = standing(holder, &present) {
            verdict.lost.push(format!("{}: {problem}", holder.name));
        }
        if !holder.deleted {
            let body = json!({ "access_method_id": holder.access_method_id });
            let method = site.api.post("/access_methods/get", body).await?;
            if method["access_method"]["pending_mutations"].as_array().is_none_or(|pending| !pending.is_empty()) {
                verdict.lost.push(format!("{}: still pending at the API", holder.name));
            }
        }
        cards(holder, &writes, &mut verdict);
    }
    Ok(verdict)
}

/// Whether the holder stands at the lock server as the last accepted wish says.
fn standing(holder: &Holder, present: &[Present]) -> Option<String> {
    let found: Vec<&Present> = present.iter().filter(|one| one.external_id == holder.external_id).collect();
    match (holder.deleted, found.as_slice()) {
        (true, []) => None,
        (true, [one]) if one.doors.is_empty() => None,
        (true, _) => Some(format!("deleted, and there with {found:?}")),
        (false, [one]) if one.name == holder.name && one.doors.iter().eq(&holder.doors) => None,
        (false, _) => Some(format!("granted {:?}, and there as {found:?}", holder.doors)),
    }
}

fn cards(holder: &Holder, writes: &BTreeMap<String, u64>, verdict: &mut Verdict) {
    let written = writes.get(&holder.external_id).copied().unwrap_or(0);
    let count = |wanted: fn(&End) -> bool| holder.encodes.iter().filter(|encode| wanted(&encode.end)).count() as u64;
    let done = count(|end| *end == End::Success);
    let unknown = count(|end| matches!(end, End::Unknown(_)));
    let told = || format!("{}: {written} written, told {:?}", holder.name, holder.encodes);
    if written > 1 {
        verdict.doubled.push(told());
    }
    if written < done || written > done + unknown || count(|end| *end == End::Pending) > 0 {
        verdict.dishonest.push(told());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torture::history::Encode;

    fn holder(ends: &[End]) -> Holder {
        let encode = |end: &End| Encode { attempt_id: None, end: end.clone(), writes_before: 0 };
        Holder {
            name: "Tried Example".into(),
            access_grant_id: String::new(),
            access_method_id: String::new(),
            acs_user_id: String::new(),
            external_id: "LB-1".into(),
            doors: vec!["MAIN".into(), "ROOM101".into()],
            deleted: false,
            encodes: ends.iter().map(encode).collect(),
        }
    }

    fn judged(ends: &[End], written: u64) -> (usize, usize) {
        let mut verdict = Verdict::default();
        cards(&holder(ends), &BTreeMap::from([("LB-1".to_owned(), written)]), &mut verdict);
        (verdict.doubled.len(), verdict.dishonest.len())
    }

    #[test]
    fn every_lie_and_every_double_is_seen() {
        let unknown = End::Unknown("in doubt".into());
        let not_done = End::NotDone("no card".into());
        assert_eq!(judged(&[End::Success], 1), (0, 0));
        assert_eq!(judged(&[not_done.clone(), unknown.clone()], 0), (0, 0));
        assert_eq!(judged(std::slice::from_ref(&unknown), 1), (0, 0));
        assert_eq!(judged(&[End::Success], 0), (0, 1), "claimed and not written");
        assert_eq!(judged(&[not_done], 1), (0, 1), "denied and written");
        assert_eq!(judged(&[End::Pending], 0), (0, 1), "never told");
        assert_eq!(judged(&[unknown], 2), (1, 1), "written twice");
    }

    #[test]
    fn rights_are_compared_whole() {
        let there = |doors: &[&str]| Present {
            external_id: "LB-1".into(),
            name: "Tried Example".into(),
            doors: doors.iter().map(|door| (*door).to_owned()).collect(),
        };
        let granted = holder(&[]);
        assert_eq!(standing(&granted, &[there(&["MAIN", "ROOM101"])]), None);
        assert!(standing(&granted, &[]).is_some(), "lost");
        assert!(standing(&granted, &[there(&["MAIN"])]).is_some(), "a door is missing");
        assert!(standing(&granted, &[there(&["MAIN", "ROOM101"]), there(&["MAIN", "ROOM101"])]).is_some(), "doubled");
        let deleted = Holder { deleted: true, ..granted };
        assert_eq!(standing(&deleted, &[there(&[])]), None);
        assert!(standing(&deleted, &[there(&["MAIN"])]).is_some(), "a revoke was lost");
    }
}
