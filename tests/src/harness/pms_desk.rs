//! A front desk that speaks SALTO's PMS protocol with the product's codec over the product's line: the smallest such client,
//! for tests of the simulator and of lines.

use std::time::Duration;

use lockbridge::link::{Line, LineError, Opener};
use lockbridge_protocol::line::Checksum;
use lockbridge_protocol::salto_pms::answer::Answer;
use lockbridge_protocol::salto_pms::audit::DateOrder;
use lockbridge_protocol::salto_pms::client::{
    Action, Client, Doubt, Exchange, NotBegun, Settings, SubmitError, Verdict,
};
use lockbridge_protocol::salto_pms::message::Message;
use lockbridge_protocol::salto_pms::request::Request;
use lockbridge_protocol::salto_pms::text::FieldError;
use thiserror::Error;
use tokio::time::Instant;

/// How an exchange ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// With this answer.
    Answered(Answer),
    /// The server never took it up.
    NotBegun(NotBegun),
    /// Nobody knows.
    Unknown(Doubt),
}

impl Ended {
    /// The code of a refusal; empty for everything else.
    pub fn code(&self) -> &str {
        match self {
            Self::Answered(Answer::Refused(refusal)) => &refusal.code,
            _ => "",
        }
    }

    /// Answered, and not refused.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Answered(answer) if !matches!(answer, Answer::Refused(_)))
    }
}

/// The exchange could not begin.
#[derive(Debug, Error)]
pub enum AskError {
    /// A field of the request.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The line is held or down.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The line cannot be opened.
    #[error(transparent)]
    Line(#[from] LineError),
}

/// A clerk with a line.
#[derive(Debug)]
pub struct PmsDesk {
    opener: Opener,
    line: Option<Line>,
    client: Client,
    begun: Instant,
    /// Frames that belonged to no open request.
    pub strays: Vec<Vec<u8>>,
}

/// What the machine wants, free of its borrow.
enum Wanted {
    Send(Vec<u8>),
    Done(Ended),
    Stray(Vec<u8>),
}

impl PmsDesk {
    /// Nothing is opened yet.
    pub fn new(opener: Opener, settings: Settings, checksum: Checksum) -> Self {
        let client = Client::new(settings, checksum);
        Self { opener, line: None, client, begun: Instant::now(), strays: Vec::new() }
    }

    /// The machine, for its statistics.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Drops the line; the next request opens it anew.
    pub fn hang_up(&mut self) {
        if self.line.take().is_some() {
            let now = self.begun.elapsed();
            let _idle = self.client.link_lost(0, now);
        }
    }

    /// One request to its end.
    pub async fn ask(&mut self, request: &Request, answer_timeout: Duration) -> Result<Ended, AskError> {
        if self.line.is_none() {
            self.line = Some(self.opener.open().await?);
            self.client.link_up(self.begun.elapsed());
        }
        let exchange = Exchange::new(request, answer_timeout)?;
        let action = self.client.submit(exchange, self.begun.elapsed())?;
        let mut next = Some(wanted(action, request));
        let mut buffer = [0; 256];
        loop {
            while let Some(wish) = next.take() {
                match wish {
                    Wanted::Done(ended) => return Ok(ended),
                    Wanted::Stray(frame) => self.strays.push(frame),
                    Wanted::Send(bytes) => {
                        let Some(line) = &mut self.line else { break };
                        if let Err(error) = line.write(&bytes).await {
                            self.line = None;
                            next = self
                                .client
                                .link_lost(error.unsent(), self.begun.elapsed())
                                .map(|it| wanted(it, request));
                            continue;
                        }
                    }
                }
                next = self.client.tick(self.begun.elapsed()).map(|action| wanted(action, request));
            }
            let Some(line) = &mut self.line else { return Ok(Ended::Unknown(Doubt::LinkLost)) };
            let deadline = self.begun + self.client.deadline().unwrap_or(answer_timeout);
            match tokio::time::timeout_at(deadline, line.read(&mut buffer)).await {
                Err(_) => next = self.client.tick(self.begun.elapsed()).map(|action| wanted(action, request)),
                Ok(Err(_)) => {
                    self.line = None;
                    next = self.client.link_lost(0, self.begun.elapsed()).map(|action| wanted(action, request));
                }
                Ok(Ok(read)) => {
                    let mut input = buffer.get(..read).unwrap_or_default();
                    while let Some(action) = self.client.read(&mut input, self.begun.elapsed()) {
                        match wanted(action, request) {
                            Wanted::Send(bytes) => {
                                if let Err(error) = line.write(&bytes).await {
                                    let lost = self.client.link_lost(error.unsent(), self.begun.elapsed());
                                    next = lost.map(|action| wanted(action, request));
                                    self.line = None;
                                    break;
                                }
                            }
                            Wanted::Stray(frame) => self.strays.push(frame),
                            done @ Wanted::Done(_) => next = Some(done),
                        }
                    }
                }
            }
        }
    }
}

fn wanted(action: Action<'_>, request: &Request) -> Wanted {
    match action {
        Action::Control(control) => Wanted::Send(vec![control.byte()]),
        Action::Message(frame) => Wanted::Send(frame.to_vec()),
        Action::Late(frame) | Action::Unsolicited(frame) => Wanted::Stray(frame.to_vec()),
        Action::Done(Verdict::Answered(body)) => {
            Wanted::Done(Ended::Answered(Answer::read(request, Message::read(body), DateOrder::DayMonth)))
        }
        // An enquiry alone is never asked here.
        Action::Done(Verdict::Ready) => Wanted::Done(Ended::NotBegun(NotBegun::NotReady)),
        Action::Done(Verdict::NotBegun(reason)) => Wanted::Done(Ended::NotBegun(reason)),
        Action::Done(Verdict::Unknown(doubt)) => Wanted::Done(Ended::Unknown(doubt)),
    }
}
