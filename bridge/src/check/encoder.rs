//! Does the lock server know each configured encoder, and is it online?
//!
//! No request lists encoders. So each is asked to read a card, for a short time: a name that is not known and an encoder
//! that is not there are refused at once; one that is there waits for a card. Nothing is written. No request takes a read back:
//! the server waits for the card to the end of its own time, and until then says that the encoder is busy. So an encoder is
//! left alone while the daemon has work in hand, and one that is busy may be waiting for the card of an earlier look.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;

use super::lock_system::{Kind, System, not_asked};
use super::{Check, Context, Verdict};
use crate::health::ReasonCode;
use crate::system::{Operation, OperationError, Performed};

/// A refusal comes at once; whoever waits longer waits for a card.
const WAIT: Duration = Duration::from_secs(3);
/// SALTO Space's codes: an encoder of that name is not known; it is busy with another card.
const UNKNOWN: &str = "400";
const BUSY: &str = "402";

pub(super) const CHECK: Check = Check {
    id: "encoder",
    description: "The lock server knows each configured encoder, and it is online.",
    look: |context| look(context).boxed(),
};

async fn look(context: &Context) -> Vec<Verdict> {
    let count = |key: &str| context.daemon.snapshot().and_then(|snapshot| snapshot["engine"][key].as_u64());
    let busy = count("executing").is_some_and(|executing| executing > 0);
    let asked = context.systems.iter().flat_map(|system| {
        encoders(system).into_iter().map(move |encoder| async move {
            let verdict = if busy {
                Verdict::skipped("the daemon has work in hand; an encoder that reads cannot write")
            } else {
                ask(system, &encoder).await
            };
            verdict.about(format!("{}/{encoder}", system.config.name))
        })
    });
    let verdicts = join_all(asked).await;
    if verdicts.is_empty() { vec![Verdict::skipped("no encoder is configured")] } else { verdicts }
}

fn encoders(system: &System) -> Vec<String> {
    let encoders = system.server().map(|space| space.encoders.as_slice()).unwrap_or_default();
    encoders.iter().map(|encoder| encoder.name.clone()).collect()
}

async fn ask(system: &System, encoder: &str) -> Verdict {
    let (Ok(adapter), Some(probe)) = (&system.adapter, system.probe().await) else { return not_asked(system) };
    if probe.is_err() {
        return Verdict::skipped("the lock server does not serve us");
    }
    judge(adapter.perform(Operation::ReadCard { encoder: encoder.to_owned() }, WAIT).await)
}

/// What reading a card says about the encoder.
fn judge(came: Result<Performed, OperationError>) -> Verdict {
    let Err(error) = came else { return Verdict::ok("it read the card that lies on it") };
    match (error.code, error.vendor_code.as_str()) {
        (_, UNKNOWN) => Verdict::failed(
            &error.message,
            "Spell the name in `encoders` exactly as in SALTO Space (capitals and spaces count).",
        ),
        (_, BUSY) => Verdict::ok(
            "it is there, and in use: a card of somebody else, or an earlier look (this check, `lockbridge setup`) whose read \
             the server keeps open until a card comes or its own waiting time is over",
        ),
        ("encoder_not_online", _) => Verdict::failed(&error.message, ReasonCode::Encoder.remedy()),
        ("encoder_communication_timeout" | "no_credential_on_encoder", _) => {
            Verdict::ok("known to the server, not refused as offline, waits for a card")
        }
        _ if Kind::of(&error) == Kind::Licence => Verdict::skipped("the licence does not cover it"),
        _ => Verdict::warning(&error.message, "Put a blank card on the encoder and look again."),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;
    use crate::system::{Effect, Retry};

    fn refused(code: &'static str, vendor_code: &str) -> Result<Performed, OperationError> {
        Err(OperationError {
            code,
            message: "could not read the card".to_owned(),
            vendor_code: vendor_code.to_owned(),
            vendor_text: String::new(),
            effect: Effect::None,
            retry: Retry::Later,
        })
    }

    #[test]
    fn only_an_encoder_that_is_not_there_fails() {
        for (code, vendor_code, outcome) in [
            ("uncategorized_error", "400", Outcome::Failed),
            ("encoder_not_online", "401", Outcome::Failed),
            ("uncategorized_error", "402", Outcome::Ok),
            ("no_credential_on_encoder", "403", Outcome::Ok),
            ("encoder_communication_timeout", "", Outcome::Ok),
            ("uncategorized_error", "13", Outcome::Skipped),
            ("uncategorized_error", "4711", Outcome::Warning),
        ] {
            assert_eq!(judge(refused(code, vendor_code)).outcome, outcome, "{code} {vendor_code}");
        }
        assert_eq!(judge(Ok(Performed::default())).outcome, Outcome::Ok);
    }
}
