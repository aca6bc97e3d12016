use std::time::Duration;

use jiff::civil::date;
use proptest::prelude::*;

use super::key_system::{KeySystemSession, KeySystemSettings};
use super::pms::{PmsSession, PmsSettings};
use super::*;
use crate::fias::cryptogram::SiteKey;
use crate::fias::id::RecordId;
use crate::fias::link::{ASK_KEY_TIMEOUT, LinkDescription, LinkRecord};
use crate::fias::record::Record;
use crate::fias::value::FieldList;

fn at(milliseconds: u64) -> Moment {
    let now = Duration::from_millis(milliseconds);
    let local =
        date(2026, 11, 22).at(9, 0, 0, 0) + jiff::Span::new().milliseconds(i64::try_from(milliseconds).unwrap());
    Moment { now, local: local.round(jiff::Unit::Second).unwrap(), random: [7; 16] }
}

fn key_system_settings(medium: Medium) -> KeySystemSettings {
    let description = LinkDescription {
        version: "1.0".to_owned(),
        family: "DL".to_owned(),
        returns: Some(ASK_KEY_TIMEOUT),
        ..LinkDescription::default()
    };
    let record = |record, fields: &[u8]| LinkRecord { record, fields: FieldList::read(fields) };
    let records = vec![record(RecordId::KEY_REQUEST, b"WSKCRNKTG#GD"), record(RecordId::KEY_ANSWER, b"ASKCWSG#CT")];
    KeySystemSettings::new(medium, description, records)
}

fn key_system(medium: Medium) -> KeySystemSession {
    KeySystemSession::new(key_system_settings(medium))
}

fn pms(medium: Medium) -> PmsSession {
    PmsSession::new(PmsSettings::new(medium))
}

fn record(text: &str) -> Record<'_> {
    Record::read(text.as_bytes()).unwrap()
}

/// Records sent by their two letters, the rest by name.
fn shown(actions: &[LinkAction]) -> Vec<String> {
    actions
        .iter()
        .map(|action| match action {
            LinkAction::Send(body) => String::from_utf8_lossy(&body[..2]).into_owned(),
            other => format!("{other:?}"),
        })
        .collect()
}

const LR: &str = "LR|RIKR|FLWSKCRNKT|";

/// A PMS whose key system has introduced itself.
fn alive_pms(medium: Medium) -> PmsSession {
    let mut pms = pms(medium);
    assert_eq!(shown(&pms.link_up(at(0))), ["LS"]);
    for text in ["LD|DA261122|TI090001|V#1.0|IFDL|", LR] {
        assert_eq!(pms.record(record(text), at(1000)), Outcome { disposition: Disposition::Link, actions: vec![] });
    }
    assert_eq!(shown(&pms.record(record("LA|"), at(1000)).actions), ["LA", "Alive"]);
    assert!(pms.is_alive());
    pms
}

#[test]
fn two_ends_come_up_and_go_down() {
    for medium in [Medium::Tcp, Medium::Serial] {
        let (mut pms, mut keys) = (pms(medium), key_system(medium));
        let mut now = 0;
        assert_eq!(keys.link_up(at(now)), []);
        let mut to_keys = pms.link_up(at(now));
        let mut to_pms = Vec::new();
        let mut alive = 0;
        let mut closed = 0;
        let mut order = Vec::new();
        while alive < 2 || closed < if medium == Medium::Tcp { 2 } else { 1 } {
            now += 50;
            assert!(now < 20_000, "{order:?}");
            if alive == 2 && pms.is_alive() {
                to_keys.extend(pms.end(at(now)));
            }
            for action in std::mem::take(&mut to_keys) {
                match action {
                    LinkAction::Send(body) => {
                        order.push(String::from_utf8_lossy(&body[..2]).into_owned());
                        to_pms.extend(keys.record(Record::read(&body).unwrap(), at(now)).actions);
                    }
                    LinkAction::Alive => alive += 1,
                    LinkAction::NotAlive => {}
                    LinkAction::Close(_) => closed += 1,
                }
            }
            for action in std::mem::take(&mut to_pms) {
                match action {
                    LinkAction::Send(body) => {
                        order.push(String::from_utf8_lossy(&body[..2]).to_lowercase());
                        to_keys.extend(pms.record(Record::read(&body).unwrap(), at(now)).actions);
                    }
                    LinkAction::Alive => alive += 1,
                    LinkAction::NotAlive => {}
                    LinkAction::Close(_) => closed += 1,
                }
            }
            to_keys.extend(pms.tick(at(now)));
            to_pms.extend(keys.tick(at(now)));
        }
        assert_eq!(order, ["LS", "ld", "lr", "lr", "la", "LC", "LA", "LE", "le"]);
        assert_eq!(keys.configuration().unwrap().key_timeout_seconds, Some(60));
        assert!(!keys.is_alive() && !pms.is_alive());
    }
}

