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

    /// One request to its end. Waits first as long as the unknown end of an earlier one holds the line.
    pub async fn ask(&mut self, request: &Request, answer_timeout: Duration) -> Result<Ended, AskError> {
        self.open().await?;
        while self.client.held_until().is_some() {
            // What ends now belongs to nobody: the earlier request was told as unknown.
            let _earlier = self.turn(request).await;
            self.open().await?;
        }
        let exchange = Exchange::new(request, answer_timeout)?;
        let begin = wanted(self.client.submit(exchange, self.begun.elapsed())?, request);
        let mut ended = self.act(begin, request).await;
        while ended.is_none() && self.client.is_busy() {
            ended = self.turn(request).await;
        }
        Ok(ended.unwrap_or(Ended::Unknown(Doubt::LinkLost)))
    }

    async fn open(&mut self) -> Result<(), LineError> {
        if self.line.is_none() {
            self.line = Some(self.opener.open().await?);
            self.client.link_up(self.begun.elapsed());
        }
        Ok(())
    }

    /// Waits for bytes or for the machine's next deadline, and does what it wants then.
    async fn turn(&mut self, request: &Request) -> Option<Ended> {
        let line = self.line.as_mut()?;
        let deadline = self.begun + self.client.deadline()?;
        let mut buffer = [0; 256];
        match tokio::time::timeout_at(deadline, line.read(&mut buffer)).await {
            Err(_) => {
                let mut ended = None;
                while let Some(action) = self.client.tick(self.begun.elapsed()) {
                    let wish = wanted(action, request);
                    ended = self.act(wish, request).await.or(ended);
                }
                ended
            }
            Ok(Err(_)) => self.lost(0, request),
            Ok(Ok(read)) => {
                let (mut ended, mut input) = (None, buffer.get(..read).unwrap_or_default());
                while let Some(action) = self.client.read(&mut input, self.begun.elapsed()) {
                    let wish = wanted(action, request);
                    ended = self.act(wish, request).await.or(ended);
                }
                ended
            }
        }
    }

    /// Does what the machine wants.
    async fn act(&mut self, wish: Wanted, request: &Request) -> Option<Ended> {
        match wish {
            Wanted::Done(ended) => Some(ended),
            Wanted::Stray(frame) => {
                self.strays.push(frame);
                None
            }
            Wanted::Send(bytes) => match self.line.as_mut()?.write(&bytes).await {
                Ok(()) => None,
                Err(error) => self.lost(error.unsent(), request),
            },
        }
    }

    fn lost(&mut self, unsent: usize, request: &Request) -> Option<Ended> {
        self.line = None;
        match wanted(self.client.link_lost(unsent, self.begun.elapsed())?, request) {
            Wanted::Done(ended) => Some(ended),
            Wanted::Send(_) | Wanted::Stray(_) => None,
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
