//! Serial adapters: the installed rule names and owns them, and the sandbox of the unit lets them and no others through.

use std::fs::File;
use std::io::Read as _;

use anyhow::{Context as _, Result, ensure};
use lockbridge_tests::machine::{Ended, Machine};

use super::house::House;

/// The installed rule, with consoles in the place of adapters that no machine here has: one with a serial number, one that is
/// only known by its socket, and one that is no business of the rule.
pub(super) async fn adapter_names(machine: &Machine) -> Result<()> {
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
pub(super) async fn serial(house: &House, mut line: File) -> Result<()> {
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
