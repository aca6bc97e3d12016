//! Whether a delivery is let in: signature, replay, lane order, time, policy; in this order, because each step may only
//! believe what the one before it has proved.

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::{CommandState, Priority, Signed, command::Body};
use lockbridge_protocol::signed::command::{Audience, AuthorityKeys, CommandError, VerifiedCommand, verify};

use crate::limits::TOMBSTONE_PAST_EXPIRY;
use crate::state::fold::{CommandRecord, LaneRecord, Tombstone, is_superseded, next_of};

/// The decision on a delivery.
#[derive(Debug, Clone, PartialEq)]
pub enum Admission {
    /// New, and it may stay.
    Accepted(Box<Accepted>),
    /// The same id and bytes as one that is known (rule C1).
    Known {
        /// Which.
        command_id: CommandId,
        /// How it ended, when it has.
        ended: Option<Tombstone>,
    },
    /// Refused.
    Rejected {
        /// Stable code.
        code: String,
        /// One sentence.
        message: String,
        /// What it was.
        verified: Box<VerifiedCommand>,
        /// What the refusal is about.
        standing: Standing,
    },
}

/// What a refused command may call its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Id and place in the lane: the lane moves on, and the refusal is its stored answer.
    IdAndPlace,
    /// Its id only; the place belongs to another.
    Id,
    /// Nothing: under its id another command is known, whose answer this must not touch.
    Nothing,
}

/// A command that was let in, and what its very arrival means for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// The command.
    pub verified: VerifiedCommand,
    /// It ends at once, before it was ever queued.
    pub ends_at_once: Option<CommandState>,
}

/// What admission needs to see of the state.
#[derive(Debug)]
pub struct Known<'a> {
    /// The live command with this id.
    pub live: Option<&'a CommandRecord>,
    /// What is remembered of an ended one.
    pub tombstone: Option<&'a Tombstone>,
    /// Its lane.
    pub lane: &'a LaneRecord,
    /// A live command holds the same place in the lane.
    pub place_taken: bool,
}

/// The part that needs only the bytes.
pub fn check_signature(
    keys: &AuthorityKeys,
    audience: &Audience,
    signed: &Signed,
) -> Result<VerifiedCommand, (String, String)> {
    verify(keys, audience, signed).map_err(|error: CommandError| (error.code().to_owned(), error.to_string()))
}

/// The part that needs the state and the time. Policy comes after it.
pub fn check_state(verified: VerifiedCommand, known: &Known<'_>, now_ms: i64) -> Admission {
    let command = &verified.command;
    let known_hash = known.live.map(|live| &live.hash).or_else(|| known.tombstone.map(|stone| &stone.hash));
    match known_hash {
        // Cancelled before it came: its id was reserved without knowing its bytes.
        Some(hash) if hash.is_empty() => {
            return Admission::Accepted(Box::new(Accepted { verified, ends_at_once: Some(CommandState::Cancelled) }));
        }
        Some(hash) if hash.as_slice() == verified.hash => {
            return Admission::Known { command_id: verified.command_id, ended: known.tombstone.cloned() };
        }
        Some(_) => {
            return Admission::Rejected {
                code: "id_reuse".into(),
                message: format!("the command id {} was used before with other content", verified.command_id),
                verified: Box::new(verified),
                standing: Standing::Nothing,
            };
        }
        None => {}
    }
    let forgotten_ms = i64::try_from(TOMBSTONE_PAST_EXPIRY.as_millis()).unwrap_or(i64::MAX);
    if command.expires_at_ms.saturating_add(forgotten_ms) < now_ms {
        return Admission::Rejected {
            code: "expired_beyond_memory".into(),
            message: "the command expired so long ago that a replay could not be told from a first delivery".into(),
            verified: Box::new(verified),
            standing: Standing::IdAndPlace,
        };
    }
    let object = object_of(&verified.body);
    if is_superseded(known.lane, command.lane_sequence, &object) {
        return Admission::Accepted(Box::new(Accepted { verified, ends_at_once: Some(CommandState::Superseded) }));
    }
    if known.place_taken
        || command.lane_sequence < next_of(known.lane)
        || known.lane.ended_ahead.contains(&command.lane_sequence)
    {
        let message =
            format!("place {} of lane `{}` was given to another command", command.lane_sequence, command.lane);
        let (verified, standing) = (Box::new(verified), Standing::Id);
        return Admission::Rejected { code: "lane_sequence_reuse".into(), message, verified, standing };
    }
    let ends_at_once = (now_ms >= command.expires_at_ms).then_some(CommandState::Expired);
    Admission::Accepted(Box::new(Accepted { verified, ends_at_once }))
}

/// What an overtaking revoke of this command's object names: a revoke makes older commands with the same object moot.
pub fn object_of(body: &Body) -> String {
    match body {
        Body::PutGrant(put) => format!("grant:{}", put.grant_id),
        Body::DeleteGrant(delete) => format!("grant:{}", delete.grant_id),
        Body::PutCredential(put) => format!("credential:{}", put.credential_id),
        Body::DeleteCredential(delete) => format!("credential:{}", delete.credential_id),
        Body::AssignCard(assign) => format!("credential:{}", assign.credential_id),
        Body::EncodeCredential(encode) => format!("credential:{}", encode.credential_id),
        Body::ScanToAssign(scan) => format!("credential:{}", scan.credential_id),
        Body::SuspendUser(_) => "suspension".into(),
        _ => String::new(),
    }
}

