//! Is the other end the cloud, or something that reads along?

use futures_util::FutureExt as _;

use super::cloud::Cloud;
use super::{Check, Context, Verdict, cloud_name};
use crate::health::ReasonCode;

pub(super) const CHECK: Check = Check {
    id: "cloud_tls",
    description: "The other end shows a certificate of the cloud's own CA: nothing inspects the connection.",
    look: |context| look(context).map(|verdict| vec![verdict]).boxed(),
};

async fn look(context: &Context) -> Verdict {
    let Some(cloud) = &context.cloud else { return cloud_name::unknown() };
    if let Some(skipped) = not_reached(cloud).await {
        return skipped;
    }
    match cloud.met().await {
        Ok(met) => Verdict::ok(format!("TLS 1.3; issued by `{}`", met.issuer)),
        Err(trouble) => match trouble.code {
            ReasonCode::TlsIntercepted | ReasonCode::Tls | ReasonCode::Identity => {
                Verdict::failed(&trouble.message, trouble.code.remedy())
            }
            ReasonCode::Clock => Verdict::skipped("by this machine's clock no certificate can be judged; see `clock`"),
            _ => Verdict::skipped("the cloud is not reached"),
        },
    }
}

/// Why the end of the way is not looked at, if it is not.
pub(super) async fn not_reached(cloud: &Cloud) -> Option<Verdict> {
    if !cloud.is_reachable().await {
        return Some(Verdict::skipped("the cloud is not reached"));
    }
    (!cloud.is_trust_known())
        .then(|| Verdict::skipped("whom this bridge trusts is not readable by this user: run it with sudo"))
}
