//! Does the cloud answer as a hub does?

use futures_util::FutureExt as _;

use super::{Check, Context, Verdict, cloud_name, cloud_tls};
use crate::health::ReasonCode;

pub(super) const CHECK: Check = Check {
    id: "cloud_answer",
    description: "The cloud answers as the hub of bridges does.",
    look: |context| look(context).map(|verdict| vec![verdict]).boxed(),
};

async fn look(context: &Context) -> Verdict {
    let Some(cloud) = &context.cloud else { return cloud_name::unknown() };
    if let Some(skipped) = cloud_tls::not_reached(cloud).await {
        return skipped;
    }
    match cloud.met().await.map(|met| &met.answer) {
        Ok(Ok(answer)) if answer.status == 200 => {
            Verdict::ok(format!("{} answers within {} ms", cloud.target(), answer.took.as_millis()))
        }
        Ok(Ok(answer)) => Verdict::failed(
            format!("{} answers with HTTP status {}", cloud.target(), answer.status),
            "Ask the cloud's operator whether that is the address of the hub.",
        ),
        Ok(Err(problem)) => Verdict::failed(problem, ReasonCode::HubSilent.remedy()),
        Err(_) => Verdict::skipped("there is no connection to ask on"),
    }
}