/// Whether a command of this kind may begin while the wall clock cannot be trusted (rule N3): it writes no date anywhere.
pub fn may_run_without_time(priority: Priority, body: &Body) -> bool {
    priority == Priority::Safety
        || matches!(
            body,
            Body::ScanCredential(_) | Body::RefreshInventory(_) | Body::RunDiagnostics(_) | Body::CancelCommand(_)
        )
}

#[cfg(test)]
mod tests {
    use lockbridge_protocol::proto::tunnel::{
        AssignCard, Command, DeleteCredential, DeleteGrant, DeleteUser, EncodeCredential, Mode, PutCredential,
        PutGrant, ScanCredential, ScanToAssign, SuspendUser,
    };

    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn verified(sequence: u64, expires_at_ms: i64) -> VerifiedCommand {
        let body = Body::PutGrant(PutGrant { grant_id: "g1".into(), ..PutGrant::default() });
        let command = Command { lane: "user:u1".into(), lane_sequence: sequence, expires_at_ms, ..Command::default() };
        VerifiedCommand {
            command,
            body,
            command_id: CommandId([1; 16]),
            hash: [9; 32],
            kind: "put_grant",
            priority: Priority::Convergent,
            mode: Mode::Convergent,
        }
    }

    fn fresh(lane: &LaneRecord) -> Known<'_> {
        Known { live: None, tombstone: None, lane, place_taken: false }
    }

    fn code(admission: Admission) -> String {
        match admission {
            Admission::Accepted(accepted) => format!("accepted {:?}", accepted.ends_at_once),
            Admission::Known { .. } => "known".into(),
            Admission::Rejected { code, .. } => code,
        }
    }

    #[test]
    fn the_same_bytes_again_are_known_and_other_bytes_are_an_alarm() {
        let lane = LaneRecord::default();
        let stone = |hash: Vec<u8>| Tombstone { hash, ..Tombstone::default() };
        let ask = |stone: &Tombstone| {
            code(check_state(verified(1, NOW + 1), &Known { tombstone: Some(stone), ..fresh(&lane) }, NOW))
        };
        assert_eq!(ask(&stone(vec![9; 32])), "known");
        assert_eq!(ask(&stone(vec![8; 32])), "id_reuse");
        assert_eq!(ask(&stone(vec![])), "accepted Some(Cancelled)");
        let live = CommandRecord { hash: vec![8; 32], ..CommandRecord::default() };
        assert_eq!(
            code(check_state(verified(1, NOW + 1), &Known { live: Some(&live), ..fresh(&lane) }, NOW)),
            "id_reuse"
        );
    }

    #[test]
    fn a_revoke_names_the_grant_or_credential_that_its_elders_are_about() {
        let grant = |body: Body| assert_eq!(object_of(&body), "grant:g1", "{body:?}");
        grant(Body::PutGrant(PutGrant { grant_id: "g1".into(), ..PutGrant::default() }));
        grant(Body::DeleteGrant(DeleteGrant { grant_id: "g1".into(), ..DeleteGrant::default() }));
        let credential = |body: Body| assert_eq!(object_of(&body), "credential:c1", "{body:?}");
        let id = || "c1".to_owned();
        credential(Body::PutCredential(PutCredential { credential_id: id(), ..PutCredential::default() }));
        credential(Body::DeleteCredential(DeleteCredential { credential_id: id(), ..DeleteCredential::default() }));
        credential(Body::AssignCard(AssignCard { credential_id: id(), ..AssignCard::default() }));
        credential(Body::EncodeCredential(EncodeCredential { credential_id: id(), ..EncodeCredential::default() }));
        credential(Body::ScanToAssign(ScanToAssign { credential_id: id(), ..ScanToAssign::default() }));
        assert_eq!(object_of(&Body::SuspendUser(SuspendUser::default())), "suspension");
        assert_eq!(
            object_of(&Body::DeleteUser(DeleteUser::default())),
            "",
            "it overtakes by its place, not by an object"
        );
    }

    #[test]
    fn without_a_clock_run_revokes_and_what_writes_no_date() {
        let read = Body::ScanCredential(ScanCredential::default());
        let write = Body::EncodeCredential(EncodeCredential::default());
        assert!(may_run_without_time(Priority::Interactive, &read));
        assert!(!may_run_without_time(Priority::Interactive, &write));
        assert!(!may_run_without_time(Priority::Convergent, &Body::PutGrant(PutGrant::default())));
        assert!(may_run_without_time(Priority::Safety, &Body::DeleteGrant(DeleteGrant::default())));
    }

    #[test]
    fn time_and_order_are_checked() {
        let lane = LaneRecord { next: 4, ended_ahead: vec![6], cancels_below: 3, ..LaneRecord::default() };
        let ask = |sequence, expires| code(check_state(verified(sequence, expires), &fresh(&lane), NOW));
        assert_eq!(ask(4, NOW + 1), "accepted None");
        assert_eq!(ask(4, NOW), "accepted Some(Expired)");
        assert_eq!(ask(4, NOW - 8 * 24 * 3_600_000), "expired_beyond_memory");
        let memory = i64::try_from(TOMBSTONE_PAST_EXPIRY.as_millis()).expect("days");
        assert_eq!(ask(4, NOW - memory), "accepted Some(Expired)", "remembered to the last moment");
        assert_eq!(ask(4, NOW - memory - 1), "expired_beyond_memory");
        assert_eq!(ask(2, NOW + 1), "accepted Some(Superseded)");
        assert_eq!(ask(3, NOW + 1), "lane_sequence_reuse");
        assert_eq!(ask(6, NOW + 1), "lane_sequence_reuse");
        assert_eq!(ask(9, NOW + 1), "accepted None", "a gap is held, not refused");
    }
}
