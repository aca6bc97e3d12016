//! What an audit tells: each entry as it is read, and the conclusion.

use std::collections::BTreeMap;

use lockbridge_protocol::journal::{ChainHash, StoreId};
use lockbridge_protocol::proto::journal::Entry;
use serde::{Serialize, Serializer};

use super::finding::Finding;
use super::keys::Origin;

/// One entry as it was read.
#[derive(Debug)]
pub struct Visited<'a> {
    /// The journal it is of.
    pub store_id: StoreId,
    /// Its sequence.
    pub sequence: u64,
    /// Chain hash of the entry before it, as far as is known.
    pub previous: ChainHash,
    /// Its chain hash.
    pub hash: ChainHash,
    /// Its bytes.
    pub payload: &'a [u8],
    /// What they say; `None` when this version cannot read them.
    pub entry: Option<&'a Entry>,
}

/// How far signed heads of one kind reach.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Covered {
    /// How many lie on the chain.
    pub count: u64,
    /// The last entry covered; 0 when none is.
    pub through: u64,
    /// When it was signed, ms since the epoch.
    pub time_ms: i64,
}

/// What came of an audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// No finding.
    pub sound: bool,
    /// The journal's identity, hexadecimal.
    #[serde(serialize_with = "shown")]
    pub store_id: StoreId,
    /// First entry that is there.
    pub from: u64,
    /// Last entry that is there; below `from` when there is none.
    pub through: u64,
    /// Chain hash in front of the first entry.
    #[serde(serialize_with = "shown")]
    pub begins_after: ChainHash,
    /// Chain hash of the last one.
    #[serde(serialize_with = "shown")]
    pub head: ChainHash,
    /// Entries read.
    pub entries: u64,
    /// Checkpoints signed by the bridge.
    pub checkpoints: Covered,
    /// Witnesses signed by the cloud, kept in the journal or outside.
    pub witnesses: Covered,
    /// Whether one of the witnesses was kept outside: only that finds a cut that took the witnesses with it.
    pub witness_from_outside: bool,
    /// Entries after the last witness: only the chain speaks for them.
    pub not_witnessed: u64,
    /// Where the bridge's key came from.
    pub audit_key: Origin,
    /// Where the cloud's key came from.
    pub authority_key: Origin,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Findings that are not listed, because there are too many.
    pub more_findings: u64,
    /// What is no finding and worth knowing.
    pub notes: Vec<String>,
    /// Chain hashes by sequence, that of the beginning included.
    #[serde(skip)]
    pub heads: BTreeMap<u64, ChainHash>,
}

fn shown<T: std::fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
