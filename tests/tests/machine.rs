//! A year of a site in some minutes: a real Debian with systemd, the package, the service in its sandbox; the cloud and a
//! simulated SALTO Space outside of it. Judged by what the simulator counts.
#![allow(clippy::unwrap_used, reason = "a test ends where its premise fails")]

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lockbridge_tests::harness::guest::{self, Directory, Grant};
use lockbridge_tests::harness::{self, Link, Site, SiteOptions, until};
use lockbridge_tests::machine::{self, Bind, Ended, HOST, Machine};
use lockbridge_tests::package::{self, Options, Profile};
use serde_json::{Value, json};

/// Longest wait for something that takes some seconds on a machine with nothing else to do.
const SOON: Duration = Duration::from_secs(120);
const CLOUD: &str = "cloud.example.com";
const FIRST: &str = "0.1.0-1";
const SECOND: &str = "0.1.0-2";
const ENCODER: &str = "Front desk 1";

/// The machine, and the world around it.
struct House {
    machine: Machine,
    site: Site,
    /// Between the machine and the lock server, on the machine's link.
    space: Link,
    directory: Option<Directory>,
    /// Cards that were commanded.
    cards: u64,
    /// Holders that must be at the lock server, each once.
    grants: Vec<Grant>,
}

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

async fn install(house: &House) -> Result<()> {
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

async fn set_up(house: &mut House) -> Result<()> {
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
    let sentence = machine.property("StatusText").await?;
    ensure!(sentence.starts_with("Works"), "{sentence}");
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

/// The installed rule, with consoles in the place of adapters that no machine here has: one with a serial number, one that is
/// only known by its socket, and one that is no business of the rule.
async fn adapter_names(machine: &Machine) -> Result<()> {
    let rules = "/run/udev/rules.d";
    let adapters =
        "KERNEL==\"tty1\", ENV{ID_SERIAL_SHORT}=\"A10012345\"\nKERNEL==\"tty2\", ENV{ID_PATH_TAG}=\"pci-usb-0_2\"\n";
    machine.succeed(&["mkdir", "-p", rules]).await?;
    machine.run_with_input(&["tee", &format!("{rules}/10-adapters.rules")], adapters).await?;
    let installed = "/usr/lib/udev/rules.d/60-lockbridge.rules";
    machine.shell(&format!("sed 's/ttyUSB\\*|ttyACM\\*/tty1|tty2/' {installed} > {rules}/60-lockbridge.rules")).await?;
    let ids = machine.shell("id -u lockbridge; getent group lockbridge-serial | cut -d: -f3").await?;
    let (owner, group) = ids.trim().split_once('\n').context("a user and a group")?;
    let wanted = [format!("OWNER {owner}"), format!("GROUP {group}"), "MODE 0660".to_owned()];
    for (device, name) in [("tty1", "A10012345"), ("tty2", "pci-usb-0_2"), ("tty3", "")] {
        let tried = machine.run(&["udevadm", "test", "--action=add", &format!("/sys/class/tty/{device}")]).await?;
        let said = format!("{}{}", tried.stdout, tried.stderr);
        let ours: Vec<&str> = said.lines().filter(|line| line.contains("60-lockbridge.rules:")).collect();
        let has = |what: &str| ours.iter().any(|line| line.ends_with(what));
        if name.is_empty() {
            ensure!(!has("MODE 0660") && !said.contains("lockbridge/encoder"), "{device} was taken: {ours:#?}");
        } else {
            ensure!(wanted.iter().all(|what| has(what)), "{device}: {wanted:?} in {ours:#?}");
            ensure!(has(&format!("LINK 'lockbridge/encoder-{name}'")), "{device}: {ours:#?}");
        }
    }
    machine.shell(&format!("rm -r {rules} /dev/lockbridge; udevadm control --reload || true")).await?;
    Ok(())
}

/// The unit's own sandbox around another program: serial lines of the allowed classes are open, all others closed even to
/// their owner.
async fn serial(house: &House, mut line: File) -> Result<()> {
    let machine = &house.machine;
    let unit = "/run/systemd/system/serial-test.service";
    let rest =
        "/^Restart/d; /^WatchdogSec/d; /^NotifyAccess/d; /^ExecReload/d; /^LoadCredential/d; /^RuntimeDirectory/d";
    let write = async |device: &str| -> Result<Ended> {
        let program =
            format!(r"s#^ExecStart=.*#ExecStart=/bin/sh -c 'echo written > {device}'#; s/^Type=.*/Type=oneshot/");
        let source = "/usr/lib/systemd/system/lockbridge.service";
        let make = format!("sed -e \"{program}\" -e '{rest}' {source} > {unit}; systemctl daemon-reload");
        machine.shell(&format!("chown lockbridge {device}; {make}")).await?;
        let mut ended = machine.run(&["systemctl", "start", "serial-test"]).await?;
        ended.stdout = machine.succeed(&["journalctl", "-u", "serial-test", "-o", "cat", "-n", "8"]).await?;
        Ok(ended)
    };
    // A pseudo terminal in the place of an adapter; systemd lets every unit use those.
    ensure!(write("/dev/ttyUSB0").await?.code == 0, "the serial line cannot be written");
    let mut arrived = [0; 64];
    let length = line.read(&mut arrived)?;
    ensure!(arrived[..length].starts_with(b"written"), "{arrived:?}");
    // No adapter is there, so the kernel says so once the rules of the unit let the call pass.
    machine.shell("mknod /dev/ttyUSB1 c 188 1; mknod /dev/ttyACM1 c 166 1; mknod /dev/stranger c 200 1").await?;
    for (device, answer) in [
        ("/dev/ttyUSB1", "No such device or address"),
        ("/dev/ttyACM1", "No such device or address"),
        ("/dev/stranger", "Operation not permitted"),
    ] {
        let ended = write(device).await?;
        ensure!(ended.code != 0 && ended.stdout.contains(answer), "{device}: {ended:?}");
        machine.shell(&format!("journalctl --rotate --vacuum-time=1s -q; rm {device}")).await?;
    }
    machine.shell(&format!("rm {unit}; systemctl daemon-reload; systemctl reset-failed")).await?;
    Ok(())
}

/// A daemon that stands still is ended and started again, without anybody.
async fn hangs(house: &House) -> Result<()> {
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
async fn cut_link(house: &mut House) -> Result<()> {
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

async fn reboot(house: &mut House) -> Result<()> {
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

/// A newer package while the lock server is slow and a card is being written.
async fn upgrade(house: &mut House) -> Result<()> {
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

/// Work waits and revokes go on while the disk is full, and all goes on by itself afterwards. It is no reason to restart.
async fn full_disk(house: &mut House) -> Result<()> {
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
async fn wrong_clock(house: &mut House) -> Result<()> {
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

async fn remove(house: &mut House) -> Result<()> {
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

impl House {
    /// A grant whose holder is at the lock server.
    async fn grant(&mut self, name: &str) -> Result<Grant> {
        let grant = self.grant_later(name).await?;
        let body = json!({ "access_method_id": grant.access_method_id });
        until("a grant that may be encoded", SOON, async || {
            let answer = self.site.api.post("/access_methods/get", body.clone()).await;
            let answer = answer.map_err(|error| error.to_string())?;
            if answer["access_method"]["is_ready_for_encoding"] == true { Ok(()) } else { Err(answer.to_string()) }
        })
        .await?;
        Ok(grant)
    }

    /// A grant that the cloud has taken.
    async fn grant_later(&mut self, name: &str) -> Result<Grant> {
        let directory = self.directory.as_ref().context("the directory")?;
        let grant = guest::grant(&self.site, directory, name, &["Main entrance"]).await?;
        self.grants.push(grant.clone());
        Ok(grant)
    }

    /// Writes the grant's card, once; its chip serial.
    async fn encode(&mut self, grant: &Grant) -> Result<String> {
        let card = guest::put_blank(&self.site, ENCODER).await?;
        let directory = self.directory.as_ref().context("the directory")?;
        let ended = guest::encode(&self.site, directory, grant, ENCODER).await?;
        ensure!(ended["status"] == "success", "{ended}");
        guest::lift(&self.site, ENCODER).await?;
        self.cards += 1;
        let written = guest::effects(&self.site, "card_written").await?;
        ensure!(written == self.cards, "{} cards were commanded, {written} were written", self.cards);
        ensure!(guest::present(&self.site, &card, "Main entrance").await?, "the card opens nothing");
        Ok(card)
    }

    /// Waits until the lock server has every holder; none of them twice.
    async fn all_arrived(&self) -> Result<()> {
        for grant in &self.grants {
            until("the holder at the lock server, once", SOON, async || {
                let holders = guest::holders(&self.site, &grant.name).await.map_err(|error| format!("{error:#}"))?;
                if holders.len() == 1 {
                    Ok(())
                } else {
                    Err(format!("{} is there {} times", grant.name, holders.len()))
                }
            })
            .await?;
        }
        Ok(())
    }
}

/// Beside the answers of `setup`: what only a test needs, a small disk and quick looks.
const QUICK: &str = "[storage]
disk_reserve_mib = 16
audit_retention_mib = 64
[lock_system.main]
probe_interval_s = 1
audit_interval_s = 1
";

/// Waits for a state of the bridge.
async fn ready(machine: &Machine, state: &str) -> Result<()> {
    until(&format!("the state {state}"), SOON, async || {
        let status = machine.status().await.map_err(|error| format!("{error:#}"))?;
        if status["state"] == state { Ok(()) } else { Err(status.to_string()) }
    })
    .await?;
    Ok(())
}

/// Waits until one of these reasons holds.
async fn reason(machine: &Machine, codes: &[&str]) -> Result<()> {
    until(&format!("one of the reasons {codes:?}"), SOON, async || {
        let status = machine.status().await.map_err(|error| format!("{error:#}"))?;
        let holds = |reason: &Value| codes.iter().any(|code| reason["code"] == *code);
        if status["reasons"].as_array().into_iter().flatten().any(holds) { Ok(()) } else { Err(status.to_string()) }
    })
    .await?;
    Ok(())
}

/// What was typed and what came back, as a person at the machine sees it.
fn transcript(words: &[&str], ended: &Ended) {
    say(&format!("# {}\n{}{}", words.join(" "), ended.stderr, ended.stdout));
}

/// Figures, and what was skipped, for whoever reads the output of the test.
#[expect(clippy::print_stderr, reason = "figures of a run belong beside its verdict")]
fn say(line: &str) {
    eprintln!("{line}");
}
