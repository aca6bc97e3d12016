//! Does the running daemon have its session with the cloud?

use futures_util::FutureExt as _;

use super::{Check, Context, Verdict};
use crate::health::ReasonCode;

pub(super) const CHECK: Check = Check {
    id: "cloud_session",
    description: "The running daemon has a session with the cloud.",
    look: |context| look(context).map(|verdict| vec![verdict]).boxed(),
};

async fn look(context: &Context) -> Verdict {
    let Some(snapshot) = context.daemon.snapshot() else { return Verdict::skipped("the daemon does not answer") };
    let link = &snapshot["cloud"];
    if link["connected"] == true {
        return Verdict::ok(format!("connected to {}", link["hub"].as_str().unwrap_or_default()));
    }
    let reachable = match &context.cloud {
        Some(cloud) => cloud.is_reachable().await && (!cloud.is_trust_known() || cloud.met().await.is_ok()),
        None => false,
    };
    if !reachable {
        return Verdict::skipped("without a way to the cloud there is no session");
    }
    let word = |key: &str| link["last_error"][key].as_str().unwrap_or_default().to_owned();
    let remedy = ReasonCode::ALL.iter().find(|code| code.code() == word("code")).map(|code| code.remedy());
    match remedy {
        Some(remedy) => Verdict::failed(format!("offline: {}", word("message")), remedy),
        None => Verdict::warning("offline, and no try has ended yet", ReasonCode::Connecting.remedy()),
    }
}
