//! The package on the machine: installed, set up, upgraded in the middle of work, removed and purged.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use lockbridge_tests::harness::guest::{self, Directory};
use lockbridge_tests::harness::until;
use lockbridge_tests::machine::HOST;
use serde_json::json;

use super::house::{CLOUD, ENCODER, FIRST, House, SECOND, SOON, ready, say, transcript};

/// Beside the answers of `setup`: what only a test needs, a small disk and quick looks.
const QUICK: &str = "[storage]
disk_reserve_mib = 16
audit_retention_mib = 64
[lock_system.main]
probe_interval_s = 1
audit_interval_s = 1
";

pub(super) async fn install(house: &House) -> Result<()> {
    let machine = &house.machine;
    let said = machine.shell(&format!("dpkg -i /packages/{FIRST}/lockbridge_*.deb 2>&1")).await?;
    ensure!(said.contains("not started"), "{said}");
    ensure!(machine.run(&["systemctl", "is-enabled", "lockbridge"]).await?.stdout.trim() == "disabled");
    ensure!(machine.run(&["systemctl", "is-active", "lockbridge"]).await?.stdout.trim() == "inactive");
    machine.succeed(&["systemd-analyze", "--man=no", "verify", "/usr/lib/systemd/system/lockbridge.service"]).await?;
    machine.succeed(&["systemd-analyze", "security", "--threshold=12", "lockbridge.service"]).await?;
    for page in ["lockbridge.1.gz", "lockbridge-enroll.1.gz"] {
        machine.succeed(&["test", "-e", &format!("/usr/share/man/man1/{page}")]).await?;
    }
    let key = machine.shell("stat -c '%U %a' /etc/credstore.encrypted/lockbridge.state-key").await?;
    ensure!(key.trim() == "root 600", "{key}");

    // Not set up: it says so, and a start is not tried again and again.
    let checked = machine.run(&["lockbridge", "config", "check"]).await?;
    ensure!(checked.code == 78 && checked.stderr.contains("[lock_system.<name>]"), "{checked:?}");
    let started = machine.run(&["systemctl", "start", "lockbridge"]).await?;
    ensure!(started.code != 0, "a bridge without a lock system ran");
    ensure!(machine.property("ActiveState").await? == "failed");
    ensure!(machine.property("ExecMainStatus").await? == "78");
    ensure!(machine.property("NRestarts").await? == "0");
    Ok(())
}

pub(super) async fn set_up(house: &mut House) -> Result<()> {
    let (machine, space) = (&house.machine, house.space.address());
    machine.shell(&format!("printf '%s {CLOUD}\\n' {HOST} >> /etc/hosts")).await?;
    machine.run_with_input(&["tee", "/run/token"], &house.site.token().await?).await?;
    // As the README says, unattended: it looks at every hop, writes the files, starts the service and enrolls through it.
    let (host, port) = (space.ip().to_string(), space.port().to_string());
    let flags =
        ["--yes", "--token-file", "/run/token", "--time-zone", "Europe/Madrid", "--host", &host, "--port", &port];
    let begun = Instant::now();
    let setup = [&["lockbridge", "setup"][..], &flags, &["--encoders", "Front desk 1, Front desk 2"]].concat();
    let set_up = machine.run(&setup).await?;
    ensure!(set_up.code == 0, "{set_up:?}");
    transcript(&setup, &set_up);
    ensure!(machine.run(&["test", "-e", "/run/token"]).await?.code != 0, "the spent token is still there");
    ensure!(machine.run(&["systemctl", "is-enabled", "lockbridge"]).await?.stdout.trim() == "enabled");
    machine.run_with_input(&["tee", "/etc/lockbridge/bridge.d/50-site.toml"], QUICK).await?;
    machine.succeed(&["lockbridge", "config", "check"]).await?;
    machine.succeed(&["systemctl", "restart", "lockbridge"]).await?;
    house.site.wait_for_inventory().await?;
    say(&format!("enrolled and mirrored in {:?}", begun.elapsed()));
    house.directory = Some(Directory::read(&house.site).await?);
    ready(machine, "ready").await?;
    // Told a moment after the change: reasons come in bursts.
    until("systemd's word that it works", SOON, async || {
        let sentence = machine.property("StatusText").await.map_err(|error| format!("{error:#}"))?;
        if sentence.starts_with("Works") { Ok(()) } else { Err(sentence) }
    })
    .await?;
    // The key of the state came sealed; nothing of it lies in the state directory.
    ensure!(machine.run(&["test", "-e", "/var/lib/lockbridge/state.key"]).await?.code != 0);
    let owner = machine.shell("stat -c '%U:%G %a' /var/lib/lockbridge").await?;
    ensure!(owner.trim() == "lockbridge:lockbridge 700", "{owner}");
    machine.succeed(&["systemctl", "reload", "lockbridge"]).await?;
    for command in ["check", "status"] {
        let said = machine.run(&["lockbridge", command]).await?;
        ensure!([0, 3].contains(&said.code), "{said:?}");
        transcript(&["lockbridge", command], &said);
    }
    let logged = machine.succeed(&["journalctl", "-u", "lockbridge", "-o", "json"]).await?;
    ensure!(logged.contains("\"LOCKBRIDGE_"), "the journal has no fields of ours: {logged}");

    let grant = house.grant("Ada Example").await?;
    house.encode(&grant).await?;
    Ok(())
}

