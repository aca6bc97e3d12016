//! Whether the cursors of Hello fit what the hub knows, and whether those of Welcome fit what the bridge knows.

use crate::proto::tunnel::{Hello, QuarantineReason};

use super::hub::Admission;

/// The journal a bridge last showed the hub (rule F9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownStore {
    /// Of its Hello.
    pub store_id: Vec<u8>,
    /// Highest it ever told.
    pub journal_sequence: u64,
}

/// Why a Hello does not continue what the hub heard of this bridge: the reason for a quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspicion {
    /// In one word.
    pub reason: QuarantineReason,
    /// In one sentence, for a person.
    pub sentence: String,
}

/// Compares a Hello with all that the bridge ever told to be durable. Each of these only rises in an honest life, crashes
/// and power cuts included, because a bridge tells nothing before it is durable (rules A2, F9).
pub fn suspicion(hello: &Hello, known: &Admission) -> Option<Suspicion> {
    let rolled_back = |sentence: String| Some(Suspicion { reason: QuarantineReason::StateRolledBack, sentence });
    if let Some(store) = &known.store {
        if store.store_id != hello.store_id {
            let sentence = "the bridge shows another journal than before: its state was lost, replaced or restored";
            return Some(Suspicion { reason: QuarantineReason::StateReplaced, sentence: sentence.to_owned() });
        }
        if hello.journal_sequence < store.journal_sequence {
            return rolled_back(format!(
                "the bridge's journal ends at {}, but it was already at {}: an older copy was restored",
                hello.journal_sequence, store.journal_sequence
            ));
        }
    }
    if hello.commands_durable_through < known.deliveries_durable_through {
        return rolled_back(format!(
            "the bridge has decided deliveries through {}, but it had acknowledged {}: its journal was lost or restored",
            hello.commands_durable_through, known.deliveries_durable_through
        ));
    }
    if hello.reports_last < known.reports_durable_through {
        return rolled_back(format!(
            "the bridge has made reports through {}, but the cloud holds {}: its journal was lost or restored",
            hello.reports_last, known.reports_durable_through
        ));
    }
    if hello.highest_epoch_seen < known.epoch_heard {
        return rolled_back(format!(
            "the bridge has seen session epoch {}, but it spoke in epoch {}: a copy of its state runs, or an older one was \
             restored",
            hello.highest_epoch_seen, known.epoch_heard
        ));
    }
    None
}

/// Whether the cursors say that the cloud itself lost its memory. Such a session is refused, and the bridge not suspected.
pub fn is_cloud_restored(hello: &Hello, known: &Admission) -> bool {
    cloud_restored(hello, known).is_some()
}

/// One sentence, when the cursors say that the cloud itself lost its memory.
pub(super) fn cloud_restored(hello: &Hello, known: &Admission) -> Option<String> {
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
