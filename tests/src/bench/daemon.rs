//! The daemon as it lies and runs: size of the program, start to ready, memory and CPU when idle, start with a long journal.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::whole::{self, Usage};
use super::{Aim, Table, median};
use crate::harness::{ApiClient, Resources, Site, build};

const STARTS: usize = 10;
const REOPENS: usize = 3;
/// Scrapes and page loads.
const LOOKS: usize = 20;
/// What a browser asks for when it opens the status page, in its order.
const PAGE: [&str; 11] = [
    "/",
    "/page/style.css",
    "/page/main.js",
    "/page/commands.js",
    "/page/day.js",
    "/page/now.js",
    "/page/words.js",
    "/page/pictures.js",
    "/status",
    "/commands?after=0",
    "/history",
];
/// How long it is left alone before memory is read, and then while CPU is counted.
const IDLE: Duration = Duration::from_secs(10);
/// Grants made at a time while the journal grows.
const LOAD: usize = 1_000;
/// A guard, not an aim.
const LONGEST: Duration = Duration::from_secs(900);

/// Measures; the journal of the last part has at least `entries` entries.
pub fn run(entries: u64) -> Result<Vec<Table>> {
    whole::block_on(measure(entries))
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
async fn measure(entries: u64) -> Result<Vec<Table>> {
    let binary = tokio::task::spawn_blocking(build).await??.bridge.clone();
    let binary_bytes = std::fs::metadata(&binary).with_context(|| binary.display().to_string())?.len();
    let mut site = Site::running(whole::options()).await?;
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        site.stop_bridge().await?;
        starts.push(start(&mut site).await?);
    }
    site.wait_for_cloud(Duration::from_secs(60)).await?;
    pause().await;
    let resident = Resources::of(site.bridge()?)?.resident_kib;
    let before = Usage::of(site.bridge()?)?;
    pause().await;
    let idle = Usage::of(site.bridge()?)?.since(before);

    let reached = grow(&site, entries).await?;
    let resident_after = Resources::of(site.bridge()?)?.resident_kib;
    let scrape = median(answers(&site, &["/metrics"]).await?);
    let page = median(answers(&site, &PAGE).await?);
    let (mut usable, mut rebuilt) = (Vec::new(), Vec::new());
    for _ in 0..REOPENS {
        site.kill_bridge().await?;
        usable.push(start(&mut site).await?);
        site.kill_bridge().await?;
        std::fs::remove_dir_all(site.state().join("working-set")).context("deleting the working set")?;
        rebuilt.push(start(&mut site).await?);
    }

    let megabytes = binary_bytes as f64 / 1e6;
    let (resident, resident_after) = (resident as f64 * 1.024e-3, resident_after as f64 * 1.024e-3);
    let (start, usable, rebuilt) = (median(starts), median(usable), median(rebuilt));
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let rows = vec![
        row("program, MB", format!("{megabytes:.2}")),
        row(&format!("start to ready, ms, median of {STARTS}"), format!("{start:.1}")),
        row("resident after 10 s connected and idle, MB", format!("{resident:.1}")),
        row("CPU in 10 s idle, ms", idle.cpu.as_millis().to_string()),
        row("journal entries then", reached.to_string()),
        row("resident after them, MB", format!("{resident_after:.1}")),
        row(&format!("metrics scrape then, ms, median of {LOOKS}"), format!("{scrape:.2}")),
        row(&format!("status page, all files and answers one by one, ms, median of {LOOKS}"), format!("{page:.2}")),
        row(&format!("killed, start to ready, working set usable, ms, median of {REOPENS}"), format!("{usable:.1}")),
        row(&format!("killed, start to ready, working set deleted, ms, median of {REOPENS}"), format!("{rebuilt:.1}")),
    ];
    let profile = if cfg!(debug_assertions) { "DEBUG" } else { "release" };
    Ok(vec![Table {
        title: format!("The daemon, {profile} build"),
        columns: vec!["", "value"],
        rows,
        aims: vec![
            Aim::at_most("program, MB", megabytes, 8.0),
            Aim::at_most("start to ready, ms", start, 100.0),
            // 1.2 times the 8.1 MB of an idle mosquitto 2.0.11.
            Aim::at_most("resident when idle, MB", resident, 9.7),
            Aim::at_most("metrics scrape, ms", scrape, 10.0),
            Aim::at_most("status page, ms", page, 100.0),
            Aim::at_most("start to ready after a kill, working set usable, ms", usable, 100.0),
            Aim::at_most("start to ready after a kill, working set rebuilt, ms", rebuilt, 1_000.0),
        ],
    }])
}

/// Milliseconds from spawning the daemon to its ready line.
async fn start(site: &mut Site) -> Result<f64> {
    let begin = Instant::now();
    site.start_bridge().await?;
    Ok(begin.elapsed().as_secs_f64() * 1e3)
}

/// Milliseconds for all of some paths, one after the other, each over a connection of its own as the server wants it.
async fn answers(site: &Site, paths: &[&str]) -> Result<Vec<f64>> {
    let health = ApiClient::plain(&site.health_address)?;
    let mut times = Vec::new();
    for _ in 0..LOOKS {
        let begin = Instant::now();
        for path in paths {
            health.get(path).await.with_context(|| (*path).to_owned())?;
        }
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

/// Being left alone is what is measured.
async fn pause() {
    tokio::time::sleep(IDLE).await;
}

/// Makes grants until the journal has so many entries and everything was reported; how many there are.
async fn grow(site: &Site, entries: u64) -> Result<u64> {
    let mut round = 0;
    loop {
        let status = site
            .wait_for_status("everything done and reported", LONGEST, |status| {
                let engine = &status["engine"];
                engine["outbox"] == 0 && engine["queued"] == 0 && engine["executing"] == 0
            })
            .await?;
        let reached = status["engine"]["journal_sequence"].as_u64().context("the journal's sequence")?;
        if reached >= entries {
            return Ok(reached);
        }
        whole::create_grants(site, &format!("Guest {round}"), LOAD).await?;
        round += 1;
    }
}
