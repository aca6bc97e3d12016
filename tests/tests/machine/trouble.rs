//! What befalls the machine, and that all goes on by itself afterwards.

use std::time::Instant;

use anyhow::{Result, ensure};
use lockbridge_tests::harness::guest;
use lockbridge_tests::harness::until;
use serde_json::json;

use super::house::{House, SOON, ready, reason, say};

/// A daemon that stands still is ended and started again, without anybody.
pub(super) async fn hangs(house: &House) -> Result<()> {
    let machine = &house.machine;
    let folder = "/run/systemd/system/lockbridge.service.d";
    let short = format!("mkdir -p {folder}; printf '[Service]\\nWatchdogSec=4s\\n' > {folder}/short.conf");
    machine.shell(&format!("{short}; systemctl daemon-reload; systemctl restart lockbridge")).await?;
    let before = machine.property("MainPID").await?;
    ready(machine, "ready").await?;
    let fed = until("some signs of life", SOON, async || {
        let seen = machine.property("WatchdogTimestampMonotonic").await.map_err(|error| format!("{error:#}"))?;
        let active = machine.property("ActiveEnterTimestampMonotonic").await.map_err(|error| format!("{error:#}"))?;
        let number = |text: &str| text.parse::<u64>().unwrap_or(0);
        // Longer than one watchdog's time: it has been fed, or it would be dead.
        if number(&seen) > number(&active) + 6_000_000 { Ok(()) } else { Err(format!("{seen} after {active}")) }
    });
    fed.await?;
    ensure!(machine.property("MainPID").await? == before, "it was restarted although it lives");
    machine.succeed(&["kill", "-STOP", &before]).await?;
    until("another process after the watchdog", SOON, async || {
        let now = machine.property("MainPID").await.map_err(|error| format!("{error:#}"))?;
        if now != before && now != "0" { Ok(()) } else { Err(now) }
    })
    .await?;
    machine.shell(&format!("rm -r {folder}; systemctl daemon-reload; systemctl restart lockbridge")).await?;
    ready(machine, "ready").await
}

/// The cable is out for a while, with work in hand, and more coming in at the cloud.
pub(super) async fn cut_link(house: &mut House) -> Result<()> {
    for number in 0..5 {
        house.grant_later(&format!("Before Cut {number:02}")).await?;
    }
    house.machine.link_down().await?;
    for number in 0..10 {
        house.grant_later(&format!("During Cut {number:02}")).await?;
    }
    ready(&house.machine, "unready").await?;
    house.machine.link_up().await?;
    let begun = Instant::now();
    house.all_arrived().await?;
    say(&format!("all there {:?} after the link was back", begun.elapsed()));
    ready(&house.machine, "ready").await
}

pub(super) async fn reboot(house: &mut House) -> Result<()> {
    for number in 0..5 {
        house.grant_later(&format!("Over Reboot {number:02}")).await?;
    }
    let took = house.machine.reboot().await?;
    say(&format!("rebooted in {took:?}"));
    house.all_arrived().await?;
    ready(&house.machine, "ready").await?;
    let grant = house.grant("After Reboot").await?;
    house.encode(&grant).await?;
    Ok(())
}

/// Work waits and revokes go on while the disk is full, and all goes on by itself afterwards. It is no reason to restart.
pub(super) async fn full_disk(house: &mut House) -> Result<()> {
    let known = house.grant("Over Full Disk").await?;
    let card = house.encode(&known).await?;
    let process = house.machine.property("MainPID").await?;
    let fill = "free=$(stat -f -c '%a * %S' /var/lib/lockbridge); fallocate -l $(($free)) /var/lib/lockbridge/filler";
    house.machine.shell(fill).await?;
    reason(&house.machine, &["disk_low", "disk"]).await?;
    let delete = json!({ "access_grant_id": known.access_grant_id });
    house.site.api.post("/access_grants/delete", delete).await?;
    house.grants.retain(|grant| grant.name != known.name);
    until("the revoke at the online door", SOON, async || {
        match guest::present(&house.site, &card, "Main entrance").await {
            Ok(false) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    house.machine.shell("rm /var/lib/lockbridge/filler").await?;
    ready(&house.machine, "ready").await?;
    ensure!(house.machine.property("MainPID").await? == process, "it was restarted");
    house.grant("After Full Disk").await?;
    Ok(())
}

/// The daemon's wall clock alone is ten minutes off: no dates are written to a lock server until it is right again.
pub(super) async fn wrong_clock(house: &mut House) -> Result<()> {
    let folder = "/run/systemd/system/lockbridge.service.d";
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    let lines =
        format!("[Service]\\nEnvironment=LD_PRELOAD={library} FAKETIME=+600s FAKETIME_DONT_FAKE_MONOTONIC=1\\n");
    let wrong = format!("mkdir -p {folder}; printf '{lines}' > {folder}/clock.conf; systemctl daemon-reload");
    house.machine.shell(&format!("{wrong}; systemctl restart lockbridge")).await?;
    reason(&house.machine, &["clock_untrusted"]).await?;
    house.machine.shell(&format!("rm -r {folder}; systemctl daemon-reload; systemctl restart lockbridge")).await?;
    ready(&house.machine, "ready").await?;
    house.grant("After Wrong Clock").await?;
    Ok(())
}
