//! A bridge as a script: the real session machine, a state in memory, and no engine behind it.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use lockbridge_protocol::proto::tunnel::{
    BridgeHeartbeat, Delivery, Hello, LockSystemDescription, LostCommands, NumberedReport, Quarantine, Report, Signed,
    Witness, report,
};
use lockbridge_protocol::tunnel::session::{BridgeAction, BridgeEnd, BridgeEvent, BridgeSession};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};

use super::{Bench, DEADLINE, Identity};

/// What a bridge keeps over its sessions.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) store_id: Vec<u8>,
    pub(crate) boot_nonce: Vec<u8>,
    pub(crate) journal_sequence: u64,
    pub(crate) commands_durable: u64,
    pub(crate) reports: Vec<Signed>,
    pub(crate) highest_epoch: u64,
    pub(crate) credit: [u64; 4],
    pub(crate) quarantine: Option<Quarantine>,
    pub(crate) quarantine_left: u64,
}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            store_id: vec![1; 16],
            boot_nonce: vec![1; 16],
            journal_sequence: 10,
            commands_durable: 0,
            reports: Vec::new(),
            highest_epoch: 0,
            credit: [100; 4],
            quarantine: None,
            quarantine_left: 0,
        }
    }

    /// Adds the next report to the outbox.
    pub(crate) fn report(&mut self, identity: &Identity, body: report::Body) {
        let report = Report {
            version: 1,
            bridge_id: identity.bridge_id.clone(),
            store_id: self.store_id.clone(),
            sequence: self.last_report() + 1,
            occurred_at_ms: 1,
            body: Some(body),
        };
        self.reports.push(identity.sign(&report));
    }

    pub(crate) fn last_report(&self) -> u64 {
        self.reports.len().try_into().expect("is small")
    }

    fn hello(&self, identity: &Identity) -> Hello {
        Hello {
            version_minimum: 1,
            version_maximum: 1,
            bridge_id: identity.bridge_id.clone(),
            store_id: self.store_id.clone(),
            boot_counter: 1,
            boot_nonce: self.boot_nonce.clone(),
            journal_sequence: self.journal_sequence,
            commands_durable_through: self.commands_durable,
            reports_first_kept: 1,
            reports_last: self.last_report(),
            highest_epoch_seen: self.highest_epoch,
            software_version: "0.1.0".into(),
            bridge_time_ms: 1,
            quarantine: self.quarantine.clone(),
            quarantine_left: self.quarantine_left,
            lock_systems: vec![LockSystemDescription {
                lock_system: "space".into(),
                kind: "salto_space".into(),
                display_name: "Space".into(),
                time_zone: "Europe/Berlin".into(),
            }],
        }
    }
}

pub(crate) type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// One session of a scripted bridge.
pub(crate) struct Script {
    pub(crate) socket: Socket,
    machine: BridgeSession,
    started: Instant,
    pub(crate) state: State,
    pub(crate) delivered: Vec<Delivery>,
    pub(crate) reports_durable: u64,
    pub(crate) witnesses: Vec<Witness>,
    /// As the hub told it last.
    pub(crate) quarantine: Option<Quarantine>,
    /// Answers for what was told as lost.
    pub(crate) lost: Vec<LostCommands>,
}

impl Bench {
    /// The websocket to `/v1/tunnel`, before any frame.
    pub(crate) async fn websocket(&self, identity: Option<&Identity>) -> Result<Socket, tungstenite::Error> {
        let stream = self.tls(identity).await?;
        let mut request = "wss://localhost/v1/tunnel".into_client_request().expect("is a request");
        let protocol = "lockbridge.tunnel.v1".parse().expect("is a value");
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let (socket, _) =
            timeout(DEADLINE, tokio_tungstenite::client_async(request, stream)).await.expect("in time")?;
        Ok(socket)
    }

    /// A session up to its Welcome.
    pub(crate) async fn connect(&self, identity: &Identity, state: State) -> Result<Script, BridgeEnd> {
        let socket = self.websocket(Some(identity)).await.expect("upgrades");
        let started = Instant::now();
        let (machine, hello) = BridgeSession::open(state.hello(identity), 1, Duration::ZERO).expect("is a Hello");
        let mut script = Script {
            socket,
            machine,
            started,
            state,
            delivered: Vec::new(),
            reports_durable: 0,
            witnesses: Vec::new(),
            quarantine: None,
            lost: Vec::new(),
        };
        script.act(vec![hello]).await?;
        script.until(|script| script.machine.is_open()).await?;
        Ok(script)
    }
}

