//! How busy a port of 9600 baud is kept while many keys are asked for at four encoders at once.
//!
//! Both protocols wait: SALTO's for the encoder, because one request is on the line at a time; FIAS for the acknowledgement of each
//! record. What is left is ours.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::super::{Aim, Table};
use super::station::{ENCODERS, Kind, Shape, Station};
use crate::harness::pms_server::Way;
use crate::simulator::line::{Passage, Way as Direction};

const BAUD: u32 = 9_600;
/// Keys asked for and not told yet. Enough for every encoder to have its next one at hand; all 200 at once would wait longer than
/// the half minute after which a card that nobody began is given up.
const AHEAD: usize = ENCODERS * 8;
/// Start bit, eight data bits, stop bit.
const CHARACTER: Duration = Duration::from_nanos(10_000_000_000 / BAUD as u64);

pub(super) async fn measure(keys: usize) -> Result<Table> {
    let (mut rows, mut aims) = (Vec::new(), Vec::new());
    for (kind, write_time) in [
        (Kind::Fias, Duration::from_millis(50)),
        (Kind::Salto, Duration::ZERO),
        (Kind::Salto, Duration::from_millis(50)),
    ] {
        let burst = burst(kind, write_time, keys).await?;
        let name = format!("{}, {} ms to write a card", kind.name(), write_time.as_millis());
        let idle = (burst.idle_of_bridge + burst.idle_of_machine).as_secs_f64();
        let busy = 1.0 - idle / burst.seconds;
        rows.push(vec![
            name.clone(),
            keys.to_string(),
            format!("{:.2}", burst.seconds),
            burst.out.to_string(),
            burst.back.to_string(),
            format!("{:.1}", busy * 100.0),
            milliseconds(burst.idle_of_bridge, keys),
            milliseconds(burst.idle_of_machine, keys),
        ]);
        if kind == Kind::Fias || write_time.is_zero() {
            aims.push(Aim::at_least(format!("line busy %, {name}"), busy * 100.0, 95.0));
        }
    }
    Ok(Table {
        title: format!("A burst of keys at {ENCODERS} encoders over a port of {BAUD} baud"),
        columns: vec![
            "",
            "keys",
            "s",
            "bytes out",
            "bytes back",
            "line busy %",
            "ms a key idle before the bridge",
            "before the machine",
        ],
        rows,
        aims,
    })
}

struct Burst {
    seconds: f64,
    out: u64,
    back: u64,
    /// Nothing was on the line, and the bridge spoke next.
    idle_of_bridge: Duration,
    /// The same of the machine; the time to write a card, too.
    idle_of_machine: Duration,
}

/// For each key.
fn milliseconds(time: Duration, keys: usize) -> String {
    let each = time.checked_div(u32::try_from(keys).unwrap_or(u32::MAX)).unwrap_or_default();
    format!("{:.1}", each.as_secs_f64() * 1e3)
}

/// How long nothing was on the line, in neither direction, before the bridge spoke, and before the machine did.
fn idle(passages: &[Passage]) -> (Duration, Duration) {
    let (mut of_bridge, mut of_machine) = (Duration::ZERO, Duration::ZERO);
    let Some(first) = passages.first() else { return (of_bridge, of_machine) };
    // Both directions of a port can be in use at once.
    let (mut out_until, mut back_until) = (first.at, first.at);
    for passage in passages {
        let idle = passage.at.saturating_duration_since(out_until.max(back_until));
        let (of, until) = match passage.way {
            Direction::ToMachine => (&mut of_bridge, &mut out_until),
            Direction::ToClient => (&mut of_machine, &mut back_until),
        };
        *of += idle;
        *until = (*until).max(passage.at) + CHARACTER * u32::try_from(passage.bytes).unwrap_or(u32::MAX);
    }
    (of_bridge, of_machine)
}

async fn burst(kind: Kind, write_time: Duration, keys: usize) -> Result<Burst> {
    let shape = Shape { kind, way: Way::Pty, baud: Some(BAUD), write_time, probe_interval_s: 300 };
    let station = &Station::open(shape).await?;
    let each = keys.div_ceil(ENCODERS);
    let grants = try_join_all((1..=ENCODERS).map(|encoder| station.grants(encoder, each))).await?;
    station.quiet().await?;
    station.line.record();
    let asked = grants.iter().zip(1..).flat_map(|(grants, encoder)| grants.iter().map(move |grant| (grant, encoder)));
    // One key of each encoder after the other, so that all encoders begin at once.
    let mut asked: Vec<_> = asked.enumerate().map(|(index, it)| (index % each, it)).collect();
    asked.sort_by_key(|(place, _)| *place);
    let asking = asked.into_iter().take(keys).map(async |(_, (grant, encoder))| station.key(grant, encoder).await);
    tokio::time::timeout(
        Duration::from_secs(300),
        stream::iter(asking).buffer_unordered(AHEAD).try_collect::<Vec<()>>(),
    )
    .await
    .context("the burst does not end")??;
    let passages = station.line.recorded();
    let (first, last) = (passages.first().context("bytes")?, passages.last().context("bytes")?);
    let count = |way: Direction| {
        let bytes = passages.iter().filter(|passage| passage.way == way).map(|passage| passage.bytes as u64);
        bytes.sum::<u64>()
    };
    // The last bytes are still to be carried when they are written down.
    let end = CHARACTER * u32::try_from(last.bytes)?;
    let (idle_of_bridge, idle_of_machine) = idle(&passages);
    Ok(Burst {
        idle_of_bridge,
        idle_of_machine,
        seconds: (last.at - first.at + end).as_secs_f64(),
        out: count(Direction::ToMachine),
        back: count(Direction::ToClient),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn silence_is_counted_for_whoever_ends_it() {
        let begin = Instant::now();
        let passage = |characters: u32, way, bytes| Passage { at: begin + CHARACTER * characters, way, bytes };
        let passages = [
            passage(0, Direction::ToMachine, 10),
            // While the other direction is still busy: a line carries both at once.
            passage(8, Direction::ToClient, 1),
            passage(15, Direction::ToClient, 4),
            passage(22, Direction::ToMachine, 1),
        ];
        assert_eq!(idle(&passages), (CHARACTER * 3, CHARACTER * 5));
        assert_eq!(idle(&[]), (Duration::ZERO, Duration::ZERO));
    }
}
