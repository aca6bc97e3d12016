use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan as _};
use lockbridge::link::{Endpoint, Limits, Opener, Statistics};
use lockbridge_protocol::line::Checksum;
use lockbridge_protocol::salto_pms::answer::Answer;
use lockbridge_protocol::salto_pms::audit::AuditCard;
use lockbridge_protocol::salto_pms::authorisation::Authorisations;
use lockbridge_protocol::salto_pms::card::{CardRead, CopyNumber};
use lockbridge_protocol::salto_pms::client::{Doubt, NotBegun, Settings as ClientSettings};
use lockbridge_protocol::salto_pms::request::{
    AuditStep, CardKey, Handling, KeyKind, MobileDelivery, MobileKey, Request, ReturnSerial, Stay, Track,
};
use tokio_util::task::AbortOnDropHandle;

use super::encoder::lay;
use super::fault::{Fault, FaultKind};
use super::hotel::{Card, Change, Contents, EffectKind, Encoder, Room};
use super::life::{Addresses, bind};
use super::log::Log;
use super::{Settings, Simulator};
use crate::harness::pms_desk::{Ended, PmsDesk};
use crate::simulator::line::noise::NoiseSettings;

const PATIENCE: Duration = Duration::from_secs(10);

struct Hotel {
    simulator: Arc<Simulator>,
    desk: PmsDesk,
    _server: AbortOnDropHandle<()>,
}

fn open(folder: &Path, checksum: Checksum) -> Simulator {
    let (log, hotel) = Log::open(folder).unwrap();
    let settings = Settings {
        zone: TimeZone::UTC,
        card_wait: Duration::from_millis(300),
        write_time: Duration::from_millis(20),
        checksum,
    };
    let is_new = hotel.rooms.is_empty();
    let simulator = Simulator::new(log, hotel, settings);
    if is_new {
        simulator.seed_demo().unwrap();
    }
    simulator
}

async fn hotel_with(folder: &Path, server: Checksum, client: Checksum) -> Hotel {
    let simulator = Arc::new(open(folder, server));
    let loopback = "127.0.0.1:0".parse().unwrap();
    let addresses = Addresses { tcp: Some(loopback), pty: None, baud: None, control: loopback };
    let bound = bind(addresses, &NoiseSettings::default()).await.unwrap();
    let address = bound.addresses.tcp.unwrap();
    let running = Arc::clone(&simulator);
    let server = tokio::spawn(async move { bound.run(running).await.unwrap() });
    let endpoint = Endpoint::Dial { host: address.ip().to_string(), port: address.port() };
    let opener = Opener::new(endpoint, Limits::default(), Statistics::new("desk"));
    let settings = ClientSettings {
        reply_timeout: Duration::from_millis(300),
        pause: Duration::from_millis(20),
        hold: Duration::from_millis(200),
        ..ClientSettings::default()
    };
    let desk = PmsDesk::new(opener, settings, client);
    Hotel { simulator, desk, _server: AbortOnDropHandle::new(server) }
}

async fn hotel(folder: &Path) -> Hotel {
    hotel_with(folder, Checksum::CheckedUnlessMarked, Checksum::CheckedUnlessMarked).await
}

impl Hotel {
    async fn ask(&mut self, request: &Request) -> Ended {
        self.desk.ask(request, PATIENCE).await.unwrap()
    }

    fn put(&self, encoder: &str, serial: &str, contents: Contents) {
        let change = |hotel: &mut super::hotel::Hotel| {
            if !hotel.cards.contains_key(serial) {
                hotel.put(Change::Card(Card { serial: serial.to_owned(), contents, tracks: <[String; 3]>::default() }));
            }
            lay(hotel, encoder, Some(serial.to_owned()));
        };
        self.simulator.change(change).unwrap();
    }

    fn lift(&self, encoder: &str) {
        self.simulator.change(|hotel| lay(hotel, encoder, None)).unwrap();
    }

