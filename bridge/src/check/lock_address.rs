//! Can the lock server be reached?

use futures_util::FutureExt as _;

use super::lock_system::{System, each};
use super::{Check, Verdict};
use crate::health::ReasonCode;

pub(super) const CHECK: Check = Check {
    id: "lock_address",
    description: "The lock server accepts connections at the configured address.",
    look: |context| each(context, look).boxed(),
};

async fn look(system: &System) -> Verdict {
    let (host, port) = system.target();
    match system.addresses().await {
        Err(problem) => Verdict::failed(problem, ReasonCode::LockServer.remedy()),
        Ok(tried) => {
            let refused = tried.iter().filter_map(|(address, came)| Some((address, came.as_ref().err()?)));
            let refused: Vec<String> = refused.map(|(address, problem)| format!("{address}: {problem}")).collect();
            if refused.len() < tried.len() {
                Verdict::ok(format!("{host}:{port} accepts connections"))
            } else {
                let evidence = format!("{host}:{port} accepts no connection: {}", refused.join("; "));
                Verdict::failed(evidence, ReasonCode::LockServer.remedy())
            }
        }
    }
}
