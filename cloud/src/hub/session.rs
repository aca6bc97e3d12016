//! The task of one bridge's session: moves bytes between the socket, the session machine and the records.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use lockbridge_protocol::proto::tunnel::{Hello, NumberedReport, RefuseCode, Witness};
use lockbridge_protocol::tunnel::session::{Close, HubAction, HubEnd, HubEvent, HubSession, Refusal, Wanted};
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message};

use super::Hub;
use super::records::{self, AdmitError, Admitted, RecordError, Session};
use super::registry::{Live, Notice, Registration};
use crate::clock::now_ms;
use crate::enroll::Peer;
use crate::net::TlsConnection;
use crate::store::bridges;

/// A bridge that does not take bytes for this long is gone (rule D8).
const WRITE: Duration = Duration::from_secs(15);
/// For the close handshake: the bridge's own close after ours.
const CLOSING: Duration = Duration::from_secs(2);
/// When a second process with an identity may try again: the first one may be stopped by then.
const DUPLICATE_PAUSE: Duration = Duration::from_secs(60);
/// When to come back after our database failed.
const DATABASE_PAUSE: Duration = Duration::from_secs(15);

type Socket = WebSocketStream<TlsConnection>;

/// Why the task ends.
#[derive(Debug, Error)]
enum End {
    #[error(transparent)]
    Session(HubEnd),
    #[error("sending to the bridge: {0}")]
    Send(tungstenite::Error),
    #[error("the bridge took no bytes for {} s", WRITE.as_secs())]
    SendStalled,
    #[error("another session of this bridge took its place")]
    Replaced,
}

/// Runs a session to its end.
pub(super) async fn run(hub: Hub, socket: Socket, peer: Peer, address: SocketAddr) {
    let bridge_id = peer.bridge_id.clone();
    let machine = HubSession::new(hub.settings(), bridge_id.clone(), rand::random(), hub.now());
    let mut task = Task { hub, socket, peer, machine, entry: None, open: None, hello: None, challenge: None };
    let Err(end) = task.live().await;
    tracing::info!(%bridge_id, %address, epoch = task.machine.epoch(), %end, "A session ended.");
    Box::pin(task.finish(&end)).await;
}

struct Task {
    hub: Hub,
    socket: Socket,
    peer: Peer,
    machine: HubSession,
    /// From Hello on.
    entry: Option<Registration>,
    /// From admission on.
    open: Option<Open>,
    /// Between admission and opening.
    hello: Option<Hello>,
    /// A ping whose pong proves that the bridge lives, and who asked.
    challenge: Option<([u8; 8], oneshot::Sender<()>)>,
}

struct Open {
    session: Session,
    audit_key: Arc<[u8]>,
    /// Whether the link was reported up.
    linked: bool,
    /// Whether commands may be waiting that were not yet looked for.
    look: bool,
}

enum Input {
    Socket(Option<Result<Message, tungstenite::Error>>),
    Notice(Notice),
    Wake,
    Cut,
    Timer,
}

impl Task {
    async fn live(&mut self) -> Result<std::convert::Infallible, End> {
        loop {
            match self.next().await {
                Input::Cut => return Err(End::Replaced),
                Input::Timer => self.handle(HubEvent::Timer).await?,
                Input::Wake => self.look(),
                Input::Notice(Notice::Challenge(answer)) => {
                    let nonce: [u8; 8] = rand::random();
                    self.send(vec![Message::Ping(Bytes::copy_from_slice(&nonce))]).await?;
                    self.challenge = Some((nonce, answer));
                }
                Input::Notice(Notice::Drain { from_s, to_s }) => self.handle(HubEvent::Drain { from_s, to_s }).await?,
                Input::Notice(Notice::Revoked) => {
                    let refusal = Refusal::new(RefuseCode::IdentityRevoked, "this bridge was revoked; enroll it anew");
                    self.handle(HubEvent::Refuse(refusal)).await?;
                }
                Input::Notice(Notice::Quarantine(holds)) => {
                    // What was held back may be due now.
                    self.look();
                    self.handle(HubEvent::Quarantine(holds, now_ms())).await?;
                    self.note_told();
                }
                Input::Socket(Some(Ok(message))) => self.receive(message).await?,
                Input::Socket(Some(Err(tungstenite::Error::Capacity(error)))) => {
                    let close = Close::new(1009, &error.to_string());
                    self.close(&close).await;
                    self.handle(HubEvent::Disconnected(close.reason)).await?;
                }
                Input::Socket(Some(Err(error))) => self.handle(HubEvent::Disconnected(error.to_string())).await?,
                Input::Socket(None) => self.handle(HubEvent::Disconnected("closed by the bridge".to_owned())).await?,
            }
            self.deliver().await?;
        }
    }

