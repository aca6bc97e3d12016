//! Grants that are put: accepted into the record here, as far as a key can carry them.

use lockbridge_protocol::proto::tunnel::{Evidence, Medium};

use super::super::phones;
use super::super::work::{Context, Prepared, error};
use super::no_key;
use crate::grant::{Grant, Holder, NoKey, plan_key};
use crate::system::KeyService;

pub(super) fn put_grant(
    context: &Context<'_>,
    user_id: &str,
    mut holder: Holder,
    grant_id: &str,
    keys: &KeyService,
) -> Prepared {
    let Some(grant) = holder.grants.iter().find(|grant| grant.grant_id == grant_id).cloned() else {
        return no_key(NoKey::NoRoom);
    };
    let is_made = |medium| medium == Medium::Card || (medium == Medium::MobileKey && keys.mobile_keys);
    if !grant.methods.is_empty() && !grant.methods.iter().any(|method| is_made(method.medium())) {
        let message = if keys.mobile_keys {
            "this lock system makes cards and keys for phones only, and the grant asks for neither"
        } else {
            "this lock system makes cards only, and the grant asks for none"
        };
        return Prepared::Refused(error("cannot_create_requested_access_methods", message));
    }
    let mut evidence = match alone(&grant, &holder, keys, context.now_ms) {
        Ok(evidence) => evidence,
        Err(why) => return no_key(why),
    };
    let changed = context.holder.as_ref().is_none_or(|before| {
        let old = before.grants.iter().find(|old| old.grant_id == grant_id);
        old.is_none_or(|old| {
            (&old.entrances, old.starts_at_ms, old.ends_at_ms)
                != (&grant.entrances, grant.starts_at_ms, grant.ends_at_ms)
        })
    });
    if changed {
        for credential in holder.credentials.iter_mut().filter(|credential| grant.is_for(&credential.credential_id)) {
            evidence.card_update_needed |= credential.issued && credential.medium() == Medium::Card;
            credential.up_to_date = false;
        }
    }
    holder.drop_ended(context.now_ms);
    evidence.schedule_modified = grant.schedule_modified();
    // A room that fell out is not wished for any more, whatever becomes of the check-out.
    phones::conclude(context, user_id, &holder, Some(&grant), keys, evidence)
}

/// What of a grant can be on a key.
fn alone(grant: &Grant, holder: &Holder, keys: &KeyService, now_ms: i64) -> Result<Evidence, NoKey> {
    let solo = Holder { grants: vec![Grant { methods: Vec::new(), ..grant.clone() }], ..Holder::default() };
    let split = |missing: &dyn Fn(&String) -> bool| -> Evidence {
        let (missing, given) = grant.entrances.iter().cloned().partition(|door| missing(door));
        Evidence { granted_entrance_external_ids: given, missing_entrance_external_ids: missing, ..Evidence::default() }
    };
    match plan_key(&solo, "", keys, now_ms) {
        Ok(planned) => Ok(split(&|door| planned.missing.contains(door))),
        // Over already: nothing will be on any key.
        Err(_) if grant.is_over(now_ms) => Ok(split(&|_| true)),
        // Further doors alone come onto the key for a room that another grant gives.
        Err(NoKey::NoRoom)
            if grant.entrances.iter().any(|door| keys.areas.contains(door))
                && holder.grants.iter().any(|other| other.entrances.iter().any(|door| keys.rooms.contains(door))) =>
        {
            Ok(split(&|door| !keys.areas.contains(door)))
        }
        Err(why) => Err(why),
    }
}
