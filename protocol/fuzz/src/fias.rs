//! FIAS: records, and both roles of a link over the serial protocol.

use std::time::Duration;

use jiff::civil::date;
use lockbridge_protocol::fias::any::AnyRecord;
use lockbridge_protocol::fias::key::KeyRecord;
use lockbridge_protocol::fias::link::LinkDescription;
use lockbridge_protocol::fias::record::Record;
use lockbridge_protocol::fias::serial::{Repeat, SerialAction, SerialLine, SerialSettings};
use lockbridge_protocol::fias::session::key_system::{KeySystemSession, KeySystemSettings};
use lockbridge_protocol::fias::session::pms::{PmsSession, PmsSettings};
use lockbridge_protocol::fias::session::{Disposition, Medium, Moment};
use lockbridge_protocol::line::CodePage;

use super::steps::{Step, Steps};

/// A key record that can be sent comes back as it was. The first byte picks the code page.
pub(crate) fn record(input: &[u8]) {
    let Some((page, bytes)) = input.split_first() else { return };
    let page = match page % 4 {
        0 => CodePage::Utf8,
        1 => CodePage::Latin1,
        2 => CodePage::Cp1252,
        _ => CodePage::Cp850,
    };
    let Ok(record) = Record::read(bytes) else { return };
    if let AnyRecord::Key(mut key) = AnyRecord::read(record, page)
        && let Ok(body) = key.write(None, page)
    {
        let again = KeyRecord::read(Record::read(&body).expect("our own record"), page).expect("a key record");
        // What is not understood is not sent; blanks at the end of options mean nothing.
        key.unread.clear();
        key.options.truncate(key.options.trim_end_matches(' ').len());
        key.user_defined.retain(|(_, text)| !text.is_empty());
        assert!(again == *key);
    }
}

/// One end for each record sent, bounded answers, and data only while the link is alive.
pub(crate) fn link(input: &[u8]) {
    let Some((kind, input)) = input.split_first() else { return };
    let repeat = if kind & 1 == 0 { Repeat::AsSpecified } else { Repeat::OnlyIfRefused };
    let mut line = SerialLine::new(SerialSettings::default());
    let description =
        LinkDescription { version: "1".to_owned(), family: "DL".to_owned(), ..LinkDescription::default() };
    let mut keys = KeySystemSession::new(KeySystemSettings::new(Medium::Serial, description, Vec::new()));
    let mut pms = PmsSession::new(PmsSettings::new(Medium::Serial));
    let mut at = Moment { now: Duration::ZERO, local: date(2026, 11, 22).at(9, 0, 0, 0), random: [0; 16] };
    keys.link_up(at);
    pms.link_up(at);
    let (mut copies, mut ended, mut waits) = (1, 0, 0_usize);
    line.send(b"KR|KC1|", repeat, at.now).expect("idle");
    // Behind the story all deadlines of the line pass: no more than three ENQs for each of four copies, and the end.
    let mut steps = Steps(input);
    while let Some(step) = steps.next().or_else(|| {
        let pause = line.deadline()?.saturating_sub(at.now);
        Some(Step { bytes: &[], pause })
    }) {
        waits += usize::from(step.bytes.is_empty());
        assert!(waits <= 200, "it ends");
        let mut rest = step.bytes;
        // No bytes are no sign of life.
        let mut is_heard = !rest.is_empty();
        while is_heard {
            let Some(action) = line.read(&mut rest, at.now) else {
                is_heard = false;
                continue;
            };
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
        at.now += step.pause;
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
}
