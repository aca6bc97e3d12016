//! A hub around [`HubSession`], with a database in memory that outlives its sessions.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use lockbridge_protocol::proto::tunnel::{
    Command, Delivery, HubFrame, Priority, PutUser, Quarantine, Signed, command, hub_frame,
};
use lockbridge_protocol::tunnel::session::{
    Admission, HubAction, HubEnd, HubEvent, HubSession, HubSettings, Refusal, Wanted, priority_of, slot,
};
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Message, http::HeaderValue};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use crate::tunnel::websocket::SUBPROTOCOL;

#[derive(Debug, Default)]
pub(super) struct HubState {
    commands: Vec<Signed>,
    numbered: u64,
    pub(super) acknowledged: u64,
    pub(super) epoch: u64,
    pub(super) opened: usize,
    pub(super) reports: Vec<u64>,
    /// Reports arrive and are lost before they are stored.
    pub(super) forget_reports: bool,
    pub(super) reports_seen: usize,
    pub(super) refuse: Option<Refusal>,
    pub(super) quarantine: Option<Quarantine>,
    /// What the bridge told of its own quarantine.
    pub(super) health: Vec<Option<Quarantine>>,
    pub(super) clock_ahead_ms: i64,
    pub(super) ends: Vec<HubEnd>,
    pub(super) closes: Vec<(u16, String)>,
}

/// What a test tells a session that is up.
#[derive(Debug)]
pub(super) enum Tell {
    Look,
    Raw(HubFrame),
    Bytes(Vec<u8>),
    Cut,
    /// From now on neither reads nor writes, and keeps the connection.
    Freeze,
    /// The operator decided.
    Quarantine(Quarantine),
}

#[derive(Debug, Clone)]
pub(super) struct Hub {
    state: Arc<Mutex<HubState>>,
    session: Arc<Mutex<Option<mpsc::Sender<Tell>>>>,
    started: Instant,
}

pub(super) fn deliver(sequence: u64) -> Delivery {
    let command = Command {
        version: 1,
        lane_sequence: sequence,
        body: Some(command::Body::PutUser(PutUser::default())),
        ..Command::default()
    };
    let signed = Signed { payload_type: "t".into(), payload: command.encode_to_vec(), signatures: Vec::new() };
    Delivery { delivery_sequence: sequence, command: Some(signed) }
}

pub(super) fn frame(epoch: u64, deliveries: Vec<Delivery>) -> HubFrame {
    let batch = lockbridge_protocol::proto::tunnel::DeliveryBatch { deliveries };
    HubFrame { epoch, body: Some(hub_frame::Body::Deliveries(batch)) }
}

impl Hub {
    pub(super) fn new() -> Self {
        Self { state: Arc::default(), session: Arc::default(), started: Instant::now() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, HubState> {
        self.state.lock().unwrap()
    }

    /// Queues `count` more commands.
    pub(super) async fn command(&self, count: u64) {
        {
            let mut state = self.state();
            for _ in 0..count {
                let sequence = state.commands.len() as u64 + 1;
                state.commands.extend(deliver(sequence).command);
            }
        }
        self.tell(Tell::Look).await;
    }

    pub(super) async fn tell(&self, tell: Tell) {
        let session = self.session.lock().unwrap().clone();
        session.expect("a session was up").send(tell).await.expect("the session is up");
    }

    /// Upgrades a connection and speaks until the session ends.
    #[expect(clippy::result_large_err, reason = "the callback's type is the library's")]
    pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) {
        let callback = |request: &Request, mut response: Response| {
            assert_eq!(request.headers().get("sec-websocket-protocol").unwrap(), SUBPROTOCOL);
            assert_eq!(request.uri().path(), "/v1/tunnel");
            response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
            Ok(response)
        };
        let socket = accept_hdr_async(stream, callback).await.unwrap();
        let (teller, told) = mpsc::channel(16);
        *self.session.lock().unwrap() = Some(teller);
        self.speak(socket, told).await;
    }

    fn now(&self) -> Duration {
        Duration::from_secs(500) + self.started.elapsed()
    }

    async fn speak<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut socket: WebSocketStream<S>,
        mut told: mpsc::Receiver<Tell>,
    ) {
        let settings = HubSettings { report_window: 4, ..HubSettings::default() };
        let mut session = HubSession::new(settings, "bridge-1", 3, self.now());
        loop {
            let Some(deadline) = session.deadline() else { return };
            let actions = tokio::select! {
                () = sleep(deadline.saturating_sub(self.now())) => session.handle(HubEvent::Timer, self.now()),
                tell = told.recv() => match tell {
                    None | Some(Tell::Look) => Vec::new(),
                    Some(Tell::Raw(frame)) => vec![HubAction::Send(frame.encode_to_vec().into())],
                    Some(Tell::Bytes(bytes)) => vec![HubAction::Send(bytes.into())],
                    Some(Tell::Cut) => return,
                    Some(Tell::Quarantine(holds)) => {
                        session.handle(HubEvent::Quarantine(Some(holds), super::WALL_MS), self.now())
                    }
                    Some(Tell::Freeze) => std::future::pending().await,
                },
                message = socket.next() => match message {
                    Some(Ok(Message::Binary(bytes))) => session.handle(HubEvent::Message(&bytes), self.now()),
                    Some(Ok(Message::Close(frame))) => {
                        let frame = frame.expect("our bridge gives a reason");
                        self.state().closes.push((frame.code.into(), frame.reason.to_string()));
                        session.handle(HubEvent::Disconnected("closed".into()), self.now())
                    }
                    Some(Ok(_)) => session.handle(HubEvent::Alive, self.now()),
                    _ => session.handle(HubEvent::Disconnected("lost".into()), self.now()),
                },
            };
            let mut todo = std::collections::VecDeque::from(actions);
            loop {
                while let Some(action) = todo.pop_front() {
                    if !self.act(action, &mut session, &mut socket, &mut todo).await {
                        return;
                    }
                }
                let offered = self.offer(session.wanted());
                if offered.is_empty() {
                    break;
                }
                todo.extend(session.deliver(offered).unwrap().1);
            }
        }
    }

