//! Does the lock server accept our credentials?

use futures_util::FutureExt as _;

use super::lock_system::{Kind, System, each, not_asked};
use super::{Check, Verdict};
use crate::health::ReasonCode;

pub(super) const CHECK: Check = Check {
    id: "lock_login",
    description: "The lock server accepts the configured login.",
    look: |context| each(context, look).boxed(),
};

async fn look(system: &System) -> Verdict {
    let Some(probe) = system.probe().await else { return not_asked(system) };
    match probe.as_ref().map_err(|error| (Kind::of(error), error)) {
        Err((Kind::Login, error)) => Verdict::failed(&error.message, ReasonCode::LockLogin.remedy()),
        Ok(_) | Err((Kind::Licence, _)) => Verdict::ok("accepted, or none is asked for"),
        Err((Kind::Silent | Kind::Other, _)) => Verdict::skipped("it gave no answer that tells"),
    }
}
