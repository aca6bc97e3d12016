//! From the last byte of a command at the bridge's door to the first byte of its request on the wire.
//!
//! In between lie two flushes of the disk: the command is received, its attempt is intended. Beside it stands a bare program that
//! takes as many bytes from a connection and writes one byte on the same kind of line, with one flush in between and without.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncReadExt as _;

use super::super::{Aim, Table, percentile};
use super::station::{Kind, Shape, Station, name_of};
use crate::harness::Passed;
use crate::harness::pms_server::Way;
use crate::simulator::line::noise::NoiseSettings;
use crate::simulator::line::{Line, Outside, Passage, Way as Direction};

/// A command frame is longer than this, an acknowledgement or a ping shorter.
const COMMAND_FRAME_BYTES: usize = 200;
/// About a command with its signature.
const MESSAGE_BYTES: usize = 600;
/// Between two samples of the bare program, so that it sleeps as the bridge does.
const PAUSE: Duration = Duration::from_millis(5);

pub(super) async fn measure(directory: &Path, samples: usize) -> Result<Table> {
    let (mut rows, mut aims) = (Vec::new(), Vec::new());
    let mut row = |name: String, mut times: Vec<Duration>| {
        times.sort_unstable();
        let of = |share| percentile(&times, share);
        rows.push(
            [name, times.len().to_string()]
                .into_iter()
                .chain([of(0.0), of(0.5), of(0.99), of(1.0)].map(|time| time.as_micros().to_string()))
                .collect(),
        );
        (of(0.5), of(0.99))
    };
    let (flush, flush_late) = row("write + fdatasync of 512 bytes".to_owned(), flushes(directory, samples)?);
    for way in [Way::Tcp, Way::Pty] {
        let place = name_of(way);
        let (bare, bare_late) = row(format!("bare program, {place}"), bare(directory, way, samples, false).await?);
        row(format!("bare program with one flush, {place}"), self::bare(directory, way, samples, true).await?);
        for kind in [Kind::Salto, Kind::Fias] {
            let shape = Shape { kind, way, baud: None, write_time: Duration::ZERO, probe_interval_s: 300 };
            let (half, late) = row(format!("{} over {place}", kind.name()), keys(shape, samples).await?);
            let ratio = |time: Duration, bare: Duration, flush: Duration| {
                (time.as_secs_f64() - flush.as_secs_f64()).max(0.0) / bare.as_secs_f64().max(1e-9)
            };
            let name = format!("{} over {place} less one flush, over bare", kind.name());
            aims.push(Aim::at_most(format!("{name}, p50"), ratio(half, bare, flush), 1.5));
            aims.push(Aim::at_most(format!("{name}, p99"), ratio(late, bare_late, flush_late), 1.5));
        }
    }
    Ok(Table {
        title: "From a command to the first byte on the wire, one key at a time".to_owned(),
        columns: vec!["", "samples", "min µs", "p50 µs", "p99 µs", "max µs"],
        rows,
        aims,
    })
}

async fn keys(shape: Shape, samples: usize) -> Result<Vec<Duration>> {
    let station = Station::open(shape).await?;
    let mut times = Vec::new();
    // One for warming up.
    for (index, grant) in station.grants(1, samples + 1).await?.iter().enumerate() {
        station.quiet().await?;
        station.site.link.record();
        station.line.record();
        station.key(grant, 1).await?;
        if index > 0 {
            times.extend(between(&station.site.link.recorded(), &station.line.recorded()));
        }
    }
    ensure!(times.len() * 2 > samples, "{} of {samples} keys could be told apart", times.len());
    Ok(times)
}

/// From the one command frame before the first byte to that byte; `None`: which frame it was cannot be told.
fn between(from_hub: &[Passed], on_line: &[Passage]) -> Option<Duration> {
    let first = on_line.iter().find(|passage| passage.way == Direction::ToMachine)?.at;
    let mut frames = from_hub
        .iter()
        .filter(|piece| piece.to_client && piece.bytes.len() >= COMMAND_FRAME_BYTES && piece.at <= first);
    match (frames.next(), frames.next()) {
        (Some(frame), None) => Some(first - frame.at),
        _ => None,
    }
}

fn flushes(directory: &Path, samples: usize) -> Result<Vec<Duration>> {
    let directory = tempfile::tempdir_in(directory)?;
    let mut file = File::create(directory.path().join("raw"))?;
    let mut times = Vec::new();
    for _ in 0..samples {
        let begin = Instant::now();
        file.write_all(&[7; 512])?;
        file.sync_data()?;
        times.push(begin.elapsed());
    }
    Ok(times)
}

/// A program that does nothing else, on a thread of its own.
async fn bare(directory: &Path, way: Way, samples: usize, flushes: bool) -> Result<Vec<Duration>> {
    let folder = tempfile::tempdir_in(directory)?;
    let path = folder.path().join("port");
    let outside = match way {
        Way::Tcp => Outside::Listen(([127, 0, 0, 1], 0).into()),
        Way::Pty => Outside::Pty { path: path.clone(), baud: None },
    };
    let mut line = Line::open(outside, NoiseSettings::default()).await?;
    let handle = line.handle();
    let address = handle.address();
    let commands = TcpListener::bind(("127.0.0.1", 0))?;
    let door = commands.local_addr()?;
    let file = folder.path().join("raw");
    let program = std::thread::Builder::new().name("bare".to_owned()).spawn(move || -> Result<()> {
        let mut to_line: Box<dyn Write> = match address {
            Some(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            None => Box::new(OpenOptions::new().read(true).write(true).open(&path)?),
        };
        let mut file = File::create(file)?;
        let (mut stream, _) = commands.accept()?;
        let mut command = [0; MESSAGE_BYTES];
        for _ in 0..samples {
            stream.read_exact(&mut command)?;
            if flushes {
                file.write_all(&command)?;
                file.sync_data()?;
            }
            to_line.write_all(&[5])?;
        }
        Ok(())
    })?;
    let mut hub = TcpStream::connect(door)?;
    hub.set_nodelay(true)?;
    let mut machine = line.next().await?;
    let mut times = Vec::new();
    for _ in 0..samples {
        tokio::time::sleep(PAUSE).await;
        handle.record();
        let begin = Instant::now();
        hub.write_all(&[7; MESSAGE_BYTES])?;
        let mut byte = [0];
        tokio::time::timeout(Duration::from_secs(10), machine.stream.read_exact(&mut byte)).await??;
        times.push(handle.recorded().first().context("a byte on the line")?.at - begin);
    }
    program.join().ok().context("the bare program")??;
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unmistakable_command_is_a_sample() {
        let begin = Instant::now();
        let at = |milliseconds| begin + Duration::from_millis(milliseconds);
        let frame = |milliseconds| Passed { at: at(milliseconds), to_client: true, bytes: vec![0; 500] };
        let byte = Passage { at: at(9), way: Direction::ToMachine, bytes: 1 };
        let answer = Passage { at: at(3), way: Direction::ToClient, bytes: 1 };
        assert_eq!(between(&[frame(5), frame(12)], &[answer, byte]), Some(Duration::from_millis(4)));
        assert_eq!(between(&[frame(5), frame(8)], &[byte]), None, "two frames: which one was it?");
        assert_eq!(between(&[], &[byte]), None, "no frame");
        assert_eq!(between(&[frame(5)], &[answer]), None, "no byte");
    }
}
