//! How fast a backlog leaves: grants that waited at the cloud while the link was down, to a lock server that answers at once.
//!
//! The clock runs from the moment the session is open again until every holder is at the lock server and every report is
//! at the cloud. How long the bridge waits before it dials again is told apart: that is its politeness, not its speed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Table;
use super::whole::{self, CLIENTS, Usage, per_second};
use crate::harness::{Site, until};

/// A guard, not an aim.
const LONGEST: Duration = Duration::from_secs(900);
/// Longest wait of a bridge that was often refused.
const RECONNECT: Duration = Duration::from_secs(180);

/// What happened when, since the session was open.
#[derive(Debug, Clone, Copy, Default)]
struct Course {
    half_at_server: Duration,
    all_at_server: Duration,
    all_reported: Duration,
}

/// Measures with `commands` grants.
pub fn run(commands: usize) -> Result<Vec<Table>> {
    whole::block_on(measure(commands))
}

async fn measure(grants: usize) -> Result<Vec<Table>> {
    let mut site = Site::running(whole::options()).await?;
    site.link.cut();
    site.wait_for_status("the loss of the session", Duration::from_secs(20), |status| {
        status["cloud"]["connected"] == false
    })
    .await?;
    let creating = Instant::now();
    whole::create_grants(&site, "Queued Guest", grants).await?;
    let creating = creating.elapsed();

    let before = used(&mut site)?;
    let disk_before = whole::device_written(site.folder())?;
    let figures_before = engine(&site.status().await?)?;
    let holders = whole::holders(&site).await?;
    let mended = Instant::now();
    site.link.mend();
    site.wait_for_cloud(RECONNECT).await?;
    let reconnected = mended.elapsed();
    let course = follow(&site, holders, u64::try_from(grants)?).await?;
    let figures = engine(&site.status().await?)?;
    let after = used(&mut site)?;
    let written = whole::device_written(site.folder())?.saturating_sub(disk_before);
    ensure!(figures.in_doubt == 0, "{} commands are in doubt", figures.in_doubt);

    let ended = figures.ended - figures_before.ended;
    let entries = figures.journal_sequence - figures_before.journal_sequence;
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        row("grants made at the API, one a request", grants.to_string()),
        row(
            &format!("  made with {CLIENTS} clients, grants/s"),
            format!("{:.0}", per_second(u64::try_from(grants)?, creating)),
        ),
        row("link mended to session open, s", seconds(reconnected)),
        row("session open to half the holders at the lock server, s", seconds(course.half_at_server)),
        row("session open to all holders at the lock server, s", seconds(course.all_at_server)),
        row("session open to all reports at the cloud, s", seconds(course.all_reported)),
        row("commands ended", ended.to_string()),
        row("commands/s", format!("{:.0}", per_second(ended, course.all_reported))),
        row("journal entries", entries.to_string()),
    ];
    for ((name, before), (_, after)) in before.into_iter().zip(after) {
        let used = after.since(before);
        rows.push(row(&format!("CPU of {name}, s"), seconds(used.cpu)));
    }
    rows.push(row("MiB written to the disk, by everybody", (written >> 20).to_string()));
    let title = format!("A backlog of {grants} grants leaves the cloud");
    Ok(vec![Table { title, columns: vec!["", "value"], rows, aims: Vec::new() }])
}

async fn follow(site: &Site, before: u64, grants: u64) -> Result<Course> {
    let begin = Instant::now();
    let at_server = async |count: u64| -> Result<Duration> {
        until("holders at the lock server", LONGEST, async || {
            let there = whole::holders(site).await.map_err(|error| format!("{error:#}"))?;
            if there >= before + count { Ok(()) } else { Err(format!("{there} of {}", before + count)) }
        })
        .await?;
        Ok(begin.elapsed())
    };
    let half_at_server = at_server(grants / 2).await?;
    let all_at_server = at_server(grants).await?;
    site.wait_for_status("every report at the cloud", LONGEST, |status| {
        let engine = &status["engine"];
        engine["outbox"] == 0 && engine["queued"] == 0 && engine["executing"] == 0
    })
    .await?;
    Ok(Course { half_at_server, all_at_server, all_reported: begin.elapsed() })
}

fn used(site: &mut Site) -> Result<[(&'static str, Usage); 4]> {
    Ok([
        ("the bridge", Usage::of(site.bridge()?)?),
        ("the cloud", Usage::of(site.cloud())?),
        ("the simulator", Usage::of(site.simulator_process())?),
        ("this program (relay, polling)", Usage::own()?),
    ])
}

/// Figures of `/status`.
#[derive(Debug, Clone, Copy)]
struct Engine {
    ended: u64,
    in_doubt: u64,
    journal_sequence: u64,
}

fn engine(status: &Value) -> Result<Engine> {
    let figure =
        |name: &str| status["engine"][name].as_u64().with_context(|| format!("no engine figure {name} in {status}"));
    Ok(Engine { ended: figure("ended")?, in_doubt: figure("in_doubt")?, journal_sequence: figure("journal_sequence")? })
}

fn seconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64())
}
