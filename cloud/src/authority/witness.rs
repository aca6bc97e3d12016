//! Counter-signatures over a bridge's audit checkpoints (rule J2): the bridge can later show that its log was seen whole.

use lockbridge_protocol::proto::tunnel::{AuditCheckpoint, Signed};
use lockbridge_protocol::signed::{WITNESS_TYPE, command::sign_bytes};
use prost::Message;

use super::Authority;

impl Authority {
    /// Signs the checkpoint as it was received.
    pub fn countersign(&self, checkpoint: &AuditCheckpoint) -> Signed {
        sign_bytes(self.key(), WITNESS_TYPE, checkpoint.encode_to_vec())
    }
}
