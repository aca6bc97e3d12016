//! The owner of one line: opens it and opens it anew, gives it to one request after the other, and tells each what became of it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use lockbridge_protocol::salto_pms::client::{Action, Client, Verdict};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::job::{Ask, Board, Job, Obstacle, Outcome};
use crate::config::SaltoPmsConfig;
use crate::link::{CodecCounts, Line, LineError, Meter, Opener, Statistics};
use crate::system::turn::refuse_waiting;

/// Bytes taken from the line at once.
const READ_BYTES: usize = 4096;

/// Makes lines.
pub(super) trait Source: Send + 'static {
    /// One attempt, at a bounded pace. Dropping the future is safe.
    fn open(&mut self) -> impl Future<Output = Result<Line, LineError>> + Send;
}

impl Source for Opener {
    async fn open(&mut self) -> Result<Line, LineError> {
        Self::open(self).await
    }
}

/// What an action of the machine asks for, without its borrow.
enum Do {
    Write(Vec<u8>),
    Finish(Outcome),
    Nothing,
}

/// One line and its requests.
pub(super) struct Driver<S> {
    source: S,
    jobs: mpsc::Receiver<Job>,
    client: Client,
    board: Arc<Board>,
    meter: Meter,
    lock_system: String,
    /// Monotonic times of the machine count from here.
    base: Instant,
    current: Option<Job>,
}

impl<S: Source> Driver<S> {
    pub(super) fn new(
        source: S,
        jobs: mpsc::Receiver<Job>,
        board: Arc<Board>,
        statistics: Arc<Statistics>,
        config: &SaltoPmsConfig,
        lock_system: String,
    ) -> Self {
        Self {
            source,
            jobs,
            client: Client::new(config.exchange, config.checksum),
            board,
            meter: Meter::new(statistics),
            lock_system,
            base: Instant::now(),
            current: None,
        }
    }

    /// Until nobody can ask any more.
    pub(super) async fn run(mut self) {
        loop {
            match self.source.open().await {
                Ok(line) => {
                    self.client.link_up(self.now());
                    self.tell();
                    tracing::debug!(lock_system = self.lock_system, line = line.place(), "The line is open.");
                    if self.serve(line).await.is_break() {
                        return;
                    }
                }
                Err(error) if self.refuse_waiting(&error).is_break() => return,
                Err(_) => {}
            }
        }
    }