    fn set(&self, name: &str, set: impl FnOnce(&mut Encoder)) {
        let change = |hotel: &mut super::hotel::Hotel| {
            let mut encoder = hotel.encoders[name].clone();
            set(&mut encoder);
            hotel.put(Change::Encoder(encoder));
        };
        self.simulator.change(change).unwrap();
    }

    fn opens(&self, serial: &str, room: &str) -> bool {
        let now = self.simulator.now();
        self.simulator.change(|hotel| hotel.present(serial, room, now)).unwrap().expect("card and room")
    }

    fn count(&self, kind: EffectKind) -> usize {
        self.simulator.read(|hotel| hotel.effects.iter().filter(|effect| effect.kind == kind).count())
    }

    fn fault(&self, kind: FaultKind) {
        self.simulator.faults.add(Fault { kind, request: None, encoder: None, times: 1 });
    }

    fn end(&self) -> DateTime {
        self.simulator.now() + 2.days()
    }

    fn stay(&self, room: &str) -> Stay {
        Stay { room: room.to_owned(), end: Some(self.end()), operator: "DESK".to_owned(), ..Stay::default() }
    }

    fn key(&self, kind: KeyKind, room: &str) -> Request {
        Request::Card(CardKey {
            kind,
            cards: None,
            encoder: "1".to_owned(),
            handling: Handling::Retain,
            stay: self.stay(room),
            tracks: <[String; 3]>::default(),
            serial: ReturnSerial::Last,
        })
    }

    /// Writes a key on a card with this serial.
    async fn make(&mut self, kind: KeyKind, room: &str, serial: &str) {
        self.put("1", serial, Contents::Blank);
        let request = self.key(kind, room);
        let ended = self.ask(&request).await;
        let Ended::Answered(Answer::Done { about, more }) = &ended else { panic!("{ended:?}") };
        assert_eq!((about.as_str(), more.as_slice()), ("1", &[serial.to_owned()][..]));
        self.lift("1");
    }

    async fn code(&mut self, request: Request) -> String {
        let ended = self.ask(&request).await;
        assert!(matches!(ended, Ended::Answered(_)), "{ended:?}");
        ended.code().to_owned()
    }
}

const FIRST: &str = "04000000000001";
const SECOND: &str = "04000000000002";
const THIRD: &str = "04000000000003";

#[tokio::test]
async fn a_new_check_in_ends_older_cards_at_the_door_when_it_is_used_and_copies_end_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut hotel = hotel(folder.path()).await;
    hotel.make(KeyKind::CheckIn, "101", FIRST).await;
    hotel.make(KeyKind::Copy, "101", SECOND).await;
    assert!(hotel.opens(FIRST, "101") && hotel.opens(SECOND, "101") && hotel.opens(FIRST, "101"));
    assert!(!hotel.opens(FIRST, "102"));
    hotel.make(KeyKind::CheckIn, "101", THIRD).await;
    assert!(hotel.opens(FIRST, "101"), "the lock has not met the new key");
    assert!(hotel.opens(THIRD, "101"));
    assert!(!hotel.opens(FIRST, "101") && !hotel.opens(SECOND, "101"));
    assert_eq!(hotel.count(EffectKind::CardWritten), 3);
}

#[tokio::test]
async fn a_one_shot_key_opens_once_and_leaves_the_guest_in_peace() {
    let folder = tempfile::tempdir().unwrap();
    let mut hotel = hotel(folder.path()).await;
    hotel.make(KeyKind::CheckIn, "101", FIRST).await;
    hotel.make(KeyKind::OneShot, "101", SECOND).await;
    assert!(hotel.opens(FIRST, "101") && hotel.opens(SECOND, "101"));
    assert!(!hotel.opens(SECOND, "101") && hotel.opens(FIRST, "101"));
}

