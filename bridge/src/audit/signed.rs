//! What an entry claims about the chain, with a signature under it.

use lockbridge_protocol::journal::ChainHash;
use lockbridge_protocol::proto::journal::{Reported, Witnessed};
use lockbridge_protocol::proto::tunnel::{AuditCheckpoint, Signed, report::Body};
use lockbridge_protocol::signed::{command::CommandError, report, witness};
use prost::Message;

use super::finding::Code;
use super::keys::Keys;

/// Who vouches for a head of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Voucher {
    /// A checkpoint file of the working set: unsigned, but made apart from the segments.
    File,
    /// The bridge's audit key.
    Bridge,
    /// The authority, as the bridge kept it.
    Authority,
    /// The authority, kept outside.
    Outside,
}

impl Voucher {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::File => "the checkpoint file",
            Self::Bridge => "a checkpoint signed by the bridge",
            Self::Authority => "a witness signed by the cloud",
            Self::Outside => "the witness kept by the cloud",
        }
    }
}

/// A head of the chain that somebody vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) voucher: Voucher,
    pub(super) store_id: Vec<u8>,
    pub(super) sequence: u64,
    pub(super) head: ChainHash,
    pub(super) time_ms: i64,
    /// Where it was found.
    pub(super) place: String,
}

/// Why a signed value is no claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) code: Code,
    pub(super) message: String,
}

fn claim(voucher: Voucher, checkpoint: AuditCheckpoint, place: &str) -> Result<Claim, Refused> {
    let head = checkpoint.chain_head.as_slice().try_into();
    let head = head.map_err(|_| refused(Code::Signature, format!("{} names no chain hash", voucher.words())))?;
    Ok(Claim {
        voucher,
        store_id: checkpoint.store_id,
        sequence: checkpoint.journal_sequence,
        head: ChainHash(head),
        time_ms: checkpoint.time_ms,
        place: place.to_owned(),
    })
}

fn refused(code: Code, message: String) -> Refused {
    Refused { code, message }
}

/// The checkpoint in a report. `None`: written by a version that kept no readable copy.
pub(super) fn checkpoint(keys: &Keys, reported: &Reported, place: &str) -> Option<Result<Claim, Refused>> {
    if reported.signed_checkpoint.is_empty() {
        return None;
    }
    let check = || {
        let not = |problem: &str| refused(Code::Signature, format!("the checkpoint {problem}"));
        let signed = Signed::decode(reported.signed_checkpoint.as_slice()).map_err(|_| not("is no signed value"))?;
        let id = signed.signatures.first().map(|signature| signature.key_id.as_str()).unwrap_or_default();
        if keys.audit.is_empty() {
            return Err(refused(Code::NoKey, "no audit key of the bridge is known to check it with".to_owned()));
        }
        let key = keys.audit_key(id).ok_or_else(|| not(&format!("is signed by the key {id:?}, which is not given")))?;
        let report = report::verify(key, &signed).map_err(|error| not(&format!("does not verify: {error}")))?;
        if report.sequence != reported.report_sequence {
            return Err(not("was signed as another report"));
        }
        match report.body {
            Some(Body::AuditCheckpoint(checkpoint)) if checkpoint.store_id == report.store_id => {
                claim(Voucher::Bridge, checkpoint, place)
            }
            _ => Err(not("is another kind of report, or of another journal")),
        }
    };
    Some(check())
}

/// The witness in an entry.
pub(super) fn witnessed(keys: &Keys, witnessed: &Witnessed, place: &str) -> Result<Claim, Refused> {
    let signed = Signed::decode(witnessed.witness.as_slice())
        .map_err(|_| refused(Code::Signature, "the witness is no signed value".to_owned()))?;
    counter_signed(keys, &signed, Voucher::Authority, place)
}

/// Any counter-signature of the authority.
pub(super) fn counter_signed(keys: &Keys, signed: &Signed, voucher: Voucher, place: &str) -> Result<Claim, Refused> {
    if keys.authority.is_empty() {
        return Err(refused(Code::NoKey, "no authority key is known to check it with".to_owned()));
    }
    match witness::verify(&keys.authority, signed) {
        Ok(checkpoint) => claim(voucher, checkpoint, place),
        Err(witness::WitnessError::Signature(CommandError::UnknownKey { key_id })) => {
            Err(refused(Code::Signature, format!("the witness is signed by the key {key_id:?}, which is not given")))
        }
        Err(error) => Err(refused(Code::Signature, format!("the witness does not verify: {error}"))),
    }
}
