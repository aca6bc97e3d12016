//! From a received body to what goes back on the wire, whatever the transport.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::super::refusal::{Refusal, code};
use super::super::ship::{self, Request};
use super::super::wire::xml::Node;
use super::fault::{FaultKind, Stage};
use super::{Simulator, encoder, lock};

/// What the transport has to do.
#[derive(Debug)]
pub(super) enum Reply {
    /// Send this body.
    Send(String),
    /// Announce this body, send half of it, close.
    SendHalf(String),
    /// Close without an answer.
    Close,
    /// Keep the connection open and silent.
    Silence,
}

/// Answers one request. Ends early, with [`Reply::Close`], when this life of the server ends.
pub(super) async fn answer(simulator: &Simulator, body: &[u8], life: &CancellationToken) -> Reply {
    let parsed = Request::parse(body, simulator.settings.rules);
    let name = match &parsed {
        Ok(request) => request.name.clone(),
        Err((name, _)) => name.clone(),
    };
    if let Some(FaultKind::Delay { milliseconds }) = simulator.faults.take(Stage::Delay, &name, None)
        && life.run_until_cancelled(tokio::time::sleep(Duration::from_millis(milliseconds))).await.is_none()
    {
        return Reply::Close;
    }
    let fault = simulator.faults.take(Stage::Answer, &name, None);
    match fault {
        Some(FaultKind::Refuse { code }) => {
            return Reply::Send(ship::answer(&name, Err(Refusal::of(code))).to_document());
        }
        Some(FaultKind::CloseBeforeAnswer) => return Reply::Close,
        Some(FaultKind::NeverAnswer { perform: false }) => return Reply::Silence,
        _ => {}
    }
    let outcome = match parsed {
        Ok(request) => perform(simulator, &request, life).await,
        Err((_, refusal)) => Err(refusal),
    };
    if let Err(refusal) = &outcome {
        tracing::debug!(request = %name, %refusal, "refused");
    }
    let document = ship::answer(&name, outcome).to_document();
    match fault {
        _ if life.is_cancelled() => Reply::Close,
        Some(FaultKind::Garbage) => Reply::Send("\u{1}\u{2}<<< & not an answer".to_owned()),
        Some(FaultKind::HalfAnswer) => Reply::SendHalf(document),
        Some(FaultKind::PerformThenClose) => Reply::Close,
        Some(FaultKind::NeverAnswer { .. }) => Reply::Silence,
        _ => Reply::Send(document),
    }
}

async fn perform(simulator: &Simulator, request: &Request, life: &CancellationToken) -> Result<Vec<Node>, Refusal> {
    if !simulator.read(|site| site.counters.ship_licensed) {
        return Err(Refusal::of(code::NOT_LICENSED));
    }
    let rules = simulator.settings.rules;
    if let Some(job) = request.encoder(rules)? {
        return encoder::run(simulator, &request.name, &job, life).await;
    }
    if request.name.starts_with("SaltoDBUser.") {
        let entity = request.params.child("SaltoDBUser").unwrap_or(&request.params);
        let user = entity.child("ExtUserID");
        // The record of a user whose card is being written is taken by the encoder process.
        if user.is_some_and(|user| lock(&simulator.written).contains(&user.text)) {
            return Err(Refusal::of(code::USER_LOCKED));
        }
    }
    simulator.change(|site| ship::carry_out(site, request, rules))
}
