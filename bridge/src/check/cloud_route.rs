//! Can the addresses of the cloud, or of the proxy in front of it, be reached? Each address by itself, both families.

use futures_util::FutureExt as _;

use super::{Check, Context, Verdict, cloud_name};
use crate::health::ReasonCode;

pub(super) const CHECK: Check = Check {
    id: "cloud_route",
    description: "An address of the cloud (or of the proxy in front of it) accepts connections.",
    look: |context| look(context).map(|verdict| vec![verdict]).boxed(),
};

async fn look(context: &Context) -> Verdict {
    let Some(cloud) = &context.cloud else { return cloud_name::unknown() };
    let Ok(tried) = cloud.tried().await else { return Verdict::skipped("there is no address to try") };
    let lines: Vec<String> = tried
        .iter()
        .map(|(address, came)| match came {
            Ok(took) => format!("{address} accepts after {} ms", took.as_millis()),
            Err(problem) => format!("{address}: {problem}"),
        })
        .collect();
    let evidence = lines.join("; ");
    match (tried.iter().any(|(_, came)| came.is_ok()), cloud.hop.is_proxy) {
        (true, _) => Verdict::ok(evidence),
        (false, true) => Verdict::failed(evidence, "Check host and port in `network.proxy`, and that the proxy runs."),
        (false, false) => Verdict::failed(evidence, ReasonCode::Internet.remedy()),
    }
}
