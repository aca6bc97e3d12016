//! Does the proxy open the way to the cloud?

use futures_util::FutureExt as _;

use super::{Check, Context, Verdict, cloud_name};
use crate::config::SecretError;
use crate::health::ReasonCode;

pub(super) const CHECK: Check = Check {
    id: "cloud_proxy",
    description: "The configured proxy connects to the cloud.",
    look: |context| look(context).map(|verdict| vec![verdict]).boxed(),
};

async fn look(context: &Context) -> Verdict {
    let Some(proxy) = &context.config.proxy else { return Verdict::skipped("no proxy is configured") };
    let Some(cloud) = &context.cloud else { return cloud_name::unknown() };
    if !cloud.hop.is_proxy {
        return Verdict::skipped(format!("{} is this machine; the proxy is not used for it", cloud.target()));
    }
    if let Some(Err(error)) = proxy.password.as_ref().map(crate::config::SecretSource::read) {
        if is_hidden(&error) {
            return Verdict::skipped(format!("{error}; this user may not read the password of the proxy"));
        }
        return Verdict::failed(error.to_string(), "Check `network.proxy_password_file`.");
    }
    if !cloud.is_reachable().await {
        return Verdict::skipped("the proxy is not reached");
    }
    match cloud.met().await {
        Err(trouble) if trouble.code == ReasonCode::Proxy => {
            Verdict::failed(&trouble.message, ReasonCode::Proxy.remedy())
        }
        _ => Verdict::ok(format!("{}:{} connects to {}", proxy.host, proxy.port, cloud.target())),
    }
}

/// The secret is for the daemon, and this user is another one.
pub(super) fn is_hidden(error: &SecretError) -> bool {
    match error {
        SecretError::NoCredentials { .. } => true,
        SecretError::Read { source, .. } => source.kind() == std::io::ErrorKind::PermissionDenied,
        SecretError::CredentialName { .. }
        | SecretError::Empty { .. }
        | SecretError::TooLong { .. }
        | SecretError::NotText { .. } => false,
    }
}
