use std::path::Path;

use lockbridge_protocol::fias::id::FieldId;
use lockbridge_protocol::fias::link::{LinkDescription, LinkRecord};
use lockbridge_protocol::fias::session::key_system::{KeySystemSession, KeySystemSettings};
use lockbridge_protocol::fias::value::FieldList;
use lockbridge_protocol::line::Control;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::check::line_words::of_fias;
use crate::check::{Outcome, Verdict};

/// Sixteen bytes, as vendors give them.
const KEY: &str = "FidCrypt0S|AAECAwQFBgcICQoLDA0ODw==";

/// What is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    KeyService,
    KeyServiceWithKey,
    PropertySoftware,
    Silent,
    Garbage,
    /// Acknowledges everything.
    Deaf,
    /// Refuses everything.
    Refuses,
    HangsUp,
}

/// Acknowledgements and checksums.
type Framing = (bool, bool);
const PLAIN: Framing = (false, false);
const CHECKED: Framing = (true, true);
const UNCHECKED: Framing = (true, false);

enum Link {
    KeySystem(KeySystemSession),
    Pms(PmsSession),
}

impl Link {
    fn of(peer: Peer) -> Self {
        if peer == Peer::PropertySoftware {
            return Self::Pms(PmsSession::new(PmsSettings::new(Medium::Tcp)));
        }
        let description =
            LinkDescription { version: "1.0".to_owned(), family: "DL".to_owned(), ..LinkDescription::default() };
        let records = vec![LinkRecord { record: RecordId::KEY_REQUEST, fields: FieldList::new([FieldId::ENCODER]) }];
        Self::KeySystem(KeySystemSession::new(KeySystemSettings {
            spacing: Duration::from_millis(5),
            start_timeout: Duration::from_millis(300),
            key: (peer == Peer::KeyServiceWithKey).then(|| SiteKey::read(KEY).expect("a key")),
            ..KeySystemSettings::new(Medium::Tcp, description, records)
        }))
    }

    fn up(&mut self, at: Moment) -> Vec<LinkAction> {
        match self {
            Self::KeySystem(link) => link.link_up(at),
            Self::Pms(link) => link.link_up(at),
        }
    }

    fn record(&mut self, record: Record<'_>, at: Moment) -> Vec<LinkAction> {
        match self {
            Self::KeySystem(link) => link.record(record, at).actions,
            Self::Pms(link) => link.record(record, at).actions,
        }
    }

    fn tick(&mut self, at: Moment) -> Vec<LinkAction> {
        match self {
            Self::KeySystem(link) => link.tick(at),
            Self::Pms(link) => link.tick(at),
        }
    }
}

/// Plays the other end of one connection; how its link ended, if it did.
async fn play(peer: Peer, (acknowledges, checksum): Framing, mut stream: TcpStream) -> Option<CloseReason> {
    let mut buffer = [0; 1024];
    let simple: Option<&[u8]> = match peer {
        Peer::Silent => Some(&[]),
        Peer::Garbage => Some(&[0xF8, 0x80, 0xFE]),
        Peer::Deaf => Some(&[Control::Acknowledge.byte()]),
        Peer::Refuses => Some(&[Control::Refuse.byte()]),
        Peer::HangsUp => return None,
        _ => None,
    };
    if let Some(reply) = simple {
        while matches!(stream.read(&mut buffer).await, Ok(1..)) {
            stream.write_all(reply).await.ok()?;
        }
        return None;
    }
    let checksum = if checksum { Checksum::Checked } else { Checksum::Absent };
    let settings = SerialSettings { checksum, ..SerialSettings::default() };
    let mut wire = if acknowledges { Wire::serial(settings) } else { Wire::plain() };
    let mut link = Link::of(peer);
    let begun = Instant::now();
    let moment =
        || Moment { now: begun.elapsed(), local: jiff::civil::date(2026, 11, 22).at(12, 0, 0, 0), random: [7; 16] };
    let mut actions = link.up(moment());
    loop {
        for action in actions.drain(..) {
            match action {
                LinkAction::Send(record) => drop(wire.send(&record, Repeat::AsSpecified, begun.elapsed())),
                LinkAction::Close(reason) => return Some(reason),
                LinkAction::Alive | LinkAction::NotAlive => {}
            }
        }
        while let Some(bytes) = wire.output() {
            stream.write_all(bytes).await.ok()?;
        }
        match timeout_at(Instant::now() + Duration::from_millis(5), stream.read(&mut buffer)).await {
            Ok(Ok(count @ 1..)) => wire.read(&buffer[..count], begun.elapsed()),
            Ok(_) => return None,
            Err(_) => wire.tick(begun.elapsed()),
        }
        while let Some(event) = wire.event() {
            if let WireEvent::Record { body, .. } = event {
                actions.extend(link.record(Record::read(body).expect("a record"), moment()));
            }
        }
        actions.extend(link.tick(moment()));
    }
}

