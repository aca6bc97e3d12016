//! A year of a site in some minutes: a real Debian with systemd, the package, the service in its sandbox; the cloud and a
//! simulated SALTO Space outside of it. Judged by what the simulator counts.
#![allow(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod house;
mod installation;
mod serial;
mod trouble;

use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use house::{CLOUD, FIRST, House, SECOND, say};
use installation::{install, remove, set_up, upgrade};
use lockbridge_tests::harness::{self, Link, Site, SiteOptions};
use lockbridge_tests::machine::{self, Bind, HOST, Machine};
use lockbridge_tests::package::{self, Options, Profile};
use serial::{adapter_names, serial};
use trouble::{cut_link, full_disk, hangs, reboot, wrong_clock};

#[tokio::test]
async fn a_site_from_installation_to_purge() -> Result<()> {
    let what = "the package on a real machine";
    if !machine::available(what) {
        return Ok(());
    }
    if let Some(missing) = package::missing(false) {
        say(&format!("SKIPPED: {what}: {missing}"));
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    packages(folder.path()).await?;
    let line = nix::pty::openpty(None, None)?;
    let pty = std::fs::read_link(format!("/proc/self/fd/{}", line.slave.as_raw_fd()))?;
    let binds = [Bind { from: folder.path().to_owned(), to: "/packages" }, Bind { from: pty, to: "/dev/ttyUSB0" }];
    let begun = Instant::now();
    let machine = Machine::boot(&binds).await?;
    say(&format!("booted in {:?}", begun.elapsed()));
    let address = HOST.parse()?;
    let site = Site::open(SiteOptions { address, cloud_name: CLOUD, ..SiteOptions::default() }).await?;
    let space = Link::open_at(address).await?;
    space.lead_to(site.lock_server());
    let mut house = House { machine, site, space, directory: None, cards: 0, grants: Vec::new() };

    install(&house).await.context("installation")?;
    set_up(&mut house).await.context("setting up")?;
    adapter_names(&house.machine).await.context("the names of adapters")?;
    serial(&house, line.master.into()).await.context("the serial line")?;
    hangs(&house).await.context("the watchdog")?;
    cut_link(&mut house).await.context("the cut link")?;
    reboot(&mut house).await.context("the reboot")?;
    upgrade(&mut house).await.context("the upgrade")?;
    full_disk(&mut house).await.context("the full disk")?;
    wrong_clock(&mut house).await.context("the wrong clock")?;
    remove(&mut house).await.context("removal and purge")?;
    house.machine.end().await
}

/// Two versions of the package with the binaries of this test.
async fn packages(folder: &Path) -> Result<()> {
    let folder = folder.to_owned();
    let build = move || -> Result<()> {
        let release = harness::build()?.bridge.parent().is_some_and(|profile| profile.ends_with("release"));
        for version in [FIRST, SECOND] {
            package::build(&Options {
                profile: if release { Profile::Release } else { Profile::Dev },
                out: folder.join(version),
                version: Some(version.to_owned()),
                skip_build: true,
                rpm: false,
            })?;
        }
        Ok(())
    };
    tokio::task::spawn_blocking(build).await?
}
