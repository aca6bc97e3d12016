//! Does this machine's clock agree with the cloud's? Cards carry dates.

use futures_util::FutureExt as _;

use super::{Check, Context, Verdict, cloud_tls};
use crate::health::ReasonCode;

/// Differences that are told, and that stop grants (rule N3), in seconds.
const TOLD_S: u64 = 30;
const STOPS_S: u64 = 120;

pub(super) const CHECK: Check = Check {
    id: "clock",
    description: "The clock of this machine agrees with the cloud's.",
    look: |context| look(context).map(|verdict| vec![verdict]).boxed(),
};

async fn look(context: &Context) -> Verdict {
    let unknown = || Verdict::skipped("nobody told the time");
    let Some(cloud) = &context.cloud else { return unknown() };
    if cloud_tls::not_reached(cloud).await.is_some() {
        return unknown();
    }
    match cloud.met().await {
        Err(trouble) if trouble.code == ReasonCode::Clock => {
            Verdict::failed(&trouble.message, ReasonCode::Clock.remedy())
        }
        Err(_) => unknown(),
        Ok(met) => met.answer.as_ref().ok().and_then(|answer| answer.skew_s).map_or_else(unknown, judge),
    }
}

fn judge(skew_s: i64) -> Verdict {
    let side = if skew_s < 0 { "ahead of" } else { "behind" };
    let evidence = format!("this machine's clock is {} s {side} the cloud's", skew_s.unsigned_abs());
    match skew_s.unsigned_abs() {
        0..=TOLD_S => Verdict::ok(evidence),
        skew if skew <= STOPS_S => Verdict::warning(evidence, ReasonCode::Clock.remedy()),
        _ => Verdict::failed(evidence, ReasonCode::ClockUntrusted.remedy()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[test]
    fn seconds_are_nothing_and_minutes_stop_cards() {
        for (skew, outcome) in [
            (0, Outcome::Ok),
            (-30, Outcome::Ok),
            (31, Outcome::Warning),
            (120, Outcome::Warning),
            (-121, Outcome::Failed),
        ] {
            assert_eq!(judge(skew).outcome, outcome, "{skew}");
        }
        assert!(judge(-40).evidence.contains("40 s ahead of"));
        assert!(judge(40).evidence.contains("40 s behind"));
    }
}
