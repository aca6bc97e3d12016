//! The machine from outside: which process it is, and its link.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::{GUEST, HOST};

/// The first process of the container below `keeper`, as the host numbers it.
pub(super) fn first_process(keeper: u32) -> Option<u32> {
    let mut parents = BTreeMap::new();
    let mut candidates = Vec::new();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(status) = fs::read_to_string(entry.path().join("status")) else { continue };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let Some(parent) = field("PPid").and_then(|text| text.trim().parse::<u32>().ok()) else { continue };
        parents.insert(id, parent);
        // Its numbers in our namespace, in the keeper's, and in its own, where it is the first.
        let numbers: Vec<&str> = field("NSpid").unwrap_or_default().split_whitespace().collect();
        if numbers.len() >= 3 && numbers.last() == Some(&"1") {
            candidates.push(id);
        }
    }
    let below = |mut id: u32| {
        while let Some(parent) = parents.get(&id) {
            if *parent == keeper {
                return true;
            }
            id = *parent;
        }
        false
    };
    candidates.into_iter().find(|id| below(*id))
}

/// Removes the control groups that nspawn made below ours for machines that are gone; those of one that runs are in use and stay.
pub(super) fn sweep_groups() {
    let ours = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    for line in ours.lines() {
        let (Some(path), named) = (line.splitn(3, ':').nth(2), line.contains("name=systemd")) else { continue };
        let mounts: &[&str] = if line.starts_with("0::") {
            &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        } else if named {
            &["/sys/fs/cgroup/systemd"]
        } else {
            &[]
        };
        for mount in mounts {
            let group = Path::new(mount).join(path.trim_start_matches('/'));
            remove_groups(&group.join("payload"));
            remove_groups(&group.join("supervisor"));
        }
    }
}

fn remove_groups(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&entry.path());
        }
    }
    if let Err(error) = fs::remove_dir(group)
        && error.kind() != ErrorKind::NotFound
    {
        tracing::debug!(%error, group = %group.display(), "A control group stays.");
    }
}

/// Lays the link between host and machine; gives the name of the host's end. It goes when the machine goes.
pub(super) async fn connect(init: u32) -> Result<String> {
    let (near, init) = (format!("lbm{init}"), init.to_string());
    ip(&["link", "add", &near, "type", "veth", "peer", "name", "host0", "netns", &init]).await?;
    ip(&["address", "add", &format!("{HOST}/30"), "dev", &near]).await?;
    ip(&["link", "set", &near, "up"]).await?;
    for arguments in
        [vec!["address", "add", &format!("{GUEST}/30"), "dev", "host0"], vec!["link", "set", "host0", "up"]]
    {
        succeed("nsenter", &[&["--net", "--target", &init, "ip"], arguments.as_slice()].concat()).await?;
    }
    Ok(near)
}

pub(super) async fn ip(arguments: &[&str]) -> Result<()> {
    succeed("ip", arguments).await
}

async fn succeed(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).kill_on_drop(true).output().await;
    let output = output.with_context(|| format!("starting {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {} ended with {}: {said}", arguments.join(" "), output.status);
    Ok(())
}