    fn note_told(&self) {
        if let Some(entry) = &self.entry {
            entry.told(self.machine.quarantine());
        }
    }

    async fn next(&mut self) -> Input {
        let now = self.hub.now();
        let wait = self.machine.deadline().map_or(Duration::ZERO, |at| at.saturating_sub(now));
        let Some(entry) = &mut self.entry else {
            return tokio::select! {
                message = self.socket.next() => Input::Socket(message),
                () = sleep(wait) => Input::Timer,
            };
        };
        tokio::select! {
            biased;
            () = entry.cut.cancelled() => Input::Cut,
            Some(notice) = entry.notices.recv() => Input::Notice(notice),
            message = self.socket.next() => Input::Socket(message),
            () = sleep(wait) => Input::Timer,
            () = entry.wake.notified() => Input::Wake,
        }
    }

    async fn receive(&mut self, message: Message) -> Result<(), End> {
        match message {
            Message::Binary(bytes) => self.handle(HubEvent::Message(&bytes)).await,
            Message::Text(_) => self.handle(HubEvent::Text).await,
            Message::Pong(payload) => {
                if let Some((_, answer)) = self.challenge.take_if(|(nonce, _)| payload.as_ref() == nonce.as_slice()) {
                    // Who asked may have stopped waiting.
                    answer.send(()).ok();
                }
                self.handle(HubEvent::Alive).await
            }
            Message::Close(frame) => {
                let detail = frame.map_or_else(|| "closed by the bridge".to_owned(), |frame| frame.to_string());
                self.handle(HubEvent::Disconnected(detail)).await
            }
            Message::Ping(_) | Message::Frame(_) => self.handle(HubEvent::Alive).await,
        }
    }

    /// Feeds the machine and does what it says, in order, and what that leads to.
    async fn handle(&mut self, event: HubEvent<'_>) -> Result<(), End> {
        let actions = self.machine.handle(event, self.hub.now());
        self.act(actions).await
    }

    async fn act(&mut self, actions: Vec<HubAction>) -> Result<(), End> {
        let mut actions = VecDeque::from(actions);
        let mut outgoing = Vec::new();
        while let Some(action) = actions.pop_front() {
            match action {
                HubAction::Send(bytes) => outgoing.push(Message::Binary(bytes)),
                HubAction::Ping => outgoing.push(Message::Ping(Bytes::new())),
                HubAction::Close(close, end) => {
                    // Refusals are heard; a peer that is gone hears nothing, and that is no second failure.
                    if self.send(std::mem::take(&mut outgoing)).await.is_ok() {
                        self.close(&close).await;
                    }
                    return Err(End::Session(end));
                }
                other => {
                    // Boxed, as everything that is rare: what an idle session costs is the size of this task.
                    for event in Box::pin(self.record(other)).await? {
                        actions.extend(self.machine.handle(event, self.hub.now()));
                    }
                }
            }
        }
        self.send(outgoing).await
    }