#[test]
fn the_pms_repeats_its_start_until_the_introduction_is_complete() {
    let mut pms = pms(Medium::Tcp);
    pms.link_up(at(0));
    assert_eq!(pms.deadline(), Some(Duration::from_secs(10)));
    assert_eq!(pms.tick(at(9_999)), []);
    assert_eq!(shown(&pms.tick(at(10_000))), ["LS"]);
    pms.record(record("LD|V#1|IFDL|"), at(11_000));
    assert_eq!(shown(&pms.record(record("LA|"), at(11_000)).actions), ["LS"], "no LR");
    assert!(!pms.is_alive());
    pms.record(record(LR), at(11_500));
    assert_eq!(shown(&pms.record(record("LA|"), at(11_500)).actions), ["LA", "Alive"]);
    assert!(pms.wanted(RecordId::KEY_REQUEST).is_some() && pms.wanted(RecordId::KEY_DELETE).is_none());
}

#[test]
fn data_counts_only_while_alive() {
    let mut pms = pms(Medium::Tcp);
    assert_eq!(pms.record(record("KA|KC1|"), at(0)).disposition, Disposition::Dropped);
    pms.link_up(at(0));
    assert_eq!(pms.record(record("KA|KC1|"), at(2000)), Outcome { disposition: Disposition::Dropped, actions: vec![] });
    let mut pms = alive_pms(Medium::Tcp);
    assert_eq!(pms.record(record("KA|KC1|"), at(2000)).disposition, Disposition::Data);
    assert_eq!(pms.record(record("LA|"), at(2000)).actions, [], "no LA for an LA");
    assert_eq!(shown(&pms.record(record("LS|"), at(2000)).actions), ["LA"]);
    assert_eq!(shown(&pms.record(record("LD|V#2|IFDL|"), at(2000)).actions), ["NotAlive"]);
    assert_eq!(pms.record(record("KA|KC1|"), at(2000)).disposition, Disposition::Dropped);
    let mut serial = PmsSession::new(PmsSettings::new(Medium::Serial));
    serial.link_up(at(0));
    let outcome = serial.record(record("KA|KC1|"), at(2000));
    assert_eq!((outcome.disposition, shown(&outcome.actions)), (Disposition::Dropped, vec!["LS".to_owned()]));
    assert_eq!(serial.record(record("KA|KC1|"), at(2100)).actions, [], "not a storm");
}

#[test]
fn on_a_port_a_request_of_a_pms_that_never_noticed_our_absence_counts() {
    for (medium, expected) in [(Medium::Tcp, Disposition::Dropped), (Medium::Serial, Disposition::Data)] {
        let mut keys = key_system(medium);
        assert_eq!(keys.link_up(at(0)), []);
        let outcome = keys.record(record("KR|WS1|KC1|RN1|KTN|"), at(500));
        assert_eq!((outcome.disposition, keys.is_alive()), (expected, expected == Disposition::Data), "{medium:?}");
    }
}

#[test]
fn two_systems_that_both_ask_do_not_storm() {
    let mut pms = pms(Medium::Tcp);
    pms.link_up(at(0));
    let sent: usize = (0..100).map(|step| pms.record(record("LS|"), at(step * 20)).actions.len()).sum();
    assert!(sent <= 2, "{sent} answers in two seconds");
}

