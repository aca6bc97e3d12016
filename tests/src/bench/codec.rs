//! The codecs of the front desk's wires on their read path: bytes as they come from a line, until somebody knows what they say.
//!
//! Beside them stands a loop that does the least that any reader has to: it looks at every byte and adds up the checksum.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lockbridge_protocol::fias::id::FieldId;
use lockbridge_protocol::fias::record::Record;
use lockbridge_protocol::fias::serial::{SerialAction, SerialLine, SerialSettings};
use lockbridge_protocol::fias::wire::{Wire, WireEvent};
use lockbridge_protocol::line::{Checksum, FrameReader, Token, write_frame};
use lockbridge_protocol::salto_pms::message::Message;

use super::{Aim, Table, allocations, median, whole};

/// An answer of a SALTO server, with a serial number.
const SALTO_ANSWER: &[u8] = b"\xB3CN\xB31\xB304A1B2C3D4E5F6\xB3";
/// An answer of a key service.
const FIAS_ANSWER: &[u8] = b"KA|WSLOCKBRIDGE|KC1|G#1234567890|ASOK|CTKey made|$2030FE159|";
/// Frames of one round.
const FRAMES: u64 = 200_000;
/// Rounds, of which the middle one counts.
const ROUNDS: usize = 7;
/// As a line is read.
const PIECE: usize = 4096;

/// One way to read; gives the frames that it found.
type Reader = fn(&[u8]) -> u64;

struct Row {
    name: &'static str,
    body: &'static [u8],
    checksum: Checksum,
    read: Reader,
    /// On the read path nothing shall be allocated.
    is_aimed: bool,
}