#[tokio::test]
async fn a_check_out_ends_the_stay_and_the_card_opens_until_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut hotel = hotel(folder.path()).await;
    hotel.make(KeyKind::CheckIn, "101", FIRST).await;
    let check_out = Request::CheckOut { room: "101".to_owned() };
    assert!(hotel.ask(&check_out).await.is_done());
    assert!(hotel.ask(&check_out).await.is_done(), "a free room is no error");
    assert_eq!(hotel.count(EffectKind::CheckedOut), 1);
    let copy = hotel.key(KeyKind::Copy, "101");
    assert_eq!(hotel.code(copy).await, "EA");
    assert!(hotel.opens(FIRST, "101"));
    hotel.simulator.advance(SignedDuration::from_hours(49));
    assert!(!hotel.opens(FIRST, "101"));
}

#[tokio::test]
async fn a_stay_is_longer_or_in_another_room_after_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let mut hotel = hotel(folder.path()).await;
    let change = |room: &str, new: &str, end| Request::ModifyStay {
        room: room.to_owned(),
        new_room: new.to_owned(),
        end,
        code: String::new(),
    };
    let end = hotel.end() + 1.day();
    assert_eq!(hotel.code(change("101", "", Some(end))).await, "EA");
    hotel.make(KeyKind::CheckIn, "101", FIRST).await;
    hotel.make(KeyKind::CheckIn, "102", SECOND).await;
    assert_eq!(hotel.code(change("101", "102", None)).await, "EG");
    assert_eq!(hotel.code(change("101", "999", None)).await, "TD");
    assert_eq!(hotel.code(change("101", "103", Some(end))).await, "");
    let rooms = hotel.simulator.read(|hotel| (hotel.rooms["101"].clone(), hotel.rooms["103"].clone()));
    assert!(!rooms.0.occupied && rooms.1.occupied);
    assert_eq!(rooms.1.end, Some(end.with().second(0).build().unwrap()));
    assert_eq!(hotel.count(EffectKind::StayChanged), 1);
}

#[tokio::test]
async fn what_a_real_server_refuses_is_refused_with_its_code_and_without_effect() {
    let folder = tempfile::tempdir().unwrap();
    let mut hotel = hotel(folder.path()).await;
    let check_in = hotel.key(KeyKind::CheckIn, "101");
    let elsewhere = |encoder: &str, room: &str| {
        let Request::Card(card) = check_in.clone() else { panic!("a card") };
        let stay = Stay { room: room.to_owned(), ..card.stay };
        Request::Card(CardKey { encoder: encoder.to_owned(), stay, ..card })
    };
    assert_eq!(hotel.code(elsewhere("1", "999")).await, "TD");
    assert_eq!(hotel.code(elsewhere("9", "101")).await, "NC");
    assert_eq!(hotel.code(check_in.clone()).await, "ED", "nobody lays a card");
    hotel.put("1", "04AAAAAAAAAAAA", Contents::Staff);
    assert_eq!(hotel.code(check_in.clone()).await, "EV");
    hotel.put("1", SECOND, Contents::Foreign);
    assert_eq!(hotel.code(check_in.clone()).await, "EF");
    hotel.put("1", FIRST, Contents::Blank);
    hotel.set("1", |encoder| encoder.busy = true);
    assert_eq!(hotel.code(check_in.clone()).await, "OV");
    hotel.set("1", |encoder| *encoder = Encoder { busy: false, plugged: false, ..encoder.clone() });
    assert_eq!(hotel.code(check_in.clone()).await, "NC");
    hotel.set("1", |encoder| encoder.plugged = true);
    let closed = Room { name: "104".to_owned(), out_of_service: true, ..Room::default() };
    hotel.simulator.change(|hotel| hotel.put(Change::Room(closed))).unwrap();
    assert_eq!(hotel.code(elsewhere("1", "104")).await, "OS");
    let Request::Card(mut past) = check_in.clone() else { panic!("a card") };
    past.stay.end = Some(hotel.simulator.now() - 1.hour());
    assert_eq!(hotel.code(Request::Card(past)).await, "ES");
    let claim = hotel.simulator.claim(super::room_claim("101")).unwrap();
    // The claim borrows the simulator; the same room is being written elsewhere.
    let busy = hotel.desk.ask(&check_in, PATIENCE).await.unwrap();
    assert_eq!(busy.code(), "EO");
    drop(claim);
    assert_eq!(hotel.simulator.read(|hotel| hotel.effects.len()), 0);
    assert_eq!(hotel.code(check_in).await, "");
}

