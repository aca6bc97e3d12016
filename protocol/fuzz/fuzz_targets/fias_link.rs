//! Any bytes at any time to both roles of a FIAS link over a serial line: no panic, one end for each record sent, and data only while
//! the link is alive.
#![no_main]

use std::time::Duration;

use jiff::civil::date;
use libfuzzer_sys::fuzz_target;
use lockbridge_protocol::fias::link::LinkDescription;
use lockbridge_protocol::fias::record::Record;
use lockbridge_protocol::fias::serial::{Repeat, SerialAction, SerialLine, SerialSettings};
use lockbridge_protocol::fias::session::key_system::{KeySystemSession, KeySystemSettings};
use lockbridge_protocol::fias::session::pms::{PmsSession, PmsSettings};
use lockbridge_protocol::fias::session::{Disposition, Medium, Moment};

fuzz_target!(|input: (bool, Vec<(u16, Vec<u8>)>)| {
    let (specified, chunks) = input;
    let repeat = if specified { Repeat::AsSpecified } else { Repeat::OnlyIfRefused };
    let mut line = SerialLine::new(SerialSettings::default());
    let description =
        LinkDescription { version: "1".to_owned(), family: "DL".to_owned(), ..LinkDescription::default() };
    let mut keys = KeySystemSession::new(KeySystemSettings::new(Medium::Serial, description, Vec::new()));
    let mut pms = PmsSession::new(PmsSettings::new(Medium::Serial));
    let mut at = Moment { now: Duration::ZERO, local: date(2026, 11, 22).at(9, 0, 0, 0), random: [0; 16] };
    keys.link_up(at);
    pms.link_up(at);
    let (mut copies, mut ended) = (1, 0);
    line.send(b"KR|KC1|", repeat, at.now).expect("idle");
    for (milliseconds, bytes) in chunks.into_iter().chain(std::iter::repeat_n((5_000, Vec::new()), 40)) {
        let mut rest = &bytes[..];
        while let Some(action) = line.read(&mut rest, at.now) {
            match action {
                SerialAction::Record { body, .. } => {
                    let Ok(record) = Record::read(body) else { continue };
                    let alive = pms.is_alive();
                    let outcome = pms.record(record, at);
                    assert!(outcome.disposition != Disposition::Data || alive);
                    assert!(outcome.actions.len() <= 4);
                    let outcome = keys.record(record, at);
                    assert!(outcome.disposition != Disposition::Data || keys.is_alive());
                    assert!(outcome.actions.len() <= 4);
                }
                SerialAction::Frame(_) => copies += 1,
                SerialAction::Done(_) => ended += 1,
                SerialAction::Control(_) => {}
            }
        }
        at.now += Duration::from_millis(milliseconds.into());
        while let Some(action) = line.tick(at.now) {
            match action {
                SerialAction::Frame(_) => copies += 1,
                SerialAction::Done(_) => ended += 1,
                _ => {}
            }
        }
        pms.tick(at);
        keys.tick(at);
    }
    assert!(copies <= 4);
    assert_eq!(ended, 1);
    assert!(!line.is_busy());
});
