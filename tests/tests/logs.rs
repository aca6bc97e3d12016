//! `lockbridge logs`, and that the log tells changes and not conditions.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use lockbridge_tests::harness::{Site, SiteOptions, build};

/// Runs `lockbridge` with only `path` to find programs in; exit code, stdout, stderr.
fn lockbridge(path: &std::path::Path, arguments: &[&str]) -> Result<(i32, String, String)> {
    let output = Command::new(&build()?.bridge).args(arguments).env("PATH", path).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr)))
}

#[test]
fn filters_go_to_journalctl_and_without_it_the_next_step_is_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (code, stdout, stderr) = lockbridge(folder.path(), &["logs"])?;
    assert_eq!((code, stdout.as_str()), (69, ""), "{stderr}");
    assert!(stderr.contains("does not run systemd") && stderr.contains("->"), "{stderr}");

    let journalctl = folder.path().join("journalctl");
    std::fs::write(&journalctl, "#!/bin/sh\necho \"$@\"\n")?;
    std::fs::set_permissions(&journalctl, std::fs::Permissions::from_mode(0o755))?;
    let (code, stdout, stderr) =
        lockbridge(folder.path(), &["logs", "--since", "-2h", "--level", "warn", "--follow", "--json"])?;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stdout.trim(), "--unit lockbridge --priority 4 --lines 1000 --output json --since=-2h --follow");
    Ok(())
}

#[tokio::test]
async fn a_lock_server_and_a_cloud_that_are_away_are_told_once_and_their_return_too() -> Result<()> {
    let mut site =
        Site::running(SiteOptions { log_level: "info", poll_interval_s: 1, ..SiteOptions::default() }).await?;
    site.kill_simulator().await?;
    site.link.cut();
    site.wait_for_reason("lock_server", Duration::from_secs(30)).await?;
    site.wait_for_status("the link is down", Duration::from_secs(60), |status| status["cloud"]["connected"] == false)
        .await?;
    // Several probes and tries come to nothing.
    tokio::time::sleep(Duration::from_secs(8)).await;
    site.restart_simulator().await?;
    site.link.mend();
    site.wait_for_status("the lock server is back", Duration::from_secs(60), |status| {
        status["lock_systems"][0]["reachable"] == true
    })
    .await?;
    site.stop_bridge().await?;
    let log = std::fs::read_to_string(site.folder().join("bridge.log")).context("the log")?;
    let lines = |word: &str| log.lines().filter(|line| line.contains(word)).collect::<Vec<_>>();
    assert_eq!(lines("The lock server does not answer.").len(), 1, "{log}");
    assert_eq!(lines("Over after").iter().filter(|line| line.contains("lock_server")).count(), 1, "{log}");
    assert!(lines("No session with the cloud.").is_empty(), "tries are no news: {log}");
    Ok(())
}