#[tokio::test]
async fn a_card_that_is_lifted_too_early_is_spoilt_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut hotel = hotel(folder.path()).await;
    hotel.put("1", FIRST, Contents::Blank);
    hotel.fault(FaultKind::CardLifted);
    let check_in = hotel.key(KeyKind::CheckIn, "101");
    assert_eq!(hotel.code(check_in).await, "EP");
    assert_eq!((hotel.count(EffectKind::CardPartlyWritten), hotel.count(EffectKind::CardWritten)), (1, 0));
    assert!(!hotel.opens(FIRST, "101"));
    assert!(!hotel.simulator.read(|hotel| hotel.rooms["101"].occupied), "no stay without a key");
}

#[tokio::test]
async fn several_cards_are_one_stay_and_an_attendant_feeds_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut hotel = hotel(folder.path()).await;
    hotel.set("1", |encoder| encoder.auto_feed = true);
    let Request::Card(card) = hotel.key(KeyKind::CheckIn, "201") else { panic!("a card") };
    let stay = Stay { more_rooms: vec!["202".to_owned()], ..card.stay.clone() };
    let ended = hotel.ask(&Request::Card(CardKey { cards: Some(3), serial: ReturnSerial::All, stay, ..card })).await;
    let Ended::Answered(Answer::Done { more, .. }) = ended else { panic!("{ended:?}") };
    assert_eq!(more.len(), 3);
    for serial in &more {
        assert!(hotel.opens(serial, "201") && hotel.opens(serial, "202"), "{serial}");
    }
    let copies = hotel.simulator.read(|hotel| hotel.rooms["201"].copies);
    assert_eq!((hotel.count(EffectKind::CardWritten), copies), (3, 2));
}

#[tokio::test]
async fn a_card_is_read_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut hotel = hotel(folder.path()).await;
    let read = Request::ReadCard { encoder: "1".to_owned(), handling: Handling::Retain };
    for (serial, contents, expected) in [
        (SECOND, Contents::Spare, CardRead::Spare),
        (THIRD, Contents::Blank, CardRead::NotIdentified),
        ("04AAAAAAAAAAAA", Contents::Staff, CardRead::Staff),
    ] {
        hotel.put("1", serial, contents);
        let Ended::Answered(Answer::Card { card, .. }) = hotel.ask(&read).await else { panic!("{serial}") };
        assert_eq!(card, expected);
    }
    hotel.put("1", FIRST, Contents::Blank);
    let Request::Card(mut card) = hotel.key(KeyKind::CheckIn, "101") else { panic!("a card") };
    card.stay.granted = Authorisations::from_numbers([1, 10]).unwrap();
    card.tracks[1] = "TRACK TWO".to_owned();
    let end = card.stay.end;
    assert!(hotel.ask(&Request::Card(card)).await.is_done());
    let Ended::Answered(Answer::Card { card: CardRead::Guest(guest), .. }) = hotel.ask(&read).await else {
        panic!("a guest")
    };
    assert_eq!((guest.room.as_str(), guest.checked_in, guest.copy), ("101", Some(true), Some(CopyNumber::Original)));
    assert_eq!(guest.granted.numbers().collect::<Vec<_>>(), [1, 10]);
    assert_eq!(guest.end, end.map(|end| end.with().second(0).build().unwrap()));
    let track = Request::ReadTrack { track: Track::Two, encoder: "1".to_owned(), handling: Handling::Retain };
    let ended = hotel.ask(&track).await;
    assert!(matches!(&ended, Ended::Answered(Answer::Track { text, .. }) if text == "TRACK TWO"), "{ended:?}");
    let now = hotel.simulator.now();
    assert_eq!(hotel.simulator.change(|hotel| hotel.present_common(FIRST, 10, now)).unwrap(), Some(true));
    assert_eq!(hotel.simulator.change(|hotel| hotel.present_common(FIRST, 2, now)).unwrap(), Some(false));
}

