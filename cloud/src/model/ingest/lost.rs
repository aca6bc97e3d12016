//! What becomes of a command that a bridge acknowledged and lost with a part of its journal.
//!
//! A wish for a state is made anew, unless a newer one took its place: every change of a resource is one absolute command, so
//! the newest is what the lock system should hold today. That goes for wishes that had come true as well, because the bridge
//! also forgot what they taught it: it writes a holder's rights whole, and would leave out what it no longer knows, or bring
//! back what was revoked. What a person waited for is never repeated: nobody knows whether it was carried out.

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::command::Body;
use lockbridge_protocol::proto::tunnel::{CommandError, CommandState, Mode};
use lockbridge_protocol::signed::command::{VerifiedCommand, parse};

use super::super::commands::{self as issued, Purpose};
use super::{command, system_id};
use crate::model::{ModelError, Work, attempts, systems};
use crate::store::commands;

/// Code of an attempt or wish whose end was lost.
const JOURNAL_LOST: &str = "journal_lost";

/// The end of a lost command here; the command that asks for the same anew, if any.
pub(super) fn lost(
    work: &Work<'_>,
    lost: &VerifiedCommand,
    known: CommandState,
) -> Result<Option<CommandId>, ModelError> {
    let note = issued::find(work, lost.command_id)?;
    let awaited = note.as_ref().is_some_and(|note| note.purpose == Purpose::Attempt);
    if lost.mode == Mode::Interactive || awaited {
        if let Some(note) = note {
            issued::settle(work, lost.command_id)?;
            attempts::abandon(work, &attempts::get(work, &note.resource_id)?, &unknown(), work.now_ms)?;
        }
        return Ok(None);
    }
    let holds = matches!(
        known,
        CommandState::Unspecified | CommandState::Executing | CommandState::InDoubt | CommandState::Succeeded
    );
    if holds && is_wish(&lost.body, work.now_ms) && !is_moot(work, lost)? {
        let command = &lost.command;
        if let Some(id) = system_id(work, &command.bridge_id, &command.lock_system)? {
            let system = systems::get(work, &id)?;
            return issued::again(work, &system, lost.command_id, lost.body.clone()).map(Some);
        }
    }
    if let Some(note) = note {
        let mutations = issued::settle(work, lost.command_id)?;
        if !is_moot(work, lost)? {
            command::not_done(work, &note, &unknown(), CommandState::Abandoned, &mutations, work.now_ms)?;
        }
    }
    Ok(None)
}

fn unknown() -> CommandError {
    let message = "The bridge lost the part of its journal that held this command: whether it was carried out is not known. \
                   Look at the card or door before trying again.";
    CommandError { code: JOURNAL_LOST.to_owned(), message: message.to_owned(), ..CommandError::default() }
}

/// A state that can be asked for again, and still means something.
fn is_wish(body: &Body, now_ms: i64) -> bool {
    match body {
        Body::PutGrant(grant) => grant.ends_at_ms == 0 || grant.ends_at_ms > now_ms,
        // A card is assigned by somebody who has it in hand; the rest was for its moment only.
        Body::AssignCard(_) | Body::RefreshInventory(_) | Body::RunDiagnostics(_) | Body::CancelCommand(_) => false,
        _ => true,
    }
}

/// A command behind it in its lane says something newer about the same thing.
fn is_moot(work: &Work<'_>, lost: &VerifiedCommand) -> Result<bool, ModelError> {
    let command = &lost.command;
    let (bridge_id, lock_system) = (command.bridge_id.as_str(), command.lock_system.as_str());
    let behind = commands::behind(work.connection, bridge_id, lock_system, &command.lane, command.lane_sequence)?;
    Ok(behind.iter().filter_map(|signed| parse(&signed.payload).ok()).any(|newer| replaces(&newer.body, &lost.body)))
}

/// Whether `newer` takes the place of `older`; both are of one lane, so of one holder.
fn replaces(newer: &Body, older: &Body) -> bool {
    match (newer, older) {
        (Body::DeleteUser(_), _)
        | (Body::PutUser(_), Body::PutUser(_))
        | (Body::SuspendUser(_), Body::SuspendUser(_))
        | (Body::SetGroupMembership(_), Body::SetGroupMembership(_)) => true,
        // A holder that was wished for since is not deleted again.
        (_, Body::DeleteUser(_)) => matches!(newer, Body::PutUser(_) | Body::PutGrant(_)),
        _ => match (grant(newer), grant(older), credential(newer), credential(older)) {
            (Some(newer), Some(older), _, _) | (_, _, Some(newer), Some(older)) => newer == older,
            _ => false,
        },
    }
}

fn grant(body: &Body) -> Option<&str> {
    match body {
        Body::PutGrant(put) => Some(&put.grant_id),
        Body::DeleteGrant(delete) => Some(&delete.grant_id),
        _ => None,
    }
}

fn credential(body: &Body) -> Option<&str> {
    match body {
        Body::PutCredential(put) => Some(&put.credential_id),
        Body::DeleteCredential(delete) => Some(&delete.credential_id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use lockbridge_protocol::proto::tunnel::{
        CancelCommand, DeleteCredential, DeleteGrant, DeleteUser, PutCredential, PutGrant, PutUser, SuspendUser,
    };

    use super::*;

    fn put(grant: &str, ends_at_ms: i64) -> Body {
        Body::PutGrant(PutGrant { grant_id: grant.into(), ends_at_ms, ..PutGrant::default() })
    }

    fn revoke(grant: &str) -> Body {
        Body::DeleteGrant(DeleteGrant { grant_id: grant.into(), ..DeleteGrant::default() })
    }

    #[test]
    fn only_a_newer_word_about_the_same_thing_takes_its_place() {
        let credential =
            |id: &str| Body::PutCredential(PutCredential { credential_id: id.into(), ..PutCredential::default() });
        let cancel =
            Body::DeleteCredential(DeleteCredential { credential_id: "c".into(), ..DeleteCredential::default() });
        let (user, gone) = (Body::PutUser(PutUser::default()), Body::DeleteUser(DeleteUser::default()));
        let suspend = |suspended| Body::SuspendUser(SuspendUser { suspended, ..SuspendUser::default() });
        for (newer, older, moot) in [
            (put("g", 0), put("g", 9), true),
            (revoke("g"), put("g", 0), true),
            // A revoke that was lost is not repeated over access that was given since.
            (put("g", 0), revoke("g"), true),
            (put("g", 0), put("h", 0), false),
            (revoke("h"), revoke("g"), false),
            (cancel.clone(), credential("c"), true),
            (credential("d"), cancel, false),
            (suspend(false), suspend(true), true),
            (user.clone(), suspend(true), false),
            (gone.clone(), put("g", 0), true),
            (put("g", 0), gone.clone(), true),
            (suspend(true), gone, false),
            (user.clone(), user, true),
        ] {
            assert_eq!(replaces(&newer, &older), moot, "{newer:?} after {older:?}");
        }
    }

    #[test]
    fn what_is_over_or_was_somebody_s_moment_is_not_asked_for_again() {
        let now = 1_000;
        assert!(is_wish(&put("g", 0), now) && is_wish(&put("g", 1_001), now) && is_wish(&revoke("g"), now));
        assert!(!is_wish(&put("g", 1_000), now));
        assert!(!is_wish(&Body::CancelCommand(CancelCommand::default()), now));
    }
}
