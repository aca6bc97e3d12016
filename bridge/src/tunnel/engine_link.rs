//! What the session hands to the engine: in order, one request at a time, without ever stopping the session's own timers.

use std::collections::VecDeque;
use std::future::pending;

use futures_util::future::BoxFuture;
use lockbridge_protocol::proto::tunnel::Quarantine;

use crate::dispatch::{ControlError, EngineHandle, EngineRequest};

/// Something the engine did for the session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LinkEvent {
    /// It took a request.
    Taken,
    /// The epoch is durable.
    Opened,
    /// It stopped.
    Stopped,
}

/// The way to the engine. While it is not idle, the session reads nothing more from the hub, which bounds the queue to what
/// one message brings.
pub(super) struct EngineLink {
    engine: EngineHandle,
    waiting: VecDeque<EngineRequest>,
    sending: Option<BoxFuture<'static, Result<(), ControlError>>>,
    opening: Option<BoxFuture<'static, Result<(), ControlError>>>,
}

impl EngineLink {
    pub(super) fn new(engine: EngineHandle) -> Self {
        Self { engine, waiting: VecDeque::new(), sending: None, opening: None }
    }

    /// Queues a request behind those before it.
    pub(super) fn queue(&mut self, request: EngineRequest) {
        self.waiting.push_back(request);
    }

    /// Asks the engine to make the epoch durable; [`LinkEvent::Opened`] follows.
    pub(super) fn open(&mut self, epoch: u64, reports_durable_through: u64, quarantine: Option<Quarantine>) {
        let engine = self.engine.clone();
        self.opening = Some(Box::pin(async move {
            let opened = |done| EngineRequest::SessionOpened { epoch, reports_durable_through, quarantine, done };
            engine.ask(opened).await
        }));
    }

    /// Whether the engine has taken all that was queued.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.sending.is_none()
    }

    /// Waits for the next event; nothing is lost when the wait is given up.
    pub(super) async fn next(&mut self) -> LinkEvent {
        if self.sending.is_none()
            && let Some(request) = self.waiting.pop_front()
        {
            let engine = self.engine.clone();
            self.sending = Some(Box::pin(async move { engine.send(request).await }));
        }
        let (result, event) = tokio::select! {
            result = or_never(&mut self.opening) => (result, LinkEvent::Opened),
            result = or_never(&mut self.sending) => (result, LinkEvent::Taken),
        };
        result.map_or(LinkEvent::Stopped, |()| event)
    }
}

async fn or_never<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(running) => {
            let value = running.await;
            *future = None;
            value
        }
        None => pending().await,
    }
}
