//! Effects: what runs beside the engine and comes back as one value. Every one has a deadline of its own.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use lockbridge_protocol::ids::CommandId;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::work::Steps;
use crate::limits::{CALL_GRACE, INVENTORY_SCAN};
use crate::system::{Effect, LockSystem, Operation, OperationError, Performed, Probe, Retry, UserObservation};

/// What came back.
#[derive(Debug)]
pub(super) enum Ended {
    /// The holder was observed before an attempt.
    Observed(CommandId, Result<UserObservation, OperationError>),
    /// The attempt ended.
    Performed(CommandId, u32, Result<Performed, OperationError>),
    /// The holder was observed to find out what came of an attempt.
    Answered(CommandId, Result<UserObservation, OperationError>),
    /// The way to an encoder (lock system, encoder) was tried after a fault there.
    EncoderTried(String, String, Result<Probe, OperationError>),
}

/// Nobody answered in time.
fn silent(what: &str, effect: Effect) -> OperationError {
    OperationError {
        code: "uncategorized_error",
        message: format!("{what}: no answer from the lock system in time"),
        vendor_code: String::new(),
        vendor_text: String::new(),
        effect,
        retry: Retry::Later,
    }
}

/// Observes a holder.
pub(super) async fn observe(
    adapter: Arc<dyn LockSystem>,
    user_id: String,
    deadline: Duration,
) -> Result<UserObservation, OperationError> {
    timeout(deadline, adapter.observe_user(&user_id))
        .await
        .unwrap_or_else(|_| Err(silent("observing the user", Effect::None)))
}

/// Asks the lock system whether it is there.
pub(super) async fn probe(adapter: Arc<dyn LockSystem>, deadline: Duration) -> Result<Probe, OperationError> {
    timeout(deadline, adapter.probe()).await.unwrap_or_else(|_| Err(silent("the probe", Effect::None)))
}

/// Carries out the steps of an attempt. Once a step had its effect, the failure of a later one is not "no effect".
pub(super) fn perform(
    adapter: Arc<dyn LockSystem>,
    steps: Steps,
    deadline: Duration,
    scanned: Option<oneshot::Receiver<Result<(), OperationError>>>,
) -> BoxFuture<'static, Result<Performed, OperationError>> {
    Box::pin(async move {
        match steps {
            Steps::Operations(operations) => {
                let mut done: Option<Performed> = None;
                for operation in operations {
                    // What comes before a key for a phone is absolute, so all of it may be said again if that was not sent.
                    let may_begin_anew = matches!(operation, Operation::SendKey { .. });
                    let result = call(adapter.as_ref(), operation, deadline).await;
                    done = Some(match (result, done) {
                        (Ok(last), earlier) => merged(earlier, last),
                        (Err(error), None) => return Err(error),
                        (Err(error), Some(_)) if may_begin_anew => return Err(error),
                        (Err(error), Some(_)) => return Err(OperationError { effect: Effect::Unknown, ..error }),
                    });
                }
                Ok(done.unwrap_or_default())
            }
            Steps::ReadThenAssign { encoder, user_id } => {
                let read = call(adapter.as_ref(), Operation::ReadCard { encoder }, deadline).await?;
                let card_number =
                    read.card_on_encoder.as_ref().map(|card| card.card_number.clone()).unwrap_or_default();
                if card_number.is_empty() {
                    return Err(OperationError {
                        code: "no_credential_on_encoder",
                        message: "the card on the encoder told no serial number to assign".into(),
                        vendor_code: String::new(),
                        vendor_text: String::new(),
                        effect: Effect::None,
                        retry: Retry::Never,
                    });
                }
                let assign = Operation::AssignCard { user_id, card_number: card_number.clone() };
                let assigned = call(adapter.as_ref(), assign, deadline).await?;
                Ok(Performed { card_number, card_on_encoder: read.card_on_encoder, ..assigned })
            }
            Steps::Scan => {
                let Some(scanned) = scanned else { return Err(silent("the inventory scan", Effect::None)) };
                match timeout(INVENTORY_SCAN, scanned).await {
                    Ok(Ok(Ok(()))) => Ok(Performed::default()),
                    Ok(Ok(Err(error))) => Err(error),
                    Ok(Err(_)) | Err(_) => Err(silent("the inventory scan", Effect::None)),
                }
            }
            Steps::Probe => {
                let probe = probe(adapter, deadline).await?;
                let skew = probe.clock_skew_s.map(|skew| format!(", clock {}", Probe::clock_words(skew)));
                let detail = format!("reachable; version {}{}", probe.version, skew.unwrap_or_default());
                Ok(Performed { detail, ..Performed::default() })
            }
        }
    })
}

async fn call(adapter: &dyn LockSystem, operation: Operation, deadline: Duration) -> Result<Performed, OperationError> {
    timeout(deadline + CALL_GRACE, adapter.perform(operation, deadline))
        .await
        .unwrap_or_else(|_| Err(silent("the operation", Effect::Unknown)))
}

/// What several steps showed together; the later one wins where both say something.
fn merged(earlier: Option<Performed>, last: Performed) -> Performed {
    let Some(earlier) = earlier else { return last };
    let pick = |last: String, earlier: String| if last.is_empty() { earlier } else { last };
    Performed {
        user_external_id: pick(last.user_external_id, earlier.user_external_id),
        card_number: pick(last.card_number, earlier.card_number),
        key_valid_until_ms: last.key_valid_until_ms.or(earlier.key_valid_until_ms),
        card_update_needed: last.card_update_needed,
        card_on_encoder: last.card_on_encoder.or(earlier.card_on_encoder),
        key_seen: last.key_seen.or(earlier.key_seen),
        detail: pick(last.detail, earlier.detail),
    }
}