/// A newer package while the lock server is slow and a card is being written.
pub(super) async fn upgrade(house: &mut House) -> Result<()> {
    let known = house.grant("Card In Upgrade").await?;
    let slow = json!({ "kind": "delay", "milliseconds": 200, "times": 1000, "request": "SaltoDBUser.InsertOrUpdate" });
    house.site.simulator.post("/faults", slow).await?;
    for number in 0..20 {
        house.grant_later(&format!("In Upgrade {number:02}")).await?;
    }
    guest::put_blank(&house.site, ENCODER).await?;
    let directory = house.directory.as_ref().context("the directory")?;
    let attempt = guest::begin_encode(&house.site, directory, &known, ENCODER).await?;
    house.machine.shell(&format!("dpkg -i /packages/{SECOND}/lockbridge_*.deb 2>&1")).await?;
    let microseconds = async |name: &str| -> Result<u64> { Ok(house.machine.property(name).await?.parse()?) };
    let down = microseconds("ActiveExitTimestampMonotonic").await?;
    let (start, up) =
        (microseconds("ExecMainStartTimestampMonotonic").await?, microseconds("ActiveEnterTimestampMonotonic").await?);
    let milliseconds = |from: u64| up.saturating_sub(from) / 1000;
    say(&format!(
        "upgrade: {} ms between two daemons; {} ms from start to ready",
        milliseconds(down),
        milliseconds(start)
    ));
    ensure!(up > down, "the daemon was not restarted");
    house.site.simulator.post("/faults/clear", json!({})).await?;
    // Written once, or certainly not at all; a person is told which.
    let ended = guest::attempt_ended(&house.site, &attempt).await?;
    guest::lift(&house.site, ENCODER).await?;
    let written = guest::effects(&house.site, "card_written").await? - house.cards;
    ensure!(written == u64::from(ended["status"] == "success"), "{written} cards were written: {ended}");
    house.cards += written;
    house.all_arrived().await?;
    ready(&house.machine, "ready").await?;
    let doubts = house.machine.succeed(&["lockbridge", "doubt", "--json"]).await?;
    ensure!(doubts.trim() == "[]", "{doubts}");
    Ok(())
}

pub(super) async fn remove(house: &mut House) -> Result<()> {
    let machine = &house.machine;
    let before = machine.status().await?["bridge"]["bridge_id"].clone();
    machine.succeed(&["dpkg", "--remove", "lockbridge"]).await?;
    ensure!(machine.run(&["systemctl", "is-active", "lockbridge"]).await?.stdout.trim() != "active");
    machine.succeed(&["test", "-d", "/var/lib/lockbridge/journal"]).await?;
    machine.succeed(&["test", "-e", "/etc/lockbridge/bridge.d/50-site.toml"]).await?;

    machine.shell(&format!("dpkg -i /packages/{SECOND}/lockbridge_*.deb 2>&1; systemctl start lockbridge")).await?;
    ready(machine, "ready").await?;
    ensure!(machine.status().await?["bridge"]["bridge_id"] == before, "it goes on as it was");
    house.grant("After Reinstallation").await?;
    house.all_arrived().await?;

    let machine = &house.machine;
    let said = machine.succeed(&["dpkg", "--purge", "lockbridge"]).await?;
    for deleted in ["/var/lib/lockbridge", "/etc/lockbridge", "lockbridge.state-key", "the user lockbridge"] {
        ensure!(said.contains(deleted), "purge does not say {deleted}: {said}");
    }
    ensure!(machine.shell("ls -A /var/lib/lockbridge | wc -l").await?.trim() == "0");
    ensure!(machine.run(&["test", "-e", "/etc/lockbridge"]).await?.code != 0);
    ensure!(machine.run(&["id", "lockbridge"]).await?.code != 0);
    let left = machine.shell("find / -xdev -name '*lockbridge*' -not -path '/proc/*' -not -path '/sys/*'").await?;
    ensure!(left.trim() == "/var/lib/lockbridge", "left behind: {left}");

    let said = machine.shell(&format!("dpkg -i /packages/{SECOND}/lockbridge_*.deb 2>&1")).await?;
    ensure!(said.contains("not started"), "{said}");
    ensure!(machine.run(&["lockbridge", "config", "check"]).await?.code == 78, "as on the first day");
    Ok(())
}
