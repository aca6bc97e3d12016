//! Asks the other end of a line to a SALTO PMS interface something that changes nothing.

use std::time::Duration;

use lockbridge_protocol::line::{Checksum, Control, LineStatistics};
use lockbridge_protocol::salto_pms::client::{Action, Client, Doubt, Exchange, NotBegun, Settings, Verdict as Ended};
use lockbridge_protocol::salto_pms::error_code::lookup;
use lockbridge_protocol::salto_pms::message::Message;
use lockbridge_protocol::salto_pms::request::{AuditStep, Handling, Request};
use tokio::time::{Instant, timeout_at};

use super::open::{NotOpen, open};
use crate::check::Verdict;
use crate::link::{Endpoint, Limits, Line};

/// The checks together have less than a minute; what was not asked by then is not asked.
const ALL: Duration = Duration::from_secs(45);
/// For the other end to connect, where it is the one that does.
const CONNECT: Duration = Duration::from_secs(15);
/// A database answers at once, or never.
const INFORMATION: Duration = Duration::from_secs(3);
/// A server's own wait for a card is shorter than the 30 s of known clients.
const CARD: Duration = Duration::from_secs(30);
/// Nobody waits longer for a reply to ENQ here.
const REPLY: Duration = Duration::from_secs(2);

/// A configured line to a SALTO PMS interface.
#[derive(Debug, Clone)]
pub(in crate::check) struct Subject {
    /// Lock system.
    pub(in crate::check) name: String,
    pub(in crate::check) endpoint: Endpoint,
    pub(in crate::check) limits: Limits,
    pub(in crate::check) checksum: Checksum,
    pub(in crate::check) exchange: Settings,
    pub(in crate::check) encoders: Vec<String>,
}

/// What came of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::check) enum Heard {
    /// An answer.
    Answer,
    /// The message was acknowledged, and no answer came.
    Taken,
    /// NAK to every ENQ.
    Busy,
    /// Not one byte.
    Nothing,
    /// Bytes, and none that means anything.
    Garbage {
        /// How many.
        bytes: u64,
    },
    /// ACK to ENQ, NAK to every message.
    Refused,
    /// Frames whose checksum does not fit.
    Damaged,
    /// The line ended.
    Lost,
}

/// All that was found out.
#[derive(Debug)]
pub(in crate::check) struct Found {
    pub(in crate::check) line: Result<Heard, NotOpen>,
    /// Each encoder with its verdict; none when the line is no good.
    pub(in crate::check) encoders: Vec<(String, Verdict)>,
}

/// "Say the last event of this door again", of a door that is not there: reads at most. `INFO` would be plainer, but its
/// checksum happens to be the byte that means "not checked", so that it passes whatever the other end wants.
fn harmless() -> Request {
    Request::Audit { step: AuditStep::Repeat, door: "LOCKBRIDGE".to_owned() }
}

/// Asks the interface something harmless, then every encoder for the card on it.
pub(in crate::check) async fn run(subject: &Subject) -> Found {
    let end = Instant::now() + ALL;
    let line = match open(&subject.name, &subject.endpoint, subject.limits, CONNECT).await {
        Ok(line) => line,
        Err(not_open) => return Found { line: Err(not_open), encoders: Vec::new() },
    };
    let reply_timeout = subject.exchange.reply_timeout.min(REPLY);
    let settings = Settings { enquire_first: true, reply_timeout, ..subject.exchange };
    let mut talk = Talk { line, client: Client::new(settings, subject.checksum), begun: Instant::now() };
    talk.client.link_up(Duration::ZERO);
    let ended = talk.ask(&harmless(), INFORMATION).await;
    let heard = talk.judge(&ended);
    let mut encoders = Vec::new();
    let mut may_ask = heard == Heard::Answer;
    for encoder in subject.encoders.iter().filter(|_| heard == Heard::Answer) {
        let room = end.saturating_duration_since(Instant::now());
        let verdict = if may_ask && !room.is_zero() {
            let request = Request::ReadCard { encoder: encoder.clone(), handling: Handling::Retain };
            let ended = talk.ask(&request, CARD.min(room)).await;
            // Behind an answer that did not come the line is not to be trusted with another question.
            may_ask = matches!(ended, Said::Answer(_) | Said::NotBegun(_));
            of_encoder(&ended)
        } else {
            Verdict::skipped(
                "no time was left: an encoder without a card waits for one, and the line carries one question",
            )
        };
        encoders.push((encoder.clone(), verdict));
    }
    Found { line: Ok(heard), encoders }
}

/// How an exchange ended, without its borrow.
enum Said {
    /// Field 0.
    Answer(String),
    NotBegun(NotBegun),
    Unknown(Doubt),
    /// The request cannot be written, or the line was held.
    Unasked(String),
}

struct Talk {
    line: Line,
    client: Client,
    begun: Instant,
}

