//! Does the lock server's clock agree with this machine's?

use futures_util::FutureExt as _;

use super::lock_system::{System, each, not_asked};
use super::{Check, Verdict};
use crate::health::ReasonCode;
use crate::system::Probe;

/// Difference that is told, in seconds: as much as the daemon bears.
const TOLD_S: u64 = 120;

pub(super) const CHECK: Check = Check {
    id: "lock_clock",
    description: "The lock server's clock and zone agree with this machine's.",
    look: |context| each(context, look).boxed(),
};

async fn look(system: &System) -> Verdict {
    let Some(probe) = system.probe().await else { return not_asked(system) };
    match probe.as_ref().ok().and_then(|probe| probe.clock_skew_s) {
        None => Verdict::skipped("it does not tell its time"),
        Some(skew) => {
            let zone = &system.config.time_zone_name;
            let evidence = format!("its clock, read in {zone}, is {}", Probe::clock_words(skew));
            if skew.unsigned_abs() > TOLD_S {
                Verdict::warning(evidence, ReasonCode::LockClock.remedy())
            } else {
                Verdict::ok(evidence)
            }
        }
    }
}
