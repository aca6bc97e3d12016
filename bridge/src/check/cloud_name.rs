//! Does the name of the cloud, or of the proxy in front of it, resolve?

use futures_util::FutureExt as _;

use super::{Check, Context, Verdict};
use crate::health::ReasonCode;

pub(super) const CHECK: Check = Check {
    id: "cloud_name",
    description: "The name of the cloud (or of the proxy in front of it) resolves.",
    look: |context| look(context).map(|verdict| vec![verdict]).boxed(),
};

async fn look(context: &Context) -> Verdict {
    let Some(cloud) = &context.cloud else { return unknown() };
    let host = &cloud.hop.host;
    match cloud.resolved().await {
        Ok(addresses) => {
            let list: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
            Verdict::ok(format!("{host} is {}", list.join(", ")))
        }
        Err(trouble) if cloud.hop.is_proxy => {
            Verdict::failed(&trouble.message, "Check the host in `network.proxy` and the site's DNS server.")
        }
        Err(trouble) => Verdict::failed(&trouble.message, ReasonCode::Dns.remedy()),
    }
}

/// What every check of the way says before there is one.
pub(super) fn unknown() -> Verdict {
    Verdict::skipped("the address of the cloud is not known here: this bridge is not enrolled, or its files are hidden")
}