    /// Uses an open line until it ends.
    async fn serve(&mut self, mut line: Line) -> ControlFlow<()> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let held = self.client.held_until().is_some_and(|until| until > self.now());
            let free = self.current.is_none() && !held;
            let deadline = self.client.deadline();
            let lost = tokio::select! {
                read = line.read(&mut buffer) => match read {
                    Ok(count) => self.read(&mut line, buffer.get(..count).unwrap_or_default()).await,
                    Err(error) => Err((error, 0)),
                },
                () = at(self.base, deadline), if deadline.is_some() => self.tick(&mut line).await,
                job = self.jobs.recv(), if free => match job {
                    Some(job) => self.begin(&mut line, job).await,
                    None => return ControlFlow::Break(()),
                },
            };
            if let Err((error, unsent)) = lost {
                self.line_ended(&error, unsent);
                return ControlFlow::Continue(());
            }
            self.tell();
        }
    }

    async fn begin(&mut self, line: &mut Line, job: Job) -> Result<(), (LineError, usize)> {
        if !job.begin() {
            return Ok(());
        }
        let now = self.now();
        let action = match &job.ask {
            Ask::Enquiry => self.client.enquire(now),
            Ask::Exchange(exchange) => self.client.submit((**exchange).clone(), now),
        };
        match action {
            Ok(action) => {
                let wanted = wanted(action);
                self.current = Some(job);
                // Told before the write: a slow line shows as busy.
                self.board.show(Obstacle::Busy);
                self.act(line, wanted).await
            }
            Err(refused) => {
                job.end(Outcome::Refused(refused));
                Ok(())
            }
        }
    }

    async fn read(&mut self, line: &mut Line, mut bytes: &[u8]) -> Result<(), (LineError, usize)> {
        loop {
            let now = self.now();
            let Some(action) = self.client.read(&mut bytes, now) else { return Ok(()) };
            let wanted = wanted(action);
            self.act(line, wanted).await?;
        }
    }

    async fn tick(&mut self, line: &mut Line) -> Result<(), (LineError, usize)> {
        loop {
            let now = self.now();
            let Some(action) = self.client.tick(now) else { return Ok(()) };
            let wanted = wanted(action);
            self.act(line, wanted).await?;
        }
    }

    async fn act(&mut self, line: &mut Line, wanted: Do) -> Result<(), (LineError, usize)> {
        match wanted {
            Do::Write(bytes) => line.write(&bytes).await.map_err(|error| {
                let unsent = error.unsent();
                (error, unsent)
            }),
            Do::Finish(outcome) => {
                self.finish(outcome);
                Ok(())
            }
            Do::Nothing => Ok(()),
        }
    }

    fn finish(&mut self, outcome: Outcome) {
        if let Some(job) = self.current.take() {
            job.end(outcome);
        }
    }

    fn line_ended(&mut self, error: &LineError, unsent: usize) {
        let now = self.now();
        let outcome = self.client.link_lost(unsent, now).map(wanted);
        if let Some(Do::Finish(outcome)) = outcome {
            self.finish(outcome);
        }
        // Nothing was under way for the machine: the job was never handed to it.
        self.finish(Outcome::Down(error.to_string()));
        self.tell();
        tracing::debug!(lock_system = self.lock_system, %error, "The line has ended; it is opened again.");
        self.board.show(Obstacle::Down(error.to_string()));
    }

    /// The line does not open: nobody waits for it in vain.
    fn refuse_waiting(&mut self, error: &LineError) -> ControlFlow<()> {
        let why = format!("{error}. {}", error.remedy());
        tracing::debug!(lock_system = self.lock_system, why, "The line does not open.");
        self.board.show(Obstacle::Down(why.clone()));
        refuse_waiting(&mut self.jobs, || Outcome::Down(why.clone()))
    }

    /// Figures for health, and what stands in the way of the next request.
    fn tell(&mut self) {
        let counted = self.client.statistics();
        self.meter.update(CodecCounts {
            line: self.client.line_statistics(),
            refusals: counted.refusals.saturating_add(counted.damaged_answers),
            retries: counted.resends,
        });
        let now = self.now();
        let held = self.client.held_until().filter(|until| *until > now);
        self.board.show(match held {
            Some(until) => Obstacle::Held(self.base + until),
            None if self.current.is_some() => Obstacle::Busy,
            None => Obstacle::None,
        });
    }

    fn now(&self) -> Duration {
        self.base.elapsed()
    }
}

/// Late answers and such that nobody asked for are counted by the machine and dropped: an answer names no request, so
/// believing one would be a guess.
fn wanted(action: Action<'_>) -> Do {
    match action {
        Action::Control(control) => Do::Write(vec![control.byte()]),
        Action::Message(frame) => Do::Write(frame.to_vec()),
        Action::Done(Verdict::Answered(body)) => Do::Finish(Outcome::Answered(body.to_vec())),
        Action::Done(Verdict::Ready) => Do::Finish(Outcome::Ready),
        Action::Done(Verdict::NotBegun(why)) => Do::Finish(Outcome::NotBegun(why)),
        Action::Done(Verdict::Unknown(why)) => Do::Finish(Outcome::Unknown(why)),
        Action::Late(_) | Action::Unsolicited(_) => Do::Nothing,
    }
}

async fn at(base: Instant, deadline: Option<Duration>) {
    if let Some(deadline) = deadline {
        sleep_until(base + deadline).await;
    }
}
