//! Frames on a wire, in both forms: plain as over TCP, and acknowledged as on a serial line.
//!
//! The acknowledged form follows the specification to the letter: ACK or NAK for every frame, ENQ after silence, a record four
//! times in all. It repeats records where the product would not, because real peers do.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::{Instant, timeout_at};

const STX: u8 = 0x02;
const ETX: u8 = 0x03;
const ENQ: u8 = 0x05;
const ACK: u8 = 0x06;
const NAK: u8 = 0x15;

/// For ACK or NAK, as specified.
pub const REPLY: Duration = Duration::from_secs(3);
/// ENQs in a row.
const ENQUIRIES: u32 = 3;
/// Times a record is sent.
const SENDS: u32 = 4;
/// Longest frame kept.
const FRAME_BYTES: usize = 8192;

/// How frames look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// Every frame is acknowledged.
    pub acknowledged: bool,
    /// A checksum follows.
    pub checksum: bool,
    /// How long an ACK or NAK is waited for.
    pub reply_timeout: Duration,
}

impl Form {
    /// Bytes of one frame never lie further apart: 1 s where 3 s are waited for an acknowledgement.
    pub fn silence(self) -> Duration {
        self.reply_timeout / 3
    }
}

/// How this end acknowledges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Manners {
    /// As specified.
    #[default]
    Normal,
    /// Takes records and says nothing.
    Silent,
    /// Refuses every frame.
    Refuse,
}

/// What was met, for the control interface.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Good frames.
    pub frames: u64,
    /// Frames whose checksum did not fit.
    pub bad_checksums: u64,
    /// NAKs received.
    pub refusals: u64,
    /// ENQs received.
    pub enquiries: u64,
    /// Records that were sent again.
    pub repeats: u64,
    /// Records given up.
    pub given_up: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    Body,
    Trailer,
}

/// A record on its way.
#[derive(Debug)]
struct Outgoing {
    frame: Vec<u8>,
    sends: u32,
    enquiries: u32,
    deadline: Instant,
}

/// One connection.
#[derive(Debug)]
pub struct Framing {
    form: Form,
    stream: DuplexStream,
    state: State,
    body: Vec<u8>,
    /// Read and not looked at yet.
    unread: VecDeque<u8>,
    last_reply: u8,
    /// When the frame in hand is given up.
    frame_deadline: Option<Instant>,
    records: VecDeque<Vec<u8>>,
    outgoing: Option<Outgoing>,
    waiting: VecDeque<Vec<u8>>,
    /// As the front panel sets it.
    pub manners: Manners,
    /// So far.
    pub counts: Counts,
}

impl Framing {
    /// On a fresh stream.
    pub fn new(stream: DuplexStream, form: Form) -> Self {
        Self {
            form,
            stream,
            state: State::Between,
            body: Vec::new(),
            unread: VecDeque::new(),
            last_reply: NAK,
            frame_deadline: None,
            records: VecDeque::new(),
            outgoing: None,
            waiting: VecDeque::new(),
            manners: Manners::default(),
            counts: Counts::default(),
        }
    }

    /// The frame around a body.
    pub fn frame(&self, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![STX];
        frame.extend_from_slice(body);
        frame.push(ETX);
        if self.form.checksum {
            frame.push(body.iter().fold(ETX, |sum, byte| sum ^ byte));
        }
        frame
    }

    /// Sends a body, or queues it behind the one that is not acknowledged yet.
    pub async fn send(&mut self, body: &[u8]) -> std::io::Result<()> {
        let frame = self.frame(body);
        if !self.form.acknowledged {
            return self.raw(&frame).await;
        }
        self.waiting.push_back(frame);
        self.advance().await
    }

    /// Sends bytes as they are.
    pub async fn raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Nothing is on its way.
    pub fn is_idle(&self) -> bool {
        self.outgoing.is_none() && self.waiting.is_empty()
    }

    /// The next record body. Errors: the connection ended. Dropping the future loses nothing.
    pub async fn next(&mut self) -> std::io::Result<Vec<u8>> {
        loop {
            if let Some(record) = self.records.pop_front() {
                return Ok(record);
            }
            if let Some(byte) = self.unread.pop_front() {
                self.take(byte).await?;
                self.frame_deadline = (self.state != State::Between).then(|| Instant::now() + self.form.silence());
                continue;
            }
            let mut buffer = [0; 1024];
            let far = Instant::now() + Duration::from_secs(3600);
            let deadline = self.outgoing.as_ref().map_or(far, |outgoing| outgoing.deadline);
            let deadline = self.frame_deadline.map_or(deadline, |frame| frame.min(deadline));
            match timeout_at(deadline, self.stream.read(&mut buffer)).await {
                Err(_) if self.frame_deadline.is_some_and(|frame| frame <= Instant::now()) => {
                    // The rest of it does not come.
                    self.frame_deadline = None;
                    self.state = State::Between;
                    self.last_reply = NAK;
                }
                Err(_) => self.silence().await?,
                Ok(read) => match read? {
                    0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                    count => self.unread.extend(buffer.iter().take(count)),
                },
            }
        }
    }

