//! Whether the cursors of Hello fit what the hub knows, and whether those of Welcome fit what the bridge knows.

use crate::proto::tunnel::Hello;

use super::hub::Admission;

/// The journal a bridge last showed the hub (rule F9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownStore {
    /// Of its Hello.
    pub store_id: Vec<u8>,
    /// Highest it ever told.
    pub journal_sequence: u64,
}

/// One sentence saying which side lost its memory, when the cursors cannot both be right.
pub(super) fn rolled_back(hello: &Hello, known: &Admission) -> Option<String> {
    if let Some(store) = known.store.as_ref().filter(|store| store.store_id == hello.store_id)
        && hello.journal_sequence < store.journal_sequence
    {
        return Some(format!(
            "the bridge's journal ends at {}, but it was already at {}: an older copy was restored",
            hello.journal_sequence, store.journal_sequence
        ));
    }
    if hello.commands_durable_through < known.deliveries_durable_through {
        return Some(format!(
            "the bridge has decided deliveries through {}, but it had acknowledged {}: its journal was lost or restored",
            hello.commands_durable_through, known.deliveries_durable_through
        ));
    }
    if hello.reports_last < known.reports_durable_through {
        return Some(format!(
            "the bridge has made reports through {}, but the cloud holds {}: its journal was lost or restored",
            hello.reports_last, known.reports_durable_through
        ));
    }
    if hello.commands_durable_through > known.deliveries_sent_through {
        return Some(format!(
            "the bridge has decided deliveries through {}, but the cloud has only sent {}: the cloud's own state was restored",
            hello.commands_durable_through, known.deliveries_sent_through
        ));
    }
    if hello.highest_epoch_seen >= known.epoch {
        return Some(format!(
            "the bridge has seen session epoch {}, but the cloud only opens {}: the cloud's own state was restored",
            hello.highest_epoch_seen, known.epoch
        ));
    }
    None
}

/// Whether the hub's cursor up lies within what the bridge has made and still keeps.
pub(super) fn cursor_fits(hello: &Hello, reports_durable_through: u64) -> bool {
    reports_durable_through <= hello.reports_last
        && reports_durable_through.saturating_add(1) >= hello.reports_first_kept
}
