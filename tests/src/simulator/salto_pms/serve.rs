//! The exchange on a line: ENQ, message, acknowledgement, work, answer.
//!
//! One client at a time on a line. Work goes on in a task of its own, so that the line is heard meanwhile: a server that works
//! says NAK to ENQ.

use std::sync::Arc;
use std::time::Duration;

use lockbridge_protocol::line::Control;
use lockbridge_protocol::salto_pms::answer::Answer;
use lockbridge_protocol::salto_pms::audit::DateOrder;
use lockbridge_protocol::salto_pms::message::Message;
use lockbridge_protocol::salto_pms::request::{Received, Request, RequestError};
use lockbridge_protocol::salto_pms::server::{Server, ServerAction};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::Simulator;
use super::fault::{FaultKind, Stage};
use super::work::{Trail, perform, unreadable};
use crate::simulator::line::{Connection, Line};

/// Bytes of one frame never lie further apart.
pub(super) const SILENCE: Duration = Duration::from_secs(1);
/// Answers on their way to the line: one of the work in hand, and strays.
const OUTCOMES: usize = 16;

/// What a job hands to its line.
struct Outcome {
    /// Of the answer.
    body: Vec<u8>,
    how: Option<FaultKind>,
    trail: Trail,
}

/// Serves clients until the shutdown.
pub async fn run(mut line: Line, simulator: Arc<Simulator>) {
    let shutdown = simulator.shutdown.clone();
    loop {
        let connection = match shutdown.run_until_cancelled(line.next()).await {
            None => return,
            Some(Ok(connection)) => connection,
            Some(Err(error)) => {
                tracing::warn!(%error, "a client did not get through");
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        tracing::debug!(peer = connection.peer, "a client");
        match shutdown.run_until_cancelled(Exchange::new(&simulator, connection).run()).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::debug!(%error, "a client went away"),
        }
    }
}

struct Exchange<'a> {
    simulator: &'a Arc<Simulator>,
    server: Server,
    reader: ReadHalf<DuplexStream>,
    writer: WriteHalf<DuplexStream>,
    trail: Trail,
    /// Answers of jobs, and bytes that come later.
    outcomes: (mpsc::Sender<Outcome>, mpsc::Receiver<Outcome>),
    strays: (mpsc::Sender<Vec<u8>>, mpsc::Receiver<Vec<u8>>),
    closes: bool,
    // Carries the bytes; the connection ends when it is dropped.
    _connection: Box<dyn Send>,
}

impl<'a> Exchange<'a> {
    fn new(simulator: &'a Arc<Simulator>, connection: Connection) -> Self {
        let (stream, rest) = connection.into_parts();
        let (reader, writer) = tokio::io::split(stream);
        Self {
            simulator,
            server: Server::new(simulator.settings.checksum),
            reader,
            writer,
            trail: Trail::default(),
            outcomes: mpsc::channel(OUTCOMES),
            strays: mpsc::channel(OUTCOMES),
            closes: false,
            _connection: Box::new(rest),
        }
    }