#[tokio::test]
async fn keys_go_to_phones_and_back_to_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let mut hotel = hotel(folder.path()).await;
    let mobile = |kind, delivery| {
        let stay = hotel.stay("105");
        Request::Mobile(MobileKey { kind, phone: "+34600000000".to_owned(), stay, delivery })
    };
    let to_phone = MobileDelivery::Phone { text: "Welcome".to_owned() };
    let (copy, new) = (mobile(KeyKind::Copy, to_phone.clone()), mobile(KeyKind::CheckIn, to_phone));
    let returned = mobile(KeyKind::Copy, MobileDelivery::Returned { installation: true });
    assert_eq!(hotel.code(copy.clone()).await, "EA");
    assert!(hotel.ask(&new).await.is_done() && hotel.ask(&copy).await.is_done());
    let ended = hotel.ask(&returned).await;
    let Ended::Answered(Answer::Done { about, more }) = ended else { panic!("{ended:?}") };
    assert_eq!((about.as_str(), more.len()), ("+34600000000", 2));
    assert_eq!(hotel.count(EffectKind::MobileKey), 3);
    let received: Vec<u64> = hotel.simulator.read(|hotel| hotel.phones.values().map(|it| it.keys_received).collect());
    assert_eq!(received, [2], "one phone, and the host's own app is another matter");
    let now = hotel.simulator.now();
    let opens = |room: &str| hotel.simulator.change(|hotel| hotel.present_phone("+34600000000", room, now)).unwrap();
    assert_eq!((opens("105"), opens("106"), opens("none")), (Some(true), Some(false), None));
    let wrong = |phone: &str| {
        let Request::Mobile(new) = &new else { panic!("mobile") };
        Request::Mobile(MobileKey { phone: phone.to_owned(), ..new.clone() })
    };
    hotel.simulator.license_phones(false);
    assert_eq!(hotel.code(wrong("+34600000001")).await, "EG");
    hotel.simulator.license_phones(true);
    assert_eq!(hotel.count(EffectKind::MobileKey), 3, "what is refused changes nothing");
}

#[tokio::test]
async fn the_trail_of_a_door_is_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut hotel = hotel(folder.path()).await;
    hotel.make(KeyKind::CheckIn, "101", FIRST).await;
    hotel.opens(FIRST, "101");
    hotel.opens("04AAAAAAAAAAAA", "101");
    let step = |step, door: &str| Request::Audit { step, door: door.to_owned() };
    let Ended::Answered(Answer::Audit(first)) = hotel.ask(&step(AuditStep::First, "101")).await else { panic!("one") };
    assert_eq!((first.card, first.copy.as_str()), (AuditCard::Guest("101".to_owned()), "#0"));
    let Ended::Answered(Answer::Audit(second)) = hotel.ask(&step(AuditStep::Next, "101")).await else { panic!("two") };
    assert_eq!(second.card, AuditCard::Staff);
    let Ended::Answered(Answer::Audit(again)) = hotel.ask(&step(AuditStep::Repeat, "101")).await else { panic!("two") };
    assert_eq!(again, second);
    let end = hotel.ask(&step(AuditStep::Next, "101")).await;
    assert!(matches!(end, Ended::Answered(Answer::AuditEnd)), "{end:?}");
    assert_eq!(hotel.code(step(AuditStep::First, "no such door")).await, "WE");
}