    fn offer(&self, wanted: Wanted) -> Vec<Delivery> {
        let mut state = self.state();
        let (from, through) = match wanted {
            Wanted::Nothing => return Vec::new(),
            Wanted::Resend { from, through } => (from, through),
            Wanted::New { from, room } => {
                let room = room[slot(Priority::Convergent)];
                let through = (state.commands.len() as u64).min(from - 1 + room);
                state.numbered = through;
                (from, through)
            }
        };
        let offered: Vec<_> = (from..=through).map(deliver).collect();
        assert!(offered.iter().all(|delivery| priority_of(delivery) == Priority::Convergent));
        offered
    }

    async fn act<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        action: HubAction,
        session: &mut HubSession,
        socket: &mut WebSocketStream<S>,
        todo: &mut std::collections::VecDeque<HubAction>,
    ) -> bool {
        match action {
            HubAction::Send(bytes) => return socket.send(Message::Binary(bytes)).await.is_ok(),
            HubAction::Ping => return socket.send(Message::Ping(Vec::new().into())).await.is_ok(),
            HubAction::Hello(hello) => {
                assert_eq!(hello.bridge_id, "bridge-1");
                let mut state = self.state();
                state.epoch += 1;
                let event = match state.refuse.take() {
                    Some(refusal) => HubEvent::Refuse(refusal),
                    None => HubEvent::Admit(Box::new(Admission {
                        epoch: state.epoch,
                        deliveries_sent_through: state.numbered,
                        deliveries_durable_through: state.acknowledged,
                        reports_durable_through: state.reports.len() as u64,
                        store: None,
                        epoch_heard: 0,
                        quarantine: state.quarantine.clone(),
                        hub_time_ms: super::WALL_MS + state.clock_ahead_ms,
                        workspace_id: "w".into(),
                        workspace_name: "Example".into(),
                    })),
                };
                drop(state);
                todo.extend(session.handle(event, self.now()));
            }
            HubAction::CommandsDurable(through) => self.state().acknowledged = through,
            HubAction::Reports(reports) => {
                let mut state = self.state();
                state.reports_seen += reports.len();
                if state.forget_reports {
                    return true;
                }
                for report in reports {
                    let payload = report.report.unwrap().payload;
                    assert_eq!(payload, report.sequence.to_be_bytes(), "signed as it was made");
                    state.reports.push(report.sequence);
                }
                let through = state.reports.len() as u64;
                drop(state);
                todo.extend(session.handle(HubEvent::ReportsDurable(through), self.now()));
            }
            HubAction::HeartbeatDue => {
                let time_ms = super::WALL_MS + self.state().clock_ahead_ms;
                todo.extend(session.handle(HubEvent::Heartbeat(time_ms), self.now()));
            }
            HubAction::Health(health) => self.state().health.push(health.quarantine),
            HubAction::Opened => self.state().opened += 1,
            HubAction::Close(close, end) => {
                let frame = CloseFrame { code: close.code.into(), reason: close.reason.into() };
                // The bridge may be gone already.
                socket.send(Message::Close(Some(frame))).await.unwrap_or_default();
                self.state().ends.push(end);
                return false;
            }
            HubAction::ReportsMissing(..)
            | HubAction::Credit { .. }
            | HubAction::Heartbeat(_)
            | HubAction::LaneGap(_)
            | HubAction::BridgeDraining => {}
        }
        true
    }
}
