//! Does the lock server speak the protocol that is configured?

use futures_util::FutureExt as _;

use super::lock_system::{Kind, System, each, not_asked};
use super::{Check, Verdict};
use crate::health::ReasonCode;

pub(super) const CHECK: Check = Check {
    id: "lock_answer",
    description: "The lock server answers in its protocol.",
    look: |context| each(context, look).boxed(),
};

async fn look(system: &System) -> Verdict {
    if let Err(problem) = &system.adapter {
        return Verdict::failed(problem, "Correct the lock system in the configuration.");
    }
    let Some(probe) = system.probe().await else { return not_asked(system) };
    match probe {
        Ok(probe) => Verdict::ok(format!("it answers as version {}", probe.version)),
        Err(error) => match Kind::of(error) {
            Kind::Login | Kind::Licence => Verdict::ok("it answers"),
            Kind::Silent => Verdict::failed(&error.message, ReasonCode::LockServer.remedy()),
            Kind::Other => Verdict::failed(&error.message, ReasonCode::LockProtocol.remedy()),
        },
    }
}