impl Script {
    /// Takes what comes until something holds, or the session ends.
    pub(crate) async fn until(&mut self, holds: impl Fn(&Self) -> bool) -> Result<(), BridgeEnd> {
        let waiting = async {
            while !holds(self) {
                self.step().await?;
            }
            Ok(())
        };
        timeout(DEADLINE, waiting).await.expect("holds in time")
    }

    /// Takes what comes until the session ends.
    pub(crate) async fn until_the_end(&mut self) -> BridgeEnd {
        self.until(|_| false).await.expect_err("ends")
    }

    /// Waits for one message and does what follows.
    pub(crate) async fn step(&mut self) -> Result<(), BridgeEnd> {
        let wait = self.machine.deadline().unwrap_or_default().saturating_sub(self.started.elapsed());
        let Ok(message) = timeout(wait, self.socket.next()).await else {
            return self.handle(BridgeEvent::Timer).await;
        };
        match message {
            Some(Ok(Message::Binary(bytes))) => self.handle(BridgeEvent::Message(&bytes)).await,
            Some(Ok(Message::Close(frame))) => {
                let text = frame.map_or_else(String::new, |frame| format!("{} {}", frame.code, frame.reason));
                self.handle(BridgeEvent::Disconnected(text)).await
            }
            Some(Ok(_)) => {
                // Flushes the pong that answers a ping.
                self.socket.flush().await.ok();
                self.handle(BridgeEvent::Alive).await
            }
            Some(Err(error)) => self.handle(BridgeEvent::Disconnected(error.to_string())).await,
            None => self.handle(BridgeEvent::Disconnected("closed".into())).await,
        }
    }

    /// Says that every delivery so far has a durable decision.
    pub(crate) async fn acknowledge(&mut self, through: u64) -> Result<(), BridgeEnd> {
        self.state.commands_durable = through;
        self.handle(BridgeEvent::CommandsDurable(through)).await
    }

    /// Sends the reports of the outbox and waits until the hub has them.
    pub(crate) async fn send_reports(&mut self) -> Result<(), BridgeEnd> {
        let last = self.state.last_report();
        self.handle(BridgeEvent::ReportsMade(last)).await?;
        while let Some(wanted) = self.machine.reports_wanted() {
            let from = usize::try_from(wanted.from - 1).expect("is small");
            let numbered = (wanted.from..).zip(&self.state.reports[from..]).take(wanted.count);
            let reports =
                numbered.map(|(sequence, report)| NumberedReport { sequence, report: Some(report.clone()) }).collect();
            self.handle(BridgeEvent::Reports(reports)).await?;
        }
        self.until(|script| script.reports_durable == last).await
    }

    pub(crate) async fn handle(&mut self, event: BridgeEvent<'_>) -> Result<(), BridgeEnd> {
        let actions = self.machine.handle(event, self.started.elapsed());
        self.act(actions).await
    }

    async fn act(&mut self, actions: Vec<BridgeAction>) -> Result<(), BridgeEnd> {
        for action in actions {
            match action {
                BridgeAction::Send(bytes) => self.socket.send(Message::Binary(bytes)).await.expect("is sent"),
                BridgeAction::Ping => self.socket.send(Message::Ping(vec![].into())).await.expect("is sent"),
                BridgeAction::Welcomed(welcomed) => {
                    self.state.highest_epoch = welcomed.epoch;
                    self.quarantine = welcomed.quarantine;
                    self.reports_durable = welcomed.reports_durable_through;
                    let credit = self.state.credit;
                    let mut next = self.machine.handle(BridgeEvent::EpochDurable, self.started.elapsed());
                    next.extend(self.machine.handle(BridgeEvent::Credit(credit, ""), self.started.elapsed()));
                    Box::pin(self.act(next)).await?;
                }
                BridgeAction::Deliver(deliveries) => self.delivered.extend(deliveries),
                BridgeAction::ReportsDurable(through) => self.reports_durable = through,
                BridgeAction::Witness(witness) => self.witnesses.push(witness),
                BridgeAction::Quarantine(told) => self.quarantine = Some(told),
                BridgeAction::LostCommands(lost) => self.lost.push(lost),
                BridgeAction::HeartbeatDue => {
                    let figures =
                        BridgeHeartbeat { journal_sequence: self.state.journal_sequence, ..BridgeHeartbeat::default() };
                    let next = self.machine.handle(BridgeEvent::Heartbeat(figures), self.started.elapsed());
                    Box::pin(self.act(next)).await?;
                }
                BridgeAction::HubTime(_) => {}
                BridgeAction::Close(_, end) => return Err(end),
            }
        }
        Ok(())
    }
}
