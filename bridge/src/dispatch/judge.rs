//! What two observations of a holder, before and after, say about an attempt whose answer is lost (rule B7).

use lockbridge_protocol::proto::tunnel::{KeyOperation, command::Body};

use crate::command::machine::Answer;
use crate::system::UserObservation;

/// Judges a lost attempt. `settled`: the encoder's own waiting is over for certain, so nothing is under way any more.
///
/// Changed means done. Unchanged means not done only where the lock server would have told otherwise: a first card shows
/// as a card, an update of a card that lagged behind shows as up to date. All else stays unknown.
pub(super) fn judge(body: &Body, before: Option<&UserObservation>, now: &UserObservation, settled: bool) -> Answer {
    match body {
        Body::EncodeCredential(encode) => {
            let Some(before) = before else { return Answer::Unknown };
            judge_encode(encode.operation(), before, now, settled)
        }
        Body::AssignCard(assign) => {
            let told = now.has_card && now.card_number.eq_ignore_ascii_case(&assign.card_number);
            if told && !assign.card_number.is_empty() {
                Answer::Found
            } else if settled {
                Answer::Absent
            } else {
                Answer::Unknown
            }
        }
        Body::DeleteUser(_) if !now.exists => Answer::Found,
        _ => Answer::Unknown,
    }
}

fn judge_encode(asked: KeyOperation, before: &UserObservation, now: &UserObservation, settled: bool) -> Answer {
    let first_card = !before.has_card && now.has_card;
    let other_card = !now.card_number.is_empty() && now.card_number != before.card_number;
    let other_period = now.has_card && now.key_period_ms != (0, 0) && now.key_period_ms != before.key_period_ms;
    let caught_up = now.has_card && before.has_card && now.card_up_to_date && !before.card_up_to_date;
    if first_card || other_card || other_period || caught_up {
        return Answer::Found;
    }
    let still_none = !before.has_card && !now.has_card && asked != KeyOperation::UpdateCurrent;
    let still_behind = before.has_card && now.has_card && !before.card_up_to_date && !now.card_up_to_date;
    if settled && now.exists && (still_none || still_behind) { Answer::Absent } else { Answer::Unknown }
}

#[cfg(test)]
mod tests {
    use lockbridge_protocol::proto::tunnel::EncodeCredential;

    use super::*;

    fn seen(has_card: bool, up_to_date: bool, number: &str, period: (i64, i64)) -> UserObservation {
        UserObservation {
            exists: true,
            has_card,
            card_number: number.into(),
            key_period_ms: period,
            card_up_to_date: up_to_date,
            suspended: false,
        }
    }

    fn encode(operation: KeyOperation, before: &UserObservation, now: &UserObservation, settled: bool) -> Answer {
        let body =
            Body::EncodeCredential(EncodeCredential { operation: operation as i32, ..EncodeCredential::default() });
        judge(&body, Some(before), now, settled)
    }

    #[test]
    fn a_first_card_shows_and_its_absence_counts_only_when_settled() {
        let none = seen(false, false, "", (0, 0));
        let card = seen(true, true, "04A1", (1, 2));
        assert_eq!(encode(KeyOperation::AssignNew, &none, &card, false), Answer::Found);
        assert_eq!(encode(KeyOperation::AssignNew, &none, &none, false), Answer::Unknown);
        assert_eq!(encode(KeyOperation::AssignNew, &none, &none, true), Answer::Absent);
    }

    #[test]
    fn an_update_that_cannot_be_seen_stays_unknown() {
        let current = seen(true, true, "04A1", (1, 2));
        assert_eq!(encode(KeyOperation::UpdateCurrent, &current, &current, true), Answer::Unknown);
        let behind = seen(true, false, "04A1", (1, 2));
        assert_eq!(encode(KeyOperation::UpdateCurrent, &behind, &behind, true), Answer::Absent);
        assert_eq!(encode(KeyOperation::UpdateCurrent, &behind, &current, false), Answer::Found);
        assert_eq!(
            encode(KeyOperation::UpdateCurrent, &current, &seen(true, true, "04A1", (1, 3)), false),
            Answer::Found
        );
    }

    #[test]
    fn without_a_before_nothing_is_claimed() {
        let body = Body::EncodeCredential(EncodeCredential::default());
        assert_eq!(judge(&body, None, &seen(true, true, "04A1", (1, 2)), true), Answer::Unknown);
    }
}
