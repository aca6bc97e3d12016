//! Does the lock server's licence cover what the bridge asks for?

use futures_util::FutureExt as _;

use super::lock_system::{Kind, System, each, not_asked};
use super::{Check, Verdict};
use crate::health::ReasonCode;

pub(super) const CHECK: Check = Check {
    id: "lock_licence",
    description: "The lock server's licence covers the interface.",
    look: |context| each(context, look).boxed(),
};

async fn look(system: &System) -> Verdict {
    let Some(probe) = system.probe().await else { return not_asked(system) };
    match probe.as_ref().map_err(|error| (Kind::of(error), error)) {
        Err((Kind::Licence, error)) => Verdict::failed(&error.message, ReasonCode::LockLicence.remedy()),
        Ok(_) => Verdict::ok("the server answers requests; options that are used later show when they are used"),
        Err(_) => Verdict::skipped("it gave no answer that tells"),
    }
}
