//! Does systemd run the daemon, in its sandbox, and will it after the next boot?

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::process::Command;

use super::{Check, Verdict};

const UNIT: &str = "lockbridge.service";
/// Answers of systemd come at once.
const LIMIT: Duration = Duration::from_secs(5);
/// What the packaged unit sets, and what systemd then says.
const SANDBOX: [(&str, &[&str]); 8] = [
    ("NoNewPrivileges", &["yes"]),
    ("ProtectSystem", &["strict"]),
    ("ProtectHome", &["yes", "tmpfs"]),
    ("PrivateTmp", &["yes", "disconnected"]),
    ("ProtectKernelModules", &["yes"]),
    ("MemoryDenyWriteExecute", &["yes"]),
    ("RestrictSUIDSGID", &["yes"]),
    ("CapabilityBoundingSet", &[""]),
];
const REINSTALL: &str = "Look at `systemctl cat lockbridge` for drop-ins that loosen it; install the package again.";

pub(super) const CHECK: Check = Check {
    id: "unit",
    description: "systemd runs the service in its sandbox and starts it at boot.",
    look: |_| look().map(|verdict| vec![verdict]).boxed(),
};

async fn look() -> Verdict {
    if !Path::new("/run/systemd/system").exists() {
        return Verdict::skipped("systemd does not run this machine");
    }
    let mut command = Command::new("systemctl");
    let names: Vec<&str> = SANDBOX.iter().map(|(name, _)| *name).collect();
    let names = format!("LoadState,ActiveState,UnitFileState,NeedDaemonReload,User,{}", names.join(","));
    command.args(["show", UNIT, "--property", &names]).kill_on_drop(true);
    match tokio::time::timeout(LIMIT, command.output()).await {
        Ok(Ok(output)) if output.status.success() => judge(&parse(&String::from_utf8_lossy(&output.stdout))),
        Ok(Ok(output)) => Verdict::skipped(format!("systemctl ends with {}", output.status)),
        Ok(Err(error)) => Verdict::skipped(format!("systemctl cannot be run: {error}")),
        Err(_) => Verdict::skipped(format!("systemctl does not answer within {} s", LIMIT.as_secs())),
    }
}

fn parse(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

fn judge(properties: &BTreeMap<String, String>) -> Verdict {
    let value = |name: &str| properties.get(name).map(String::as_str).unwrap_or_default();
    if value("LoadState") != "loaded" {
        return Verdict::skipped(format!("{UNIT} is not installed ({})", value("LoadState")));
    }
    if value("ActiveState") == "failed" {
        return Verdict::failed(format!("{UNIT} has failed"), "Look at `journalctl -u lockbridge -n 50`.");
    }
    let mut loose: Vec<String> = SANDBOX
        .iter()
        .filter(|(name, good)| !good.contains(&value(name)))
        .map(|(name, _)| format!("{name}={}", value(name)))
        .collect();
    if matches!(value("User"), "" | "root" | "0") {
        loose.push("it runs as root".to_owned());
    }
    let state = format!("{UNIT} is {} and {}", value("ActiveState"), value("UnitFileState"));
    if !loose.is_empty() {
        return Verdict::warning(format!("{state}; its sandbox is open: {}", loose.join(", ")), REINSTALL);
    }
    if value("NeedDaemonReload") == "yes" {
        return Verdict::warning(
            format!("{state}; its file was changed"),
            "Run `systemctl daemon-reload`, then restart it.",
        );
    }
    if value("UnitFileState") != "enabled" {
        return Verdict::warning(format!("{state}: it does not start at boot"), "Run `systemctl enable lockbridge`.");
    }
    Verdict::ok(format!("{state}, as user {}, sandboxed", value("User")))
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    const GOOD: &str = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\nUser=lockbridge\n\
        NoNewPrivileges=yes\nProtectSystem=strict\nProtectHome=yes\nPrivateTmp=yes\nProtectKernelModules=yes\n\
        MemoryDenyWriteExecute=yes\nRestrictSUIDSGID=yes\nCapabilityBoundingSet=\n";

    #[test]
    fn each_way_out_of_the_sandbox_is_named() {
        let judged = |from: &str, to: &str| judge(&parse(&GOOD.replace(from, to)));
        assert_eq!(judged("", "").outcome, Outcome::Ok);
        for (from, to, named) in [
            ("ProtectSystem=strict", "ProtectSystem=no", "ProtectSystem=no"),
            ("CapabilityBoundingSet=", "CapabilityBoundingSet=cap_sys_admin", "cap_sys_admin"),
            ("User=lockbridge", "User=", "root"),
            ("=enabled", "=disabled", "boot"),
            ("Reload=no", "Reload=yes", "changed"),
        ] {
            let verdict = judged(from, to);
            assert_eq!(verdict.outcome, Outcome::Warning, "{to}");
            assert!(verdict.evidence.contains(named), "{verdict:?}");
        }
        assert_eq!(judged("=active", "=failed").outcome, Outcome::Failed);
        assert_eq!(judged("=loaded", "=not-found").outcome, Outcome::Skipped);
    }
}
