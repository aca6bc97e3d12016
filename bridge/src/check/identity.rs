//! Who this bridge is, and how long its certificate lasts.

use std::cmp::Ordering;

use futures_util::FutureExt as _;
use jiff::Timestamp;

use super::context::Known;
use super::{Check, Context, Verdict};
use crate::health::ReasonCode;
use crate::identity::{CertificateTimes, SeenIdentity};

/// Renewal begins at half of the life and is tried every hour; at this part of it (percent) something keeps it from working.
const OVERDUE_PERCENT: i64 = 75;
const DAY_S: i64 = 86_400;

pub(super) const CHECK: Check = Check {
    id: "identity",
    description: "This bridge is enrolled, and its certificate is valid and renewed in time.",
    look: |context| async move { vec![look(context)] }.boxed(),
};

fn look(context: &Context) -> Verdict {
    match &context.identity {
        Known::Enrolled(seen) => judge(seen, context.clock.wall().as_second()),
        Known::NotEnrolled => Verdict::warning("this bridge is not enrolled yet", ReasonCode::NotEnrolled.remedy()),
        Known::Hidden(why) => Verdict::skipped(why),
        Known::Unusable(problem) => Verdict::failed(problem, ReasonCode::Identity.remedy()),
    }
}

fn judge(seen: &SeenIdentity, now_s: i64) -> Verdict {
    let who = format!("bridge {} of workspace {}", seen.bridge_id, seen.workspace_name);
    let evidence = format!("{who}; {}", lasts(seen.times, now_s));
    match (seen.times.check(now_s), now_s.cmp(&overdue_from(seen.times)), seen.is_renewed) {
        (Err(error), _, _) => {
            Verdict::failed(format!("{who}; its certificate cannot be used: {error}"), ReasonCode::Identity.remedy())
        }
        (Ok(()), Ordering::Greater, false) => Verdict::warning(
            format!("{evidence}, and it is not renewed"),
            "Let the daemon run with a connection to the cloud: it renews by itself. Its log says why it does not.",
        ),
        (Ok(()), _, _) => Verdict::ok(evidence),
    }
}

fn overdue_from(times: CertificateTimes) -> i64 {
    times.not_before.saturating_add(times.life() / 100 * OVERDUE_PERCENT)
}

fn lasts(times: CertificateTimes, now_s: i64) -> String {
    let until = Timestamp::from_second(times.not_after).map_or_else(|_| "?".to_owned(), |time| time.to_string());
    format!("its certificate lasts until {until} ({} days)", times.not_after.saturating_sub(now_s) / DAY_S)
}
