//! How soon a line is used again after its plug was pulled and put back.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::super::{Table, percentile};
use super::station::{Kind, Shape, Station, name_of};
use crate::harness::pms_server::Way;
use crate::harness::until;
use crate::simulator::line::Way as Direction;

const SOON: Duration = Duration::from_secs(60);

pub(super) async fn measure(rounds: usize) -> Result<Table> {
    let mut rows = Vec::new();
    for (kind, way) in
        [(Kind::Salto, Way::Pty), (Kind::Salto, Way::Tcp), (Kind::Fias, Way::Pty), (Kind::Fias, Way::Tcp)]
    {
        let shape = Shape { kind, way, baud: None, write_time: Duration::ZERO, probe_interval_s: 1 };
        let station = Station::open(shape).await?;
        let (mut noticed, mut first_bytes, mut usable) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let pulled = Instant::now();
            station.line.plug(false);
            station.reachable(false).await?;
            noticed.push(pulled.elapsed());
            station.line.record();
            let put_back = Instant::now();
            station.line.plug(true);
            let first = until("the first byte of the bridge", SOON, async || {
                let all = station.line.recorded();
                let first = all.into_iter().find(|passage| passage.way == Direction::ToMachine);
                first.ok_or_else(|| "none yet".to_owned())
            })
            .await?;
            first_bytes.push(first.at.saturating_duration_since(put_back));
            station.reachable(true).await?;
            usable.push(put_back.elapsed());
        }
        for (name, mut times) in [
            ("pulled to told as unreachable", noticed),
            ("put back to the bridge's first byte", first_bytes),
            ("put back to told as reachable", usable),
        ] {
            times.sort_unstable();
            let of = |share| format!("{:.2}", percentile(&times, share).as_secs_f64());
            let name = format!("{} over {}: {name}", kind.name(), name_of(way));
            rows.push(vec![name, times.len().to_string(), of(0.0), of(0.5), of(1.0)]);
        }
    }
    Ok(Table {
        title: "A line that is pulled and put back, probed every second".to_owned(),
        columns: vec!["", "rounds", "min s", "p50 s", "max s"],
        rows,
        aims: Vec::new(),
    })
}