fn subject(endpoint: Endpoint, other: Other, (acknowledges, checksum): Framing, key: Option<&Path>) -> Subject {
    Subject {
        name: "desk".to_owned(),
        endpoint,
        other,
        acknowledges,
        checksum,
        zone: TimeZone::UTC,
        link_key: key.map(|path| SecretSource::File(path.to_owned())),
        patience: Patience { connect: Duration::from_secs(2), talk: Duration::from_secs(5) },
    }
}

/// Looks at a line with this other end: what is heard, and how the other end saw the link end.
async fn look(
    peer: Peer,
    theirs: Framing,
    other: Other,
    ours: Framing,
    key: Option<&Path>,
) -> (Verdict, Heard, Option<CloseReason>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let port = listener.local_addr().expect("an address").port();
    let playing = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("connected");
        play(peer, theirs, stream).await
    });
    let subject = subject(Endpoint::Dial { host: "127.0.0.1".to_owned(), port }, other, ours, key);
    let found = run(&subject).await.expect("a usable key");
    let heard = found.line.expect("opens");
    let verdict = of_fias(&heard, &found.key, &subject);
    (verdict, heard, playing.await.expect("played"))
}

#[tokio::test]
async fn each_fault_of_a_line_is_named_and_a_good_one_is_not_called_bad() {
    let alive = || Heard::Alive("DL 1.0".to_owned());
    let (keys, pms) = (Other::KeyService, Other::PropertySoftware);
    let cases = [
        (Peer::KeyService, PLAIN, keys, PLAIN, alive()),
        (Peer::KeyService, CHECKED, keys, CHECKED, alive()),
        (Peer::KeyService, UNCHECKED, keys, UNCHECKED, alive()),
        (Peer::KeyService, UNCHECKED, keys, CHECKED, Heard::ChecksumMissing),
        (Peer::KeyService, CHECKED, keys, UNCHECKED, Heard::ChecksumThere),
        (Peer::KeyService, PLAIN, keys, CHECKED, Heard::NoAcknowledgements),
        (Peer::KeyService, CHECKED, keys, PLAIN, Heard::WantsAcknowledgements),
        (Peer::PropertySoftware, PLAIN, keys, PLAIN, Heard::SamePart),
        (Peer::PropertySoftware, PLAIN, pms, PLAIN, Heard::Started),
        (Peer::PropertySoftware, CHECKED, pms, CHECKED, Heard::Started),
        (Peer::PropertySoftware, CHECKED, pms, UNCHECKED, Heard::ChecksumThere),
        (Peer::PropertySoftware, UNCHECKED, pms, CHECKED, Heard::ChecksumMissing),
        (Peer::PropertySoftware, CHECKED, pms, PLAIN, Heard::WantsAcknowledgements),
        (Peer::PropertySoftware, PLAIN, pms, CHECKED, Heard::NoAcknowledgements),
        (Peer::KeyService, PLAIN, pms, PLAIN, Heard::SamePart),
        (Peer::Silent, PLAIN, keys, CHECKED, Heard::Nothing),
        (Peer::Deaf, PLAIN, keys, CHECKED, Heard::Deaf),
        (Peer::Refuses, PLAIN, keys, UNCHECKED, Heard::Refused),
        (Peer::HangsUp, PLAIN, pms, PLAIN, Heard::Lost),
    ];
    let looks = cases.into_iter().map(|(peer, theirs, other, ours, expected)| async move {
        let (verdict, heard, _) = look(peer, theirs, other, ours, None).await;
        assert_eq!(heard, expected, "{peer:?} {theirs:?} as {other:?} with {ours:?}");
        let is_good = matches!(heard, Heard::Alive(_) | Heard::Started);
        assert_eq!(verdict.outcome == Outcome::Ok, is_good, "{verdict:?}");
        assert_eq!(verdict.remedy.is_empty(), is_good, "{verdict:?}");
    });
    futures_util::future::join_all(looks).await;
    let (_, garbage, _) = look(Peer::Garbage, PLAIN, keys, CHECKED, None).await;
    assert!(matches!(garbage, Heard::Garbage(3..)), "{garbage:?}");
}

