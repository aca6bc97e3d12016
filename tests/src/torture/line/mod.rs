//! A noisy line: keys are asked for over the API while bytes on the way to the lock system are lost, turned and doubled.
//!
//! * `house`: a site and its key service, of either kind, over TCP or a port. `clerk`: who asks for keys at one encoder.
//! * `judge`: whose request wrote which card, by the key service's durable count. `figures`: what came of it.
//!
//! Every key that is asked for has a room and an end of its own, so that the count tells by content which request wrote which
//! card. A request that certainly had no effect is asked again, as a clerk would; of one whose fate is not known the clerk looks
//! for the card, says what was found, and asks for nothing more.
//!
//! The checksum of both protocols is one byte of exclusive or and misses two flips of the same bit. Nobody at either end can see
//! such a frame; the simulated line can, because it made the noise, and tells what was meant. So a card with altered content is
//! counted for the request that it came from, and counted apart as what no checksum could see.
//!
//! Promises: the noise comes from the seed that is printed; processes keep their own time, so a replay meets the same noise at
//! other bytes. Never: judges by what the bridge counted.

mod clerk;
mod figures;
mod house;
mod judge;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use tokio::time::Instant;

pub use figures::{LineFigures, LineSums};
use house::House;

use crate::harness::pms_server::Way;

/// Whose protocol is on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineKind {
    /// SALTO's PMS Industry Standard.
    SaltoPms,
    /// FIAS, with acknowledgements and checksum, as on a serial line and behind a converter.
    Fias,
}

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct LineOptions {
    /// The protocol.
    pub kind: LineKind,
    /// Keys asked for.
    pub requests: u64,
    /// The share of bytes that meet something: a third is lost, a third turned, a third doubled.
    pub noise: f64,
    /// Over TCP, or over a port.
    pub way: Way,
    /// Sites side by side; most of the time is spent waiting for what was lost.
    pub jobs: u64,
    /// Draws the noise.
    pub seed: u64,
}

/// Runs it; `say` gets a line now and then.
pub async fn line(options: LineOptions, say: impl Fn(&str)) -> Result<LineFigures> {
    let begun = Instant::now();
    let jobs = options.jobs.max(1);
    let say = &say;
    let houses = (0..jobs).map(async |job| {
        let more = u64::from(job < options.requests % jobs);
        let share = LineOptions { requests: options.requests / jobs + more, seed: options.seed + job, ..options };
        one(share, job, say).await.with_context(|| format!("site {job}"))
    });
    let sums = try_join_all(houses).await?;
    let mut figures = LineFigures::new(&options);
    for sum in sums {
        figures.add(sum);
    }
    figures.seconds = begun.elapsed().as_secs_f64();
    Ok(figures)
}

async fn one(options: LineOptions, job: u64, say: &impl Fn(&str)) -> Result<LineSums> {
    let house = House::open(options.kind, options.way).await?;
    house.set_noise(options.noise, options.seed).await?;
    let clerks = u64::try_from(house::ENCODERS)?;
    let mut from = 0;
    let mut work = Vec::new();
    for number in 0..clerks {
        let share = options.requests / clerks + u64::from(number < options.requests % clerks);
        work.push(clerk::work(&house, usize::try_from(number)?, from..from + share, job, say));
        from += share;
    }
    let tallies = try_join_all(work).await?;
    house.set_noise(0.0, options.seed).await?;
    // Whatever the key service has in hand is waited for there, so that nothing is counted too early.
    house.until_idle().await?;
    judge::judge(&house, tallies).await
}
