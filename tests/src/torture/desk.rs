//! Somebody at the desk: encodes by the command line, and the word of a person on a doubt.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::process::Command;
use tokio::task::JoinHandle;

use super::history::{Doubt, End, History, Settled};
use super::witness;
use crate::harness::{Site, build};

/// Longest run of one encode at the desk; the encoder's own limit is far below.
const ENCODE: Duration = Duration::from_secs(90);

/// An encode at the desk that runs beside the load; the process ends with the task.
#[derive(Debug)]
pub(super) struct AtDesk {
    pub(super) holder: usize,
    task: JoinHandle<Result<End>>,
}

impl AtDesk {
    /// Starts `lockbridge encode` for a grant.
    pub(super) fn start(site: &Site, holder: usize, access_grant_id: &str, encoder: &str) -> Result<Self> {
        let program = build()?.bridge.clone();
        let (configuration, grant, encoder) = (site.configuration(), access_grant_id.to_owned(), encoder.to_owned());
        let task = tokio::spawn(async move { encode(program, configuration, grant, encoder).await });
        Ok(Self { holder, task })
    }

    /// What the person at the desk was told.
    pub(super) async fn end(self) -> Result<End> {
        self.task.await?
    }
}

async fn encode(program: PathBuf, configuration: PathBuf, grant: String, encoder: String) -> Result<End> {
    let mut command = Command::new(program);
    command.arg("--config").arg(configuration).args(["encode", &grant, "--encoder", &encoder, "--json"]);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(ENCODE, command.output()).await.context("`lockbridge encode` did not end")??;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let answer: Value = serde_json::from_str(&told).unwrap_or(Value::Null);
    Ok(match answer["state"].as_str() {
        Some("succeeded") => End::Success,
        Some("failed" | "expired" | "rejected" | "superseded" | "cancelled") => End::NotDone(told),
        // No answer (the bridge died or was not there), or "in doubt": the desk does not know.
        _ => End::Unknown(format!("{told}{}", String::from_utf8_lossy(&output.stderr))),
    })
}

/// Reads the list of doubts into the history; gives how many encodes are new on it.
pub(super) async fn doubts(site: &Site, history: &mut History) -> Result<u64> {
    let (code, stdout, stderr) = site.bridge_command(&["doubt", "--json"]).await?;
    if code != 0 {
        bail!("`lockbridge doubt` ended with {code}: {stderr}");
    }
    let rows: Vec<Value> = serde_json::from_str(&stdout).with_context(|| stdout.clone())?;
    let mut listed = Vec::new();
    let mut new = 0;
    for row in rows.iter().filter(|row| row["command"]["kind"] == "encode_credential") {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let id = text(&row["command"]["command_id"]);
        let lane = text(&row["command"]["lane"]);
        let acs_user_id = lane.strip_prefix("user:").with_context(|| format!("the lane of {row}"))?.to_owned();
        listed.push(id.clone());
        history.doubts.entry(id).or_insert_with(|| {
            new += 1;
            Doubt { acs_user_id, settled: Settled::Open }
        });
    }
    for (id, doubt) in &mut history.doubts {
        if doubt.settled == Settled::Open && !listed.contains(id) {
            doubt.settled = Settled::Evidence;
        }
    }
    Ok(new)
}

/// Settles every open doubt by what the simulator counted; the encoders are at rest.
pub(super) async fn resolve(site: &Site, history: &mut History) -> Result<()> {
    doubts(site, history).await?;
    witness::at_rest(site).await?;
    let writes = witness::writes(site).await?;
    let open: Vec<(String, String)> = history
        .doubts
        .iter()
        .filter(|(_, doubt)| doubt.settled == Settled::Open)
        .map(|(id, doubt)| (id.clone(), doubt.acs_user_id.clone()))
        .collect();
    for (id, acs_user_id) in open {
        let holder = history.by_user(&acs_user_id).with_context(|| format!("nobody made {acs_user_id}"))?;
        let before = holder.encodes.last().map_or(0, |encode| encode.writes_before);
        let written = writes.get(&holder.external_id).copied().unwrap_or(0) > before;
        let word = if written { "done" } else { "not-done" };
        let (code, stdout, stderr) = site.bridge_command(&["doubt", "resolve", &id, word, "--json"]).await?;
        let settled = match code {
            0 => Settled::Person,
            // The lock server's evidence was faster than the person.
            _ if stderr.contains("not in doubt") || stderr.contains("no command") => Settled::Evidence,
            _ => bail!("`lockbridge doubt resolve {id} {word}` ended with {code}: {stdout} {stderr}"),
        };
        if let Some(doubt) = history.doubts.get_mut(&id) {
            doubt.settled = settled;
        }
    }
    Ok(())
}