#[tokio::test]
async fn a_link_that_came_up_is_ended_in_good_order() {
    let (verdict, _, ended) = look(Peer::KeyService, CHECKED, Other::KeyService, CHECKED, None).await;
    assert_eq!(ended, Some(CloseReason::EndedByPeer), "{verdict:?}");
}

#[tokio::test]
async fn an_authenticated_link_wants_the_right_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    std::fs::write(&file, KEY).expect("written");
    let (verdict, heard, _) = look(Peer::KeyService, PLAIN, Other::KeyService, PLAIN, Some(&file)).await;
    assert!(matches!(heard, Heard::Untrusted(_)) && verdict.remedy.contains("link_key_file"), "{verdict:?}");
    let (verdict, ..) = look(Peer::KeyServiceWithKey, PLAIN, Other::KeyService, PLAIN, Some(&file)).await;
    assert!(verdict.outcome == Outcome::Ok && verdict.evidence.contains("has our key"), "{verdict:?}");
    let (verdict, ..) = look(Peer::PropertySoftware, PLAIN, Other::PropertySoftware, PLAIN, Some(&file)).await;
    assert!(verdict.evidence.contains("was not tried"), "{verdict:?}");

    std::fs::write(&file, "canary").expect("written");
    let nowhere = Endpoint::Dial { host: "127.0.0.1".to_owned(), port: 1 };
    let unusable = run(&subject(nowhere, Other::KeyService, PLAIN, Some(&file))).await.expect_err("no key");
    assert!(!unusable.0.contains("canary"), "{unusable:?}");
}

#[tokio::test]
async fn nobody_and_somebody_else_are_told_apart() {
    let address = TcpListener::bind("127.0.0.1:0").await.expect("listens").local_addr().expect("an address");
    let allow = vec!["192.0.2.1".parse().expect("an address")];
    let subject = subject(Endpoint::Listen { address, allow }, Other::KeyService, PLAIN, None);
    let nobody: Verdict = run(&subject).await.expect("no key").line.expect_err("nobody").into();
    assert!(nobody.evidence.contains("nobody connected"), "{nobody:?}");
    let _stranger = AbortOnDropHandle::new(tokio::spawn(async move {
        // Refused until we listen.
        loop {
            if let Ok(mut stream) = TcpStream::connect(address).await {
                let _closed = stream.read(&mut [0; 1]).await;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }));
    let stranger: Verdict = run(&subject).await.expect("no key").line.expect_err("a stranger").into();
    assert!(stranger.evidence.contains("127.0.0.1 connected") && stranger.remedy.contains("allow"), "{stranger:?}");
}