    async fn take(&mut self, byte: u8) -> std::io::Result<()> {
        match (self.state, byte) {
            (State::Between | State::Body, STX) => {
                self.body.clear();
                self.state = State::Body;
            }
            (State::Between, byte) if self.form.acknowledged => return self.control(byte).await,
            (State::Between, _) => {}
            (State::Body, ETX) if self.form.checksum => self.state = State::Trailer,
            (State::Body, ETX) => return self.complete(true).await,
            (State::Body, byte) if self.body.len() < FRAME_BYTES => self.body.push(byte),
            (State::Body, _) => self.state = State::Between,
            (State::Trailer, byte) => {
                let good = self.body.iter().fold(ETX, |sum, byte| sum ^ byte) == byte;
                return self.complete(good).await;
            }
        }
        Ok(())
    }

    async fn complete(&mut self, good: bool) -> std::io::Result<()> {
        self.state = State::Between;
        let body = std::mem::take(&mut self.body);
        if good && self.manners != Manners::Refuse {
            self.counts.frames += 1;
            self.records.push_back(body);
        } else if !good {
            self.counts.bad_checksums += 1;
        }
        if self.form.acknowledged {
            self.last_reply = if good && self.manners != Manners::Refuse { ACK } else { NAK };
            if self.manners != Manners::Silent {
                self.raw(&[self.last_reply]).await?;
            }
        }
        Ok(())
    }

    async fn control(&mut self, byte: u8) -> std::io::Result<()> {
        match byte {
            ENQ => {
                self.counts.enquiries += 1;
                if self.manners != Manners::Silent {
                    self.raw(&[self.last_reply]).await?;
                }
            }
            ACK if self.outgoing.is_some() => {
                self.outgoing = None;
                self.advance().await?;
            }
            NAK if self.outgoing.is_some() => {
                self.counts.refusals += 1;
                self.again().await?;
            }
            _ => self.last_reply = NAK,
        }
        Ok(())
    }

    /// Nobody acknowledged in time.
    async fn silence(&mut self) -> std::io::Result<()> {
        let Some(outgoing) = &mut self.outgoing else { return Ok(()) };
        if outgoing.enquiries < ENQUIRIES {
            outgoing.enquiries += 1;
            outgoing.deadline = Instant::now() + self.form.reply_timeout;
            return self.raw(&[ENQ]).await;
        }
        self.again().await
    }

    async fn again(&mut self) -> std::io::Result<()> {
        let Some(mut outgoing) = self.outgoing.take() else { return Ok(()) };
        if outgoing.sends >= SENDS {
            self.counts.given_up += 1;
            return self.advance().await;
        }
        self.counts.repeats += 1;
        outgoing.sends += 1;
        outgoing.enquiries = 0;
        outgoing.deadline = Instant::now() + self.form.reply_timeout;
        let frame = outgoing.frame.clone();
        self.outgoing = Some(outgoing);
        self.raw(&frame).await
    }

    async fn advance(&mut self) -> std::io::Result<()> {
        if self.outgoing.is_none()
            && let Some(frame) = self.waiting.pop_front()
        {
            let deadline = Instant::now() + self.form.reply_timeout;
            self.outgoing = Some(Outgoing { frame: frame.clone(), sends: 1, enquiries: 0, deadline });
            return self.raw(&frame).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERIAL: Form = Form { acknowledged: true, checksum: true, reply_timeout: REPLY };

    #[tokio::test]
    async fn a_frame_of_the_specification_with_its_checksum() {
        let (stream, _other) = tokio::io::duplex(64);
        let framing = Framing::new(stream, SERIAL);
        assert_eq!(framing.frame(b"12345"), b"\x0212345\x03\x32");
        assert_eq!(framing.frame(b"LS|DA161117|TI102926|").last(), Some(&b'w'));
    }

    #[tokio::test(start_paused = true)]
    async fn records_are_acknowledged_refused_asked_for_and_repeated() {
        let (stream, mut other) = tokio::io::duplex(1024);
        let mut framing = Framing::new(stream, SERIAL);
        let mut bytes = [0; 64];
        other.write_all(b"\x0212345\x03\x33\x0212345\x03\x32").await.expect("written");
        assert_eq!(framing.next().await.expect("a record"), b"12345");
        assert_eq!(other.read(&mut bytes).await.expect("read"), 2);
        assert_eq!(bytes[..2], [NAK, ACK]);

        framing.send(b"LA|").await.expect("sent");
        let mut sent = [0; 6];
        other.read_exact(&mut sent).await.expect("the frame");
        let task = tokio::spawn(async move {
            let ended = framing.next().await;
            (framing.counts, ended.is_err())
        });
        other.read_exact(&mut sent[..1]).await.expect("an ENQ after silence");
        assert_eq!(sent[0], ENQ);
        other.write_all(&[NAK]).await.expect("written");
        other.read_exact(&mut sent).await.expect("the frame again");
        other.write_all(&[ACK]).await.expect("written");
        drop(other);
        let (counts, ended) = task.await.expect("no panic");
        assert!(ended);
        assert_eq!((counts.refusals, counts.repeats, counts.bad_checksums), (1, 1, 1));
    }
}