    async fn run(mut self) -> std::io::Result<()> {
        let mut buffer = [0; 1024];
        while !self.closes {
            let silence = Instant::now() + SILENCE;
            tokio::select! {
                read = self.reader.read(&mut buffer) => match read? {
                    0 => return Ok(()),
                    bytes => self.heard(buffer.get(..bytes).unwrap_or_default()).await?,
                },
                Some(outcome) = self.outcomes.1.recv() => self.answer(outcome).await?,
                Some(stray) = self.strays.1.recv() => self.writer.write_all(&stray).await?,
                () = sleep_until(silence), if self.server.is_inside_frame() => {
                    if self.server.abandon() {
                        self.writer.write_all(&[Control::Refuse.byte()]).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn heard(&mut self, mut input: &[u8]) -> std::io::Result<()> {
        loop {
            let (bytes, message) = match self.server.read(&mut input) {
                None => return Ok(()),
                Some(ServerAction::Control(control)) => (vec![control.byte()], None),
                Some(ServerAction::Repeat(frame)) => (frame.to_vec(), None),
                Some(ServerAction::Message(body)) => (Vec::new(), Some(body.to_vec())),
            };
            let Some(body) = message else {
                let is_ready = bytes == [Control::Acknowledge.byte()];
                let silent = is_ready && self.simulator.faults.take(Stage::Enquiry, "ENQ", None).is_some();
                if !silent {
                    self.writer.write_all(&bytes).await?;
                }
                continue;
            };
            self.message(&body).await?;
            if self.closes {
                return Ok(());
            }
        }
    }

    async fn message(&mut self, body: &[u8]) -> std::io::Result<()> {
        let received = Received::read(Message::read(body));
        let (command, encoder) = match &received {
            Ok(received) => (received.request.command(), received.request.encoder()),
            Err(_) => ("", None),
        };
        let faults = &self.simulator.faults;
        if faults.take(Stage::Offer, command, encoder).is_some() {
            let refused = self.server.refuse();
            return self.control(refused).await;
        }
        let accepted = self.server.accept();
        let (how, delay) = (faults.take(Stage::Answer, command, encoder), faults.take(Stage::Delay, command, encoder));
        let at_encoder = encoder.and_then(|encoder| faults.take(Stage::Encoder, command, Some(encoder)));
        self.control(accepted).await?;
        self.closes = matches!(how, Some(FaultKind::Close { .. }));
        let (simulator, mut trail, sender) = (Arc::clone(self.simulator), self.trail.clone(), self.outcomes.0.clone());
        self.simulator.jobs.spawn(async move {
            if let Some(FaultKind::Delay { milliseconds }) = delay {
                sleep(Duration::from_millis(milliseconds)).await;
            }
            let body = job(&simulator, received, how.as_ref(), at_encoder, &mut trail).await;
            if simulator.failed() {
                return;
            }
            if let Some(FaultKind::LateAnswer { milliseconds }) = how {
                sleep(Duration::from_millis(milliseconds)).await;
            }
            // The client may be gone; then nobody is told.
            let _nobody = sender.send(Outcome { body, how, trail }).await;
        });
        Ok(())
    }

    async fn control(&mut self, control: Option<Control>) -> std::io::Result<()> {
        match control {
            Some(control) => self.writer.write_all(&[control.byte()]).await,
            None => Ok(()),
        }
    }

    async fn answer(&mut self, outcome: Outcome) -> std::io::Result<()> {
        self.trail = outcome.trail;
        if matches!(outcome.how, Some(FaultKind::NeverAnswer { .. })) {
            // Idle, and nothing that a NAK could ask for.
            self.server = Server::new(self.simulator.settings.checksum);
            return Ok(());
        }
        let mut frame = self.server.answer(&outcome.body).map_err(std::io::Error::other)?.to_vec();
        match outcome.how {
            Some(FaultKind::DamagedAnswer) => {
                if let Some(byte) = frame.get_mut(2) {
                    *byte ^= 0x40;
                }
            }
            Some(FaultKind::HalfAnswer) => frame.truncate(frame.len() / 2),
            Some(FaultKind::StrayAnswer { milliseconds }) => {
                let later = self.strays.0.clone();
                self.simulator.jobs.spawn(async move {
                    sleep(Duration::from_millis(milliseconds)).await;
                    let _nobody = later.send(frame).await;
                });
                return Ok(());
            }
            _ => {}
        }
        self.writer.write_all(&frame).await
    }
}

/// The body of the answer.
async fn job(
    simulator: &Simulator,
    received: Result<Received, RequestError>,
    how: Option<&FaultKind>,
    at_encoder: Option<FaultKind>,
    trail: &mut Trail,
) -> Vec<u8> {
    let (answer, request) = match (received, how) {
        (Err(error), _) => (unreadable(&error), Request::Information),
        (Ok(received), Some(FaultKind::Refuse { code, text })) => {
            (super::work::refusal(&received.request, code, text), received.request)
        }
        (Ok(received), Some(FaultKind::NeverAnswer { perform: false } | FaultKind::Close { perform: false })) => {
            return written(&super::work::refusal(&received.request, "EG", ""), &received.request);
        }
        (Ok(received), _) => (perform(simulator, &received, at_encoder, trail).await, received.request),
    };
    written(&answer, &request)
}

fn written(answer: &Answer, request: &Request) -> Vec<u8> {
    answer.write(request, DateOrder::DayMonth).unwrap_or_else(|error| {
        tracing::warn!(%error, "an answer cannot be written");
        b"\xB3EG\xB3".to_vec()
    })
}