impl Talk {
    async fn ask(&mut self, request: &Request, limit: Duration) -> Said {
        let exchange = match Exchange::new(request, limit) {
            Ok(exchange) => exchange,
            Err(error) => return Said::Unasked(error.to_string()),
        };
        let mut bytes = Vec::new();
        let mut said = match self.client.submit(exchange, self.begun.elapsed()) {
            Ok(action) => wanted(action, &mut bytes),
            Err(error) => return Said::Unasked(error.to_string()),
        };
        let mut buffer = [0; 256];
        loop {
            if !bytes.is_empty()
                && let Err(error) = self.line.write(&std::mem::take(&mut bytes)).await
            {
                let lost = self.client.link_lost(error.unsent(), self.begun.elapsed());
                said = lost.and_then(|action| wanted(action, &mut bytes)).or(Some(Said::Unknown(Doubt::LinkLost)));
            }
            if let Some(said) = said {
                return said;
            }
            said = self.client.tick(self.begun.elapsed()).and_then(|action| wanted(action, &mut bytes));
            if said.is_some() || !bytes.is_empty() {
                continue;
            }
            let deadline = self.begun + self.client.deadline().unwrap_or(limit);
            match timeout_at(deadline, self.line.read(&mut buffer)).await {
                Err(_) => {}
                Ok(Err(_)) => {
                    let lost = self.client.link_lost(0, self.begun.elapsed());
                    let lost = lost.and_then(|action| wanted(action, &mut bytes));
                    return lost.unwrap_or(Said::Unknown(Doubt::LinkLost));
                }
                Ok(Ok(read)) => {
                    let mut input = buffer.get(..read).unwrap_or_default();
                    while let Some(action) = self.client.read(&mut input, self.begun.elapsed()) {
                        said = wanted(action, &mut bytes).or(said);
                    }
                }
            }
        }
    }

    /// What the first question found out.
    fn judge(&self, said: &Said) -> Heard {
        let LineStatistics { bytes, discarded, bad_checksums, .. } = self.client.line_statistics();
        match said {
            Said::Answer(_) => Heard::Answer,
            Said::NotBegun(NotBegun::LinkLost) | Said::Unknown(Doubt::LinkLost) => Heard::Lost,
            _ if bad_checksums > 0 => Heard::Damaged,
            Said::NotBegun(NotBegun::Refused { .. }) => Heard::Refused,
            // A wrong speed makes other bytes of ours and of theirs; now and then one of them is a control byte.
            Said::NotBegun(_) if discarded > 0 => Heard::Garbage { bytes },
            Said::NotBegun(NotBegun::NotReady) => Heard::Busy,
            Said::NotBegun(_) | Said::Unasked(_) => Heard::Nothing,
            Said::Unknown(_) => Heard::Taken,
        }
    }
}

/// Collects what is to be sent; gives the end of the exchange.
fn wanted(action: Action<'_>, bytes: &mut Vec<u8>) -> Option<Said> {
    match action {
        Action::Control(control) => bytes.push(Control::byte(control)),
        Action::Message(frame) => bytes.extend_from_slice(frame),
        // The last is the end of a bare enquiry, and none is begun here.
        Action::Late(_) | Action::Unsolicited(_) | Action::Done(Ended::Ready) => {}
        Action::Done(Ended::Answered(body)) => {
            let code = String::from_utf8_lossy(Message::read(body).command()).into_owned();
            return Some(Said::Answer(code));
        }
        Action::Done(Ended::NotBegun(reason)) => return Some(Said::NotBegun(reason)),
        Action::Done(Ended::Unknown(doubt)) => return Some(Said::Unknown(doubt)),
    }
    None
}

fn of_encoder(said: &Said) -> Verdict {
    let code = match said {
        Said::Answer(code) => code.as_str(),
        Said::NotBegun(reason) => return Verdict::skipped(reason.to_string()),
        Said::Unknown(doubt) => return Verdict::warning(doubt.to_string(), "Look at the encoder and ask again."),
        Said::Unasked(why) => return Verdict::failed(why, "Correct the name of the encoder in the configuration."),
    };
    let meaning = lookup(code.as_bytes()).map_or("it read the card that lies on it", |row| row.meaning);
    match code {
        "NC" => Verdict::failed(
            format!("{code}: {meaning}"),
            "Spell the name in `encoders` exactly as at the Salto server (capitals and spaces count); if it is right, check \
             power and network of the encoder, which has to be an Ethernet encoder.",
        ),
        "OV" | "EP" | "ED" | "EF" => Verdict::ok(format!("known and there ({code}: {meaning})")),
        "LT" => Verdict::ok(meaning),
        _ => Verdict::warning(format!("{code}: {meaning}"), "Put a blank card on the encoder and look again."),
    }
}

#[cfg(test)]
mod tests;
