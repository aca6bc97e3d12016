//! The packages on a real Debian: the first hour, typed at a terminal as the README has it, until a card is encoded; then what
//! the installed bridge weighs, how fast it starts, what it uses when nothing happens, and how long an upgrade takes it away.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{Aim, Table, median, whole};
use crate::harness::guest::{self, Directory};
use crate::harness::{Link, Site, SiteOptions, Terminal, until};
use crate::machine::{self, Bind, HOST, Machine};

const CLOUD: &str = "cloud.example.com";
const ENCODER: &str = "Front desk 1";
const STARTS: usize = 10;
const UPGRADES: usize = 4;
const PROMPT: &str = "root@site:";
const SOON: Duration = Duration::from_secs(120);

/// Installs the packages of `folder`, types, measures. `idle` is in minutes.
pub fn run(folder: &Path, idle: u64, transcript: Option<&Path>) -> Result<Vec<Table>> {
    ensure!(machine::available("the packages on a booted machine"), "no machine can be booted here");
    let folder = folder.canonicalize().with_context(|| folder.display().to_string())?;
    let mut packages: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "deb" || kind == "rpm") {
            packages.push(path);
        }
    }
    packages.sort();
    let bridges = packages.iter().filter(|path| name(path).starts_with("lockbridge_")).count();
    let place = folder.display();
    ensure!(bridges == 1, "{place} holds {bridges} packages lockbridge_*.deb; build one there with lockbridge-package");
    whole::block_on(measure(&folder, &packages, Duration::from_secs(idle * 60), transcript))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

async fn measure(folder: &Path, packages: &[PathBuf], idle: Duration, transcript: Option<&Path>) -> Result<Vec<Table>> {
    let binds = [Bind { from: folder.to_owned(), to: "/packages" }];
    let machine = Machine::boot(&binds).await?;
    let address = HOST.parse()?;
    let site = Site::open(SiteOptions { address, cloud_name: CLOUD, ..SiteOptions::default() }).await?;
    let space = Link::open_at(address).await?;
    space.lead_to(site.lock_server());
    // What the site's name server would answer.
    machine.shell(&format!("printf '%s {CLOUD}\\n' {HOST} >> /etc/hosts")).await?;

    let (walked, screen) = first_hour(&machine, &site, &space).await?;
    if let Some(path) = transcript {
        std::fs::write(path, &screen).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let security = machine.run(&["systemd-analyze", "security", "lockbridge.service"]).await?.stdout;
    let security = security.lines().last().and_then(|line| line.split_whitespace().find_map(|word| word.parse().ok()));
    let security: f64 = security.context("the exposure level of the unit")?;
    let installed =
        machine.shell("dpkg -L lockbridge | xargs -d '\\n' stat -c '%F %s' | awk '/file/ {n += $NF} END {print n}'");
    let installed: f64 = installed.await?.trim().parse()?;

    let (mut starts, mut downtimes) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        machine.succeed(&["systemctl", "restart", "lockbridge"]).await?;
        starts.push(since(&machine, "ExecMainStartTimestampMonotonic").await?);
    }
    for _ in 0..UPGRADES {
        ready(&machine).await?;
        // The same version over itself goes the way of an upgrade.
        machine.shell("dpkg -i /packages/lockbridge_*.deb 2>&1").await?;
        downtimes.push(since(&machine, "ActiveExitTimestampMonotonic").await?);
    }
    ready(&machine).await?;
    let (cpu, resident) = left_alone(&machine, idle).await?;
    machine.end().await?;

    let (starts, downtimes) = (median(starts), median(downtimes));
    Ok(vec![table(packages, installed, walked, security, starts, downtimes, cpu, resident, idle)])
}

#[expect(clippy::too_many_arguments, reason = "one figure each")]
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn table(
    packages: &[PathBuf],
    installed: f64,
    walked: Duration,
    security: f64,
    start: f64,
    downtime: f64,
    cpu: f64,
    resident: f64,
    idle: Duration,
) -> Table {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let weight = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    let mut rows: Vec<Vec<String>> = packages
        .iter()
        .map(|path| row(&format!("{}, MB", name(path)), format!("{:.2}", weight(path) as f64 / 1e6)))
        .collect();
    rows.extend([
        row("lockbridge, its files installed, MB", format!("{:.2}", installed / 1e6)),
        row("dpkg -i to a card encoded, typed without reading, s", format!("{:.1}", walked.as_secs_f64())),
        row("exposure by systemd-analyze security", format!("{security:.1}")),
        row(&format!("start to READY under systemd, ms, median of {STARTS}"), format!("{start:.1}")),
        row(&format!("upgrade, between two daemons, ms, median of {UPGRADES}"), format!("{downtime:.1}")),
        row(&format!("CPU of the service in {} s idle, % of a core", idle.as_secs()), format!("{cpu:.3}")),
        row("resident then, MB", format!("{resident:.1}")),
    ]);
    Table {
        title: "The packages on a booted Debian".to_owned(),
        columns: vec!["", "value"],
        rows,
        aims: vec![
            Aim::at_most("dpkg -i to a card, s", walked.as_secs_f64(), 300.0),
            Aim::at_most("exposure", security, 1.3),
            Aim::at_most("idle CPU, % of a core", cpu, 0.1),
        ],
    }
}

