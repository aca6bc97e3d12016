//! Words for the reasons of a quarantine: in journals, databases and on screens, where the wire has numbers.

use crate::proto::tunnel::QuarantineReason;

const WORDS: [(QuarantineReason, &str); 5] = [
    (QuarantineReason::StateRolledBack, "state_rolled_back"),
    (QuarantineReason::StateReplaced, "state_replaced"),
    (QuarantineReason::DuplicateSession, "duplicate_session"),
    (QuarantineReason::GenerationStale, "generation_stale"),
    (QuarantineReason::MachineChanged, "machine_changed"),
];

/// The stable word of a reason. One that this version does not know is held all the same, under a word of its own.
pub fn word(reason: QuarantineReason) -> &'static str {
    WORDS.iter().find(|(known, _)| *known == reason).map_or("unknown", |(_, word)| word)
}

/// The reason of a word.
pub fn reason(word: &str) -> QuarantineReason {
    WORDS.iter().find(|(_, known)| *known == word).map_or(QuarantineReason::Unspecified, |(reason, _)| *reason)
}

/// Whether the bridge's journal lacks a part of what was done under this identity, so that what it says of rights may be
/// older than what the lock server holds.
pub fn lost_memory(reason: QuarantineReason) -> bool {
    matches!(reason, QuarantineReason::StateRolledBack | QuarantineReason::StateReplaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_of_the_wire_has_its_own_word() {
        for number in 1.. {
            let Ok(named) = QuarantineReason::try_from(number) else {
                assert_eq!(usize::try_from(number - 1), Ok(WORDS.len()), "a reason without a word");
                break;
            };
            assert_eq!(reason(word(named)), named);
            assert_eq!(format!("QUARANTINE_REASON_{}", word(named).to_uppercase()), named.as_str_name());
        }
        assert_eq!(word(QuarantineReason::Unspecified), "unknown");
        assert_eq!(reason("unknown"), QuarantineReason::Unspecified);
    }
}