/// Measures every codec.
pub fn run() -> Result<Vec<Table>> {
    let rows = [
        Row {
            name: "least: the checksum of every byte",
            body: FIAS_ANSWER,
            checksum: Checksum::Checked,
            read: least,
            is_aimed: false,
        },
        Row {
            name: "frames of the line",
            body: FIAS_ANSWER,
            checksum: Checksum::Checked,
            read: frames,
            is_aimed: true,
        },
        Row {
            name: "SALTO PMS: frame, message, all fields",
            body: SALTO_ANSWER,
            checksum: Checksum::CheckedUnlessMarked,
            read: salto,
            is_aimed: true,
        },
        Row {
            name: "FIAS serial: frame, acknowledgement, record, all fields",
            body: FIAS_ANSWER,
            checksum: Checksum::Checked,
            read: serial,
            is_aimed: true,
        },
        Row {
            name: "FIAS wire, acknowledged, to the owner's record",
            body: FIAS_ANSWER,
            checksum: Checksum::Checked,
            read: acknowledged,
            is_aimed: true,
        },
        Row {
            name: "FIAS wire, plain, to the owner's record",
            body: FIAS_ANSWER,
            checksum: Checksum::Absent,
            read: plain,
            is_aimed: true,
        },
    ];
    let (mut cells, mut aims, mut least) = (Vec::new(), Vec::new(), 0.0);
    for row in rows {
        let mut bytes = Vec::new();
        for _ in 0..FRAMES {
            write_frame(row.body, row.checksum, PIECE, &mut bytes)?;
        }
        let (mut rates, mut allocated) = (Vec::new(), 0);
        for _ in 0..ROUNDS {
            let (before, begin) = (allocations::so_far(), Instant::now());
            let found = (row.read)(black_box(&bytes));
            rates.push(whole::per_second(found, begin.elapsed()));
            allocated = allocations::so_far() - before;
            ensure!(found == FRAMES, "{}: {found} of {FRAMES} frames were found", row.name);
        }
        let rate = median(rates);
        if least == 0.0 {
            least = rate;
        }
        let each = per_frame(allocated);
        let megabytes = rate * per_frame(u64::try_from(bytes.len())?) / 1e6;
        cells.push(vec![
            row.name.to_owned(),
            format!("{:.2}", rate / 1e6),
            format!("{megabytes:.0}"),
            format!("{:.2}", rate / least),
            format!("{each:.3}"),
        ]);
        if row.is_aimed {
            // The reader's own buffer grows once.
            aims.push(Aim::at_most(format!("allocations a frame, {}", row.name), each, 0.001));
        }
    }
    Ok(vec![Table {
        title: format!("Read path of the front desk's codecs, {FRAMES} frames, the middle of {ROUNDS} rounds"),
        columns: vec!["", "million frames/s", "MB/s", "of the least", "allocations a frame"],
        rows: cells,
        aims,
    }])
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn per_frame(count: u64) -> f64 {
    count as f64 / FRAMES as f64
}

/// What every reader has to do at least.
fn least(bytes: &[u8]) -> u64 {
    let (mut sum, mut found, mut ended) = (0_u8, 0, false);
    for byte in bytes {
        if ended {
            found += u64::from(sum == *byte);
            ended = false;
        } else if *byte == 2 {
            sum = 0;
        } else {
            sum ^= byte;
            ended = *byte == 3;
        }
    }
    found
}

fn frames(bytes: &[u8]) -> u64 {
    let mut reader = FrameReader::new(Checksum::Checked, PIECE);
    let mut found = 0;
    for mut piece in bytes.chunks(PIECE) {
        while let Some(token) = reader.read(&mut piece) {
            found += u64::from(matches!(token, Token::Frame(_)));
        }
    }
    found
}

fn salto(bytes: &[u8]) -> u64 {
    let mut reader = FrameReader::new(Checksum::CheckedUnlessMarked, PIECE);
    let mut found = 0;
    for mut piece in bytes.chunks(PIECE) {
        while let Some(token) = reader.read(&mut piece) {
            if let Token::Frame(body) = token {
                let message = Message::read(body);
                found += u64::from(message.command() == b"CN" && black_box(message.fields().count()) > 0);
            }
        }
    }
    found
}

/// All fields, as an owner looks at them.
fn record(body: &[u8]) -> u64 {
    let Ok(record) = Record::read(body) else { return 0 };
    u64::from(black_box(record.fields().count()) > 0 && record.find(FieldId(*b"AS")) == Some(b"OK"))
}

fn serial(bytes: &[u8]) -> u64 {
    let mut line = SerialLine::new(SerialSettings::default());
    let mut found = 0;
    for mut piece in bytes.chunks(PIECE) {
        while let Some(action) = line.read(&mut piece, Duration::ZERO) {
            if let SerialAction::Record { body, .. } = action {
                found += record(body);
            }
        }
    }
    found
}

fn through(mut wire: Wire, bytes: &[u8]) -> u64 {
    let mut found = 0;
    for piece in bytes.chunks(PIECE) {
        wire.read(piece, Duration::ZERO);
        while let Some(event) = wire.event() {
            if let WireEvent::Record { body, .. } = event {
                found += record(body);
            }
        }
        while wire.output().is_some() {}
    }
    found
}

fn acknowledged(bytes: &[u8]) -> u64 {
    through(Wire::serial(SerialSettings::default()), bytes)
}

fn plain(bytes: &[u8]) -> u64 {
    through(Wire::plain(), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reader_finds_every_frame() {
        for (body, checksum, read) in [
            (FIAS_ANSWER, Checksum::Checked, least as Reader),
            (FIAS_ANSWER, Checksum::Checked, frames),
            (SALTO_ANSWER, Checksum::CheckedUnlessMarked, salto),
            (FIAS_ANSWER, Checksum::Checked, serial),
            (FIAS_ANSWER, Checksum::Checked, acknowledged),
            (FIAS_ANSWER, Checksum::Absent, plain),
        ] {
            let mut bytes = Vec::new();
            for _ in 0..100 {
                write_frame(body, checksum, PIECE, &mut bytes).unwrap();
            }
            assert_eq!(read(&bytes), 100);
        }
    }
}