    /// Does what the machine cannot; what it is to be told of it.
    async fn record(&mut self, action: HubAction) -> Result<Vec<HubEvent<'static>>, End> {
        if let HubAction::Hello(hello) = action {
            return Ok(vec![self.admit(*hello).await]);
        }
        let Some(open) = &mut self.open else { return Ok(Vec::new()) };
        let (parts, session, now) = (&self.hub.0.parts, open.session.clone(), now_ms());
        let done = match action {
            HubAction::Opened => {
                let Some(hello) = self.hello.take() else { return Ok(Vec::new()) };
                open.look = true;
                let opened = records::opened(&parts.store, &parts.ingest, now, session, hello).await;
                open.linked = opened.is_ok();
                if let Some(entry) = &self.entry {
                    entry.told(self.machine.quarantine());
                }
                if opened.is_ok() {
                    let (bridge_id, epoch) = (&open.session.bridge_id, open.session.epoch);
                    tracing::info!(%bridge_id, epoch, "A session opened.");
                }
                opened
            }
            HubAction::Reports(batch) => return Ok(self.reports(batch).await),
            HubAction::ReportsMissing(first, last) => {
                records::reports_missing(&parts.store, now, session, first, last).await
            }
            HubAction::CommandsDurable(through) => records::commands_durable(&parts.store, now, session, through).await,
            HubAction::Heartbeat(figures) => records::heartbeat(&parts.store, now, session, figures).await,
            HubAction::Health(health) => {
                // What was lost may be asked for anew.
                open.look = true;
                let ranges = health.lost.clone();
                let holds = records::health(&parts.store, &parts.ingest, now, session.clone(), health).await;
                let lost = match &holds {
                    Ok(_) => records::lost(&parts.store, &parts.ingest, now, session, ranges).await,
                    Err(_) => Ok(None),
                };
                match (holds, lost) {
                    (Ok(holds), Ok(lost)) => {
                        let told = std::iter::once(HubEvent::Quarantine(holds, now));
                        return Ok(told.chain(lost.map(HubEvent::LostCommands)).collect());
                    }
                    (Err(error), _) | (_, Err(error)) => Err(error),
                }
            }
            HubAction::LaneGap(gap) => {
                open.look = true;
                records::lane_gap(&parts.store, now, session, gap).await.map(|_| ())
            }
            HubAction::Credit { reason, .. } => {
                open.look = true;
                if !reason.is_empty() {
                    tracing::debug!(bridge_id = %session.bridge_id, reason, "A bridge holds back credit.");
                }
                Ok(())
            }
            HubAction::HeartbeatDue => return Ok(vec![HubEvent::Heartbeat(now)]),
            HubAction::BridgeDraining
            | HubAction::Hello(_)
            | HubAction::Send(_)
            | HubAction::Ping
            | HubAction::Close(..) => Ok(()),
        };
        Ok(done.err().map(|error| failure(&error)).into_iter().collect())
    }

    /// Gives the bridge to this session, unless an older one of another process is alive (rule H9).
    async fn admit(&mut self, hello: Hello) -> HubEvent<'static> {
        let bridge_id = self.peer.bridge_id.clone();
        let registry = &self.hub.0.registry;
        let mut entry = registry.claim(&bridge_id, &hello.boot_nonce, None);
        while let Err(old) = entry {
            if old.boot_nonce != hello.boot_nonce && old.answers().await {
                let message = "another process with this identity is connected and answers; is the state a copy?";
                self.duplicate(&old, message).await;
                let mut refusal = Refusal::new(RefuseCode::DuplicateSession, message);
                refusal.retry_after = Some(DUPLICATE_PAUSE);
                return HubEvent::Refuse(refusal);
            }
            old.cut();
            entry = registry.claim(&bridge_id, &hello.boot_nonce, Some(&old));
        }
        self.entry = entry.ok();
        match records::admit(&self.hub.0.parts.store, now_ms(), self.peer.clone(), &hello).await {
            Ok(Admitted { session, audit_key, admission }) => {
                self.open = Some(Open { session, audit_key: audit_key.into(), linked: false, look: false });
                self.hello = Some(hello);
                HubEvent::Admit(Box::new(admission))
            }
            Err(AdmitError::Refused(refusal)) => HubEvent::Refuse(refusal),
            Err(AdmitError::Store(error)) => failure(&error.into()),
        }
    }

    async fn reports(&mut self, batch: Vec<NumberedReport>) -> Vec<HubEvent<'static>> {
        // What the resource model makes of a report can be a command.
        self.look();
        let (Some(open), Some(last)) = (&self.open, batch.last().map(|report| report.sequence)) else {
            return Vec::new();
        };
        let parts = &self.hub.0.parts;
        let (session, key) = (open.session.clone(), Arc::clone(&open.audit_key));
        match records::reports(&parts.store, &parts.ingest, now_ms(), session, key, batch).await {
            Ok(witnessed) => {
                let witness = |seen: records::Witnessed| {
                    let witness = Some(parts.authority.countersign(&seen.checkpoint));
                    HubEvent::Witness(Witness { report_sequence: seen.report_sequence, witness })
                };
                std::iter::once(HubEvent::ReportsDurable(last)).chain(witnessed.into_iter().map(witness)).collect()
            }
            Err(error) => {
                if matches!(error, RecordError::Report { .. }) {
                    self.alarm("report_invalid", &error.to_string()).await;
                }
                vec![failure(&error)]
            }
        }
    }

    fn look(&mut self) {
        if let Some(open) = &mut self.open {
            open.look = true;
        }
    }

    /// Sends what is wanted and exists: first what was numbered before, then what waits.
    async fn deliver(&mut self) -> Result<(), End> {
        while let Some(open) = &mut self.open {
            let (store, session) = (&self.hub.0.parts.store, open.session.clone());
            let found = match self.machine.wanted() {
                Wanted::Nothing => return Ok(()),
                Wanted::Resend { from, through } => {
                    let found = Box::pin(records::numbered(store, session.bridge_id, from, through)).await;
                    found.map_err(RecordError::from)
                }
                Wanted::New { .. } if !open.look => return Ok(()),
                Wanted::New { from, room } => {
                    // Before the query: a wake-up in between makes it look once more.
                    open.look = false;
                    let found = Box::pin(records::next_deliveries(store, session, from, room)).await;
                    open.look |= found.as_ref().is_ok_and(|found| !found.is_empty());
                    found
                }
            };
            let deliveries = match found {
                Ok(deliveries) if deliveries.is_empty() => return Ok(()),
                Ok(deliveries) => deliveries,
                Err(error) => return self.handle(failure(&error)).await,
            };
            match self.machine.deliver(deliveries) {
                Ok((0, actions)) => return self.act(actions).await,
                Ok((_, actions)) => self.act(actions).await?,
                Err(error) => {
                    tracing::error!(bridge_id = %self.peer.bridge_id, %error, "Deliveries do not fit the session.");
                    let refusal = Refusal::new(RefuseCode::Busy, "the cloud's outbox is damaged");
                    return self.handle(HubEvent::Refuse(refusal)).await;
                }
            }
        }
        Ok(())
    }

    async fn send(&mut self, messages: Vec<Message>) -> Result<(), End> {
        if messages.is_empty() {
            return Ok(());
        }
        let sending = async {
            for message in messages {
                self.socket.feed(message).await?;
            }
            self.socket.flush().await
        };
        timeout(WRITE, sending).await.map_err(|_| End::SendStalled)?.map_err(End::Send)
    }

    /// Says goodbye, and waits a little for the answer so that what was said is read.
    async fn close(&mut self, close: &Close) {
        let frame = CloseFrame { code: close.code.into(), reason: close.reason.as_str().into() };
        let closing = async {
            if self.socket.close(Some(frame)).await.is_ok() {
                while let Some(Ok(_)) = self.socket.next().await {}
            }
        };
        // Whoever does not answer is simply dropped.
        drop(timeout(CLOSING, closing).await);
    }

    /// Both are held until people decide which one is right: the one that is here is told now, the other by the refusal.
    async fn duplicate(&self, here: &Live, message: &str) {
        let bridge_id = self.peer.bridge_id.clone();
        tracing::warn!(%bridge_id, message, "An identity is used twice.");
        let store = &self.hub.0.parts.store;
        match records::duplicate(store, now_ms(), bridge_id, message.to_owned()).await {
            Ok(holds) => here.quarantine(Some(&holds)),
            Err(error) => tracing::error!(%error, "A quarantine could not be recorded."),
        }
    }

    async fn alarm(&self, code: &'static str, message: &str) {
        let (bridge_id, message) = (self.peer.bridge_id.clone(), message.to_owned());
        tracing::warn!(%bridge_id, code, message, "A bridge raised an alarm.");
        let write =
            move |tx: &rusqlite::Transaction<'_>| bridges::alarm(tx, now_ms(), Some(&bridge_id), code, &message);
        if let Err(error) = self.hub.0.parts.store.write(write).await {
            tracing::error!(%error, "An alarm could not be recorded.");
        }
    }

    async fn finish(mut self, end: &End) {
        if let End::Session(HubEnd::Refused(refusal)) = end
            && refusal.code == RefuseCode::StateRolledBack
        {
            self.alarm("state_rolled_back", &refusal.message).await;
        }
        // The entry goes first: who asks whether the bridge is there is told no before the records say so.
        drop(self.entry.take());
        let Some(open) = self.open.take().filter(|open| open.linked) else { return };
        let parts = &self.hub.0.parts;
        match records::ended(&parts.store, &parts.ingest, now_ms(), open.session).await {
            Ok(()) | Err(RecordError::Superseded) => {}
            Err(error) => tracing::error!(%error, bridge_id = %self.peer.bridge_id, "A link's end was not recorded."),
        }
    }
}

fn failure(error: &RecordError) -> HubEvent<'static> {
    match error {
        RecordError::Superseded => HubEvent::Disconnected(error.to_string()),
        RecordError::Report { .. } => HubEvent::Refuse(Refusal::new(RefuseCode::ProtocolViolation, error.to_string())),
        RecordError::Store(_) => {
            tracing::error!(%error, "A session's records failed.");
            let mut refusal = Refusal::new(RefuseCode::Busy, "the cloud's database does not answer");
            refusal.retry_after = Some(DATABASE_PAUSE);
            HubEvent::Refuse(refusal)
        }
    }
}