#[test]
fn the_key_system_asks_when_nobody_does() {
    let mut keys = key_system(Medium::Tcp);
    keys.link_up(at(0));
    let mut asked = 0;
    loop {
        let now = u64::try_from(keys.deadline().expect("waits").as_millis()).unwrap();
        match &keys.tick(at(now))[..] {
            [LinkAction::Send(body)] if body.starts_with(b"LS|") => asked += 1,
            [LinkAction::Close(CloseReason::NoAnswer)] => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((asked, keys.deadline()), (5, None));
    // A PMS that stayed alive needs no introduction.
    let mut keys = key_system(Medium::Tcp);
    keys.link_up(at(0));
    assert_eq!(keys.record(record("LA|"), at(1)).actions, [], "nobody asked for that");
    assert_eq!(shown(&keys.tick(at(3_000))), ["LS"]);
    assert_eq!(shown(&keys.record(record("LA|"), at(3_100)).actions), ["Alive"]);
}

/// A key system that is alive, at 1 s.
fn alive_keys(medium: Medium) -> KeySystemSession {
    let mut keys = key_system(medium);
    keys.link_up(at(0));
    assert_eq!(shown(&keys.record(record("LS|DA261122|TI090000|"), at(0)).actions), ["LD"]);
    assert_eq!(keys.tick(at(99)), [], "spaced out");
    assert_eq!(shown(&keys.tick(at(100))), ["LR"]);
    assert_eq!(shown(&keys.tick(at(200))), ["LR"]);
    assert_eq!(shown(&keys.tick(at(300))), ["LA"]);
    assert_eq!(shown(&keys.record(record("LA|"), at(1_000)).actions), ["Alive"]);
    keys
}

#[test]
fn the_key_system_introduces_itself_whenever_it_is_asked() {
    let mut keys = alive_keys(Medium::Tcp);
    assert_eq!(shown(&keys.record(record("LS|"), at(2_000)).actions), ["NotAlive", "LD"]);
    assert_eq!(keys.record(record("KR|KC1|"), at(2_000)).disposition, Disposition::Dropped);
    assert_eq!(shown(&keys.tick(at(2_100))), ["LR"]);
    assert_eq!(shown(&keys.record(record("LS|"), at(2_150)).actions), ["LD"], "anew, in the middle");
    for (now, expected) in [(2_250, "LR"), (2_350, "LR"), (2_450, "LA")] {
        assert_eq!(shown(&keys.tick(at(now))), [expected]);
    }
    let outcome = keys.record(record("KR|KC1|"), at(3_000));
    assert_eq!((outcome.disposition, shown(&outcome.actions)), (Disposition::Data, vec!["Alive".to_owned()]));
}

#[test]
fn a_quiet_link_is_asked_and_then_given_up() {
    let mut keys = alive_keys(Medium::Tcp);
    assert_eq!(keys.deadline(), Some(Duration::from_secs(301)));
    keys.record(record("GI|RN1|"), at(200_000));
    assert_eq!(keys.tick(at(301_000)), []);
    assert_eq!(shown(&keys.tick(at(500_000))), ["LS"]);
    assert_eq!(keys.record(record("LA|"), at(500_100)).actions, [], "the answer is not answered");
    assert_eq!(shown(&keys.record(record("LA|"), at(600_000)).actions), ["LA"], "the PMS's own is");
    assert_eq!(shown(&keys.tick(at(900_000))), ["LS"]);
    assert_eq!(shown(&keys.tick(at(930_000))), ["NotAlive", "Close(NoAnswer)"]);
}

#[test]
fn ends_in_good_order() {
    let mut keys = alive_keys(Medium::Tcp);
    assert_eq!(shown(&keys.record(record("LE|"), at(2_000)).actions), ["NotAlive", "LE", "Close(EndedByPeer)"]);
    let mut keys = alive_keys(Medium::Serial);
    assert_eq!(shown(&keys.record(record("LE|"), at(2_000)).actions), ["NotAlive", "LE"]);
    assert_eq!(shown(&keys.record(record("LS|"), at(6_000)).actions), ["LD"]);
    let mut keys = alive_keys(Medium::Tcp);
    assert_eq!(shown(&keys.end(at(2_000))), ["NotAlive", "LE"]);
    assert_eq!(keys.end(at(2_000)), []);
    assert_eq!(shown(&keys.tick(at(4_000))), ["Close(Ended)"], "nobody answered");
    let mut pms = alive_pms(Medium::Serial);
    assert_eq!(shown(&pms.record(record("LE|"), at(2_000)).actions), ["NotAlive", "LE"]);
    assert_eq!(shown(&pms.tick(at(6_000))), ["LS"]);
    let mut pms = alive_pms(Medium::Tcp);
    assert_eq!(shown(&pms.end(at(2_000))), ["NotAlive", "LE"]);
    assert_eq!(shown(&pms.record(record("LE|"), at(2_100)).actions), ["Close(Ended)"]);
    let mut pms = alive_pms(Medium::Tcp);
    assert_eq!(shown(&pms.link_lost()), ["NotAlive"]);
    assert_eq!(pms.link_lost(), []);
}

#[test]
fn a_site_with_a_key_lets_nobody_else_in() {
    let key = SiteKey::read("GVDpVnl6qYlTQXQJZxXdbw==").unwrap();
    let other = SiteKey::read("AAAAAAAAAAAAAAAAAAAAAA==").unwrap();
    for (keys_key, trusted) in [(Some(key.clone()), true), (Some(other), false), (None, false)] {
        let mut pms = PmsSession::new(PmsSettings { key: Some(key.clone()), ..PmsSettings::new(Medium::Tcp) });
        let mut keys = KeySystemSession::new(KeySystemSettings { key: keys_key, ..key_system_settings(Medium::Tcp) });
        keys.link_up(at(0));
        let start = pms.link_up(at(0));
        let LinkAction::Send(start) = &start[0] else { panic!("LS") };
        // Half a second later: the moment of the LS counts, not that of the answer.
        let answer = keys.record(Record::read(start).unwrap(), at(1_500)).actions;
        let [LinkAction::Send(description)] = &answer[..] else { panic!("LD") };
        let actions = pms.record(Record::read(description).unwrap(), at(1_500)).actions;
        if trusted {
            assert_eq!(actions, []);
        } else {
            assert!(matches!(actions[..], [LinkAction::Close(CloseReason::Untrusted(_))]), "{actions:?}");
            assert_eq!(pms.record(record("LA|"), at(2_000)).disposition, Disposition::Dropped);
        }
    }
}

proptest! {
    #[test]
    fn any_records_at_any_time_keep_the_two_promises(
        serial in any::<bool>(),
        events in prop::collection::vec((prop_oneof![
            Just("LS|DA261122|TI090000|"), Just("LA|"), Just("LE|"), Just("LD|V#1|IFDL|RT128|"), Just(LR), Just("LC|A0;9|"), Just("KR|KC1|"), Just("XX|"), Just("LR|"), Just("end"), Just("up"), Just("lost"),
        ], 0..60_000_u64), 0..60),
    ) {
        let medium = if serial { Medium::Serial } else { Medium::Tcp };
        let (mut pms, mut keys) = (pms(medium), key_system(medium));
        let mut now = 0;
        let mut alive = [false, false];
        for (event, wait) in events {
            now += wait;
            let (mut first, mut second) = (pms.tick(at(now)), keys.tick(at(now)));
            match event {
                "up" => {
                    first.extend(pms.link_lost());
                    second.extend(keys.link_lost());
                    first.extend(pms.link_up(at(now)));
                    second.extend(keys.link_up(at(now)));
                }
                "lost" => {
                    first.extend(pms.link_lost());
                    second.extend(keys.link_lost());
                }
                "end" => {
                    first.extend(pms.end(at(now)));
                    second.extend(keys.end(at(now)));
                }
                text => {
                    let before = pms.is_alive();
                    let outcome = pms.record(record(text), at(now));
                    prop_assert_eq!(outcome.disposition == Disposition::Data, before && !record(text).id().is_link());
                    first.extend(outcome.actions);
                    let outcome = keys.record(record(text), at(now));
                    prop_assert!(outcome.disposition != Disposition::Data || keys.is_alive());
                    second.extend(outcome.actions);
                }
            }
            // Alive and NotAlive come in turn, and say what the session says.
            for (index, actions) in [first, second].iter().enumerate() {
                prop_assert!(actions.len() <= 8);
                for action in actions {
                    match action {
                        LinkAction::Alive => prop_assert!(!std::mem::replace(&mut alive[index], true)),
                        LinkAction::NotAlive => prop_assert!(std::mem::replace(&mut alive[index], false)),
                        LinkAction::Close(reason) => prop_assert!(*reason != CloseReason::Settings),
                        LinkAction::Send(_) => {}
                    }
                }
            }
            prop_assert_eq!(alive, [pms.is_alive(), keys.is_alive()]);
        }
    }
}