/// What the README tells a new user to type, and nothing else; the time it took, and the screen.
async fn first_hour(machine: &Machine, site: &Site, space: &Link) -> Result<(Duration, String)> {
    let token = site.token().await?;
    let (host, port) = (space.address().ip().to_string(), space.address().port().to_string());
    let mut terminal = Terminal::start(machine.login())?;
    terminal.shows(PROMPT).await?;
    let begun = Instant::now();
    terminal.types("cd /packages")?;
    command(&mut terminal, "dpkg -i ./lockbridge_*.deb").await?;
    terminal.shows(PROMPT).await?;
    terminal.types("lockbridge setup")?;
    for (question, answer) in [
        ("Enrollment token", token.as_str()),
        ("Name of this machine", "Front desk bridge"),
        ("HTTP proxy", ""),
        ("Kind of lock system", ""),
        ("Short name", ""),
        ("Time zone", "Europe/Madrid"),
        ("How SHIP is reached", ""),
        ("Name or address of the SALTO Space server", host.as_str()),
        ("Port of SHIP", port.as_str()),
        ("Names of the encoders", "Front desk 1, Front desk 2"),
        ("Short name of the front desk", ""),
        ("Read a test card", "n"),
    ] {
        terminal.answer(question, answer).await?;
    }
    terminal.shows("workspace").await?;
    site.wait_for_inventory().await?;
    // The property software makes a grant; the desk lays a blank card on the encoder.
    let directory = Directory::read(site).await?;
    let grant = guest::ready_grant(site, &directory, "Ada Example", &["Main entrance"]).await?;
    guest::put_blank(site, ENCODER).await?;
    command(&mut terminal, "lockbridge status").await?;
    command(&mut terminal, "lockbridge check").await?;
    command(&mut terminal, &format!("lockbridge encode {} --encoder '{ENCODER}'", grant.access_grant_id)).await?;
    until("one card written", SOON, async || match guest::effects(site, "card_written").await {
        Ok(1) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
    .with_context(|| terminal.screen())?;
    let walked = begun.elapsed();
    command(&mut terminal, "lockbridge queue").await?;
    terminal.shows(PROMPT).await?;
    terminal.types("exit")?;
    ensure!(terminal.ended().await? == 0, "{}", terminal.screen());
    Ok((walked, terminal.screen()))
}

/// Types a command at the next prompt.
async fn command(terminal: &mut Terminal, line: &str) -> Result<()> {
    terminal.shows(PROMPT).await?;
    terminal.types(line)
}

async fn ready(machine: &Machine) -> Result<()> {
    until("a bridge that is ready", SOON, async || match machine.status().await {
        Ok(status) if status["state"] == "ready" => Ok(()),
        Ok(status) => Err(status.to_string()),
        Err(error) => Err(format!("{error:#}")),
    })
    .await?;
    Ok(())
}

/// Milliseconds from a moment that systemd noted until the service was last ready.
async fn since(machine: &Machine, moment: &str) -> Result<f64> {
    let noted = async |name: &str| -> Result<f64> { Ok(machine.property(name).await?.parse()?) };
    let (from, ready) = (noted(moment).await?, noted("ActiveEnterTimestampMonotonic").await?);
    ensure!(ready > from, "the service was not started again");
    Ok((ready - from) / 1e3)
}

/// Share of a core in percent that the service used in a time of nothing to do, and its resident memory in MB afterwards.
async fn left_alone(machine: &Machine, idle: Duration) -> Result<(f64, f64)> {
    let used = async || -> Result<f64> { Ok(machine.property("CPUUsageNSec").await?.parse::<f64>()? / 1e9) };
    let (before, begun) = (used().await?, Instant::now());
    // Being left alone is what is measured.
    tokio::time::sleep(idle).await;
    let share = (used().await? - before) / begun.elapsed().as_secs_f64() * 100.0;
    let resident =
        machine.shell("awk '/^VmRSS/ {print $2}' /proc/$(systemctl show --value -p MainPID lockbridge)/status");
    Ok((share, resident.await?.trim().parse::<f64>()? * 1.024e-3))
}
