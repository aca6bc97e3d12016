//! How far a pending attempt has come at its encoder, as the bridge tells with its health.

use lockbridge_protocol::proto::tunnel::{EncoderJob, EncoderStage};

use crate::model::{ModelError, Work, sql};

/// Notes it. What a bridge says of attempts that are not its own changes nothing.
pub(crate) fn progress(work: &Work<'_>, bridge_id: &str, jobs: &[EncoderJob]) -> Result<(), ModelError> {
    for job in jobs {
        let stage = match job.stage() {
            EncoderStage::Unspecified => continue,
            EncoderStage::Waiting => "waiting",
            EncoderStage::RemoveCard => "remove_card",
            EncoderStage::Preparing => "preparing",
            EncoderStage::PresentCard => "present_card",
        };
        sql::change(
            work.connection,
            "UPDATE action_attempt SET stage = ?3, turn = ?4 WHERE status = 'pending' AND action_attempt_id = (
                 SELECT resource_id FROM issued_command JOIN acs_system USING (acs_system_id)
                 WHERE command_id = ?1 AND bridge_id = ?2 AND purpose = 'attempt')",
            (&job.command_id, bridge_id, stage, job.position),
        )?;
    }
    Ok(())
}