#[tokio::test]
async fn faults_do_what_they_say_and_the_work_is_done_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut hotel = hotel(folder.path()).await;
    hotel.set("1", |encoder| encoder.auto_feed = true);
    let check_in = hotel.key(KeyKind::CheckIn, "101");
    let brief = Duration::from_millis(600);
    for (kind, written, done) in [
        (FaultKind::Nak, 1, true),
        (FaultKind::SilentEnquiry, 2, true),
        (FaultKind::DamagedAnswer, 3, true),
        (FaultKind::Delay { milliseconds: 100 }, 4, true),
        (FaultKind::LateAnswer { milliseconds: 100 }, 5, true),
    ] {
        hotel.fault(kind.clone());
        let ended = hotel.ask(&check_in).await;
        assert_eq!((ended.is_done(), hotel.count(EffectKind::CardWritten)), (done, written), "{kind:?}: {ended:?}");
    }
    for (kind, written, doubt) in [
        (FaultKind::NeverAnswer { perform: true }, 6, Doubt::NoAnswer),
        (FaultKind::NeverAnswer { perform: false }, 6, Doubt::NoAnswer),
        (FaultKind::HalfAnswer, 7, Doubt::NoAnswer),
        (FaultKind::StrayAnswer { milliseconds: 700 }, 8, Doubt::NoAnswer),
        (FaultKind::Close { perform: true }, 9, Doubt::LinkLost),
    ] {
        hotel.fault(kind.clone());
        let ended = hotel.desk.ask(&check_in, brief).await.unwrap();
        assert_eq!(ended, Ended::Unknown(doubt), "{kind:?}");
        hotel.simulator.jobs.close();
        hotel.simulator.jobs.wait().await;
        hotel.simulator.jobs.reopen();
        assert_eq!(hotel.count(EffectKind::CardWritten), written, "{kind:?}");
        hotel.desk.hang_up();
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    hotel.simulator.faults.add(Fault { kind: FaultKind::Nak, request: None, encoder: None, times: 9 });
    let refused = hotel.ask(&check_in).await;
    assert_eq!(refused, Ended::NotBegun(NotBegun::Refused { times: 3 }));
    assert_eq!(hotel.count(EffectKind::CardWritten), 9);
}

#[tokio::test]
async fn a_server_that_wants_checksums_takes_no_message_without() {
    let folder = tempfile::tempdir().unwrap();
    let mut hotel = hotel_with(folder.path(), Checksum::Checked, Checksum::Marked).await;
    let refused = hotel.ask(&Request::CheckOut { room: "101".to_owned() }).await;
    assert_eq!(refused, Ended::NotBegun(NotBegun::Refused { times: 3 }));
    let folder = tempfile::tempdir().unwrap();
    let mut hotel = hotel_with(folder.path(), Checksum::Checked, Checksum::Checked).await;
    assert!(hotel.ask(&Request::CheckOut { room: "101".to_owned() }).await.is_done());
}

#[tokio::test]
async fn a_killed_server_has_lost_nothing_and_a_torn_line_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = hotel(folder.path()).await;
    first.make(KeyKind::CheckIn, "101", FIRST).await;
    let before = first.simulator.read(|hotel| (hotel.rooms.clone(), hotel.cards.clone(), hotel.effects.clone()));
    drop(first);
    let path = folder.path().join("hotel.jsonl");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend_from_slice(b"[{\"effect\":{\"num");
    std::fs::write(&path, bytes).unwrap();
    let mut second = hotel(folder.path()).await;
    let after = second.simulator.read(|hotel| (hotel.rooms.clone(), hotel.cards.clone(), hotel.effects.clone()));
    assert_eq!(before, after);
    second.make(KeyKind::Copy, "101", SECOND).await;
    assert!(second.opens(FIRST, "101") && second.opens(SECOND, "101"));
    assert_eq!(second.simulator.read(|hotel| hotel.effects.last().unwrap().number), 4);
}
