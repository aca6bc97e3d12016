use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::thread::JoinHandle;

use lockbridge_protocol::salto_pms::server::{Server, ServerAction};

use super::*;
use crate::check::Outcome;
use crate::check::line_words::of_pms;
use crate::link::{LineError, Opener, SerialSettings, Statistics};

/// What hangs on the other end of the cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Other {
    Silent,
    /// What a wrong speed makes of a reply.
    Garbage,
    NeverReady,
    /// Wants checksums; else as `Works`.
    WantsChecksums,
    /// Its checksums are wrong.
    WritesWrongChecksums,
    Works,
}

/// A port with somebody at its other end, until the port is closed.
struct Port {
    path: PathBuf,
    other: JoinHandle<()>,
}

impl Port {
    fn new(other: Other) -> Self {
        let pair = nix::pty::openpty(None, None).expect("a pseudo terminal");
        let path = nix::unistd::ttyname(&pair.slave).expect("its name");
        let mut settings = nix::sys::termios::tcgetattr(&pair.slave).expect("its settings");
        nix::sys::termios::cfmakeraw(&mut settings);
        nix::sys::termios::tcsetattr(&pair.slave, nix::sys::termios::SetArg::TCSANOW, &settings).expect("raw");
        // Kept open until the first byte came: an end without a user reads as gone.
        let (mut master, slave) = (File::from(pair.master), pair.slave);
        let other = std::thread::spawn(move || {
            let mut slave = Some(slave);
            let wanted = if other == Other::WantsChecksums { Checksum::Checked } else { Checksum::CheckedUnlessMarked };
            let mut server = Server::new(wanted);
            let mut buffer = [0; 256];
            while let Ok(read) = master.read(&mut buffer) {
                drop(slave.take());
                let reply = reply(other, &mut server, &buffer[..read]);
                if master.write_all(&reply).is_err() {
                    return;
                }
            }
        });
        Self { path, other }
    }

    async fn probe(self, checksum: Checksum) -> Found {
        let exchange = Settings {
            enquiries: 2,
            pause: Duration::from_millis(20),
            reply_timeout: Duration::from_millis(200),
            silence: Duration::from_millis(50),
            ..Settings::default()
        };
        let subject = Subject {
            name: "desk".to_owned(),
            endpoint: Endpoint::Serial(SerialSettings::new(self.path)),
            limits: Limits::default(),
            checksum,
            exchange,
            encoders: vec!["Desk 1".to_owned(), "desk 2".to_owned()],
        };
        let found = run(&subject).await;
        self.other.join().expect("the other end saw the port being closed");
        found
    }
}

fn reply(other: Other, server: &mut Server, mut input: &[u8]) -> Vec<u8> {
    match other {
        Other::Silent => return Vec::new(),
        Other::Garbage => return vec![0xF8, 0x80, 0xFE],
        Other::NeverReady => return vec![Control::Refuse.byte()],
        _ => {}
    }
    let mut out = Vec::new();
    loop {
        let body = match server.read(&mut input) {
            None => return out,
            Some(ServerAction::Control(control)) => {
                out.push(control.byte());
                continue;
            }
            Some(ServerAction::Repeat(frame)) => {
                out.extend(written(other, frame));
                continue;
            }
            Some(ServerAction::Message(body)) => body.to_vec(),
        };
        out.extend(server.accept().map(Control::byte));
        let answer: &[u8] = match body.as_slice() {
            [0xB3, b'L', b'T', 0xB3, b'D', ..] => b"\xB3ED\xB3Desk 1\xB3",
            [0xB3, b'L', b'T', ..] => b"\xB3NC\xB3desk 2\xB3",
            _ => b"\xB3WE\xB3LOCKBRIDGE\xB3",
        };
        out.extend(written(other, server.answer(answer).expect("an answer")));
    }
}

fn written(other: Other, frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if other == Other::WritesWrongChecksums {
        *frame.last_mut().expect("a trailer") ^= 0x40;
    }
    frame
}

#[test]
fn the_question_shows_a_wrong_checksum_setting() {
    use lockbridge_protocol::line::longitudinal_redundancy_check;
    let unchecked = Checksum::Marked.trailer(b"").expect("a byte");
    let body = |request: &Request| request.write().expect("a request");
    assert_ne!(longitudinal_redundancy_check(&body(&harmless())), unchecked);
    assert_eq!(
        longitudinal_redundancy_check(&body(&Request::Information)),
        unchecked,
        "else it would be the better one"
    );
}

#[tokio::test]
async fn each_fault_of_a_line_is_named() {
    for (other, checksum, heard) in [
        (Other::Silent, Checksum::CheckedUnlessMarked, Heard::Nothing),
        (Other::Garbage, Checksum::CheckedUnlessMarked, Heard::Garbage { bytes: 6 }),
        (Other::NeverReady, Checksum::CheckedUnlessMarked, Heard::Busy),
        (Other::WantsChecksums, Checksum::Marked, Heard::Refused),
        (Other::WantsChecksums, Checksum::CheckedUnlessMarked, Heard::Answer),
        (Other::WritesWrongChecksums, Checksum::CheckedUnlessMarked, Heard::Damaged),
        (Other::Works, Checksum::Marked, Heard::Answer),
    ] {
        let found = Port::new(other).probe(checksum).await;
        assert_eq!(found.line.as_ref().ok(), Some(&heard), "{other:?}: {:?}", found.line);
        let verdict = of_pms(heard, checksum, "the other end");
        assert_eq!(verdict.outcome == Outcome::Ok, heard == Heard::Answer, "{verdict:?}");
        assert_eq!(verdict.remedy.is_empty(), heard == Heard::Answer, "{verdict:?}");
    }
}

#[tokio::test]
async fn an_encoder_that_the_server_does_not_know_is_named() {
    let found = Port::new(Other::Works).probe(Checksum::CheckedUnlessMarked).await;
    let outcomes: Vec<(&str, Outcome)> =
        found.encoders.iter().map(|(name, verdict)| (name.as_str(), verdict.outcome)).collect();
    assert_eq!(outcomes, [("Desk 1", Outcome::Ok), ("desk 2", Outcome::Failed)]);
    assert!(found.encoders[1].1.remedy.contains("exactly as at the Salto server"), "{found:?}");
}

#[tokio::test]
async fn a_device_that_is_not_there_or_in_use_is_named() {
    let subject = |path: PathBuf| Subject {
        name: "desk".to_owned(),
        endpoint: Endpoint::Serial(SerialSettings::new(path)),
        limits: Limits::default(),
        checksum: Checksum::CheckedUnlessMarked,
        exchange: Settings::default(),
        encoders: vec!["Desk 1".to_owned()],
    };
    let missing = run(&subject(PathBuf::from("/nonexistent/encoder"))).await;
    assert!(matches!(missing.line, Err(NotOpen::Line(LineError::Missing { .. }))), "{missing:?}");
    assert!(missing.encoders.is_empty());
    let pair = nix::pty::openpty(None, None).expect("a pseudo terminal");
    let path = nix::unistd::ttyname(&pair.slave).expect("its name");
    let other = Endpoint::Serial(SerialSettings::new(path.clone()));
    let _held = Opener::new(other, Limits::default(), Statistics::new("other")).open().await.expect("opens");
    let busy = run(&subject(path)).await;
    let Err(NotOpen::Line(error)) = &busy.line else { panic!("{busy:?}") };
    assert!(matches!(error, LineError::Busy { .. }), "{error:?}");
    let verdict = Verdict::from(error);
    assert_eq!(verdict.outcome, Outcome::Failed);
    assert!(!verdict.remedy.is_empty());
}
