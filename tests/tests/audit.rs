//! The audit from outside: a real journal with real signatures, and everything that could be done to a copy of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lockbridge::control::{self, Request};
use lockbridge_protocol::proto::journal::{BrakeChanged, Entry, entry::Body};
use lockbridge_tests::harness::guest::{self, Directory};
use lockbridge_tests::harness::{JournalCopy, Site, SiteOptions, until};
use prost::Message;
use serde_json::Value;

const DESK: &str = "Front desk 1";
/// Entries after which the bridge signs the head of its chain.
const CHECKPOINT_ENTRIES: u64 = 256;
const SOON: Duration = Duration::from_secs(30);

/// Runs `lockbridge audit verify --json` and gives exit code and answer.
async fn verify(site: &Site, options: &[&str]) -> Result<(i32, Value)> {
    let (code, stdout, stderr) = site.bridge_command(&[&["audit", "verify", "--json"], options].concat()).await?;
    let answer = serde_json::from_str(&stdout).with_context(|| format!("exit code {code}: {stdout}{stderr}"))?;
    Ok((code, answer))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is text")
}

fn codes(answer: &Value) -> Vec<&str> {
    let findings = answer["journal"]["findings"].as_array().into_iter().flatten();
    findings
        .chain(answer["contradictions"].as_array().into_iter().flatten())
        .filter_map(|it| it["code"].as_str())
        .collect()
}

fn number(answer: &Value, path: &str) -> u64 {
    answer.pointer(path).and_then(Value::as_u64).unwrap_or_default()
}

/// A guest with a card, and enough entries that the cloud witnesses the journal: a site at work.
async fn worked(site: &Site) -> Result<()> {
    let directory = Directory::read(site).await?;
    let grant = guest::ready_grant(site, &directory, "Ada Example", &["Main entrance"]).await?;
    guest::put_blank(site, DESK).await?;
    let attempt = guest::encode(site, &directory, &grant, DESK).await?;
    assert_eq!(attempt["status"], "success", "{attempt}");
    let socket = site.folder().join("control.sock");
    for round in 0..CHECKPOINT_ENTRIES {
        let _held: bool = control::call(&socket, &Request::Brake { on: round % 2 == 0 }).await?;
    }
    Ok(())
}

/// Waits until the running daemon's journal holds a witness of the work, not only of a stop before it; the answer of the audit.
async fn witnessed(site: &Site) -> Result<Value> {
    let found = until("a witness in the journal", SOON, async || {
        let (code, answer) = verify(site, &[]).await.map_err(|error| format!("{error:#}"))?;
        if code != 0 {
            return Err(format!("{answer:#}"));
        }
        let covered = number(&answer, "/journal/witnesses/through");
        if covered >= CHECKPOINT_ENTRIES { Ok(answer) } else { Err(answer.to_string()) }
    });
    Ok(found.await?)
}

/// What the cloud prints for `--witness`, in a file.
async fn witness_file(site: &Site) -> Result<PathBuf> {
    let bridges = site.cloud_command(&["bridge", "list"], &[]).await?;
    let bridge: Value = serde_json::from_str(bridges.lines().next().context("a bridge")?)?;
    let bridge = bridge["bridge_id"].as_str().context("an id")?;
    let printed = site.cloud_command(&["bridge", "witness"], &[bridge]).await?;
    let path = site.folder().join("witness.json");
    std::fs::write(&path, printed)?;
    Ok(path)
}

#[tokio::test]
async fn an_untouched_log_is_sound_while_the_daemon_runs_after_a_kill_and_as_an_export() -> Result<()> {
    let mut site = Site::running(SiteOptions::default()).await?;
    worked(&site).await?;
    let answer = witnessed(&site).await?;
    assert_eq!(answer["sound"], true, "{answer:#}");
    assert!(number(&answer, "/journal/checkpoints/count") > 0, "{answer:#}");
    assert_eq!(answer["journal"]["audit_key"], "beside", "{answer:#}");

    // The daemon writes all the while; nothing it does looks like tampering.
    let socket = site.folder().join("control.sock");
    let writing = async {
        for round in 0..100 {
            let _held: bool = control::call(&socket, &Request::Brake { on: round % 2 == 0 }).await?;
        }
        anyhow::Ok(())
    };
    let checking = async {
        for _ in 0..5 {
            let (code, answer) = verify(&site, &[]).await?;
            assert_eq!(code, 0, "{answer:#}");
        }
        anyhow::Ok(())
    };
    tokio::try_join!(writing, checking)?;

    site.kill_bridge().await?;
    let (code, answer) = verify(&site, &[]).await?;
    assert_eq!(code, 0, "after kill -9: {answer:#}");
    site.start_bridge().await?;
    site.wait_for_cloud(SOON).await?;
    site.stop_bridge().await?;
    let witness = witness_file(&site).await?;
    let (code, answer) = verify(&site, &["--witness", text(&witness)?]).await?;
    assert_eq!(code, 0, "after a stop: {answer:#}");
    assert_eq!(answer["journal"]["witness_from_outside"], true, "{answer:#}");
    assert_eq!(answer["journal"]["authority_key"], "given", "{answer:#}");

    let export = site.folder().join("audit.jsonl");
    let (code, stdout, stderr) = site.bridge_command(&["audit", "export", "--out", text(&export)?]).await?;
    assert_eq!(code, 0, "{stdout}{stderr}");
    let state = site.state();
    let options = ["--file", text(&export)?, "--witness", text(&witness)?, "--against", text(&state)?];
    let (code, exported) = verify(&site, &options).await?;
    assert_eq!(code, 0, "{exported:#}");
    assert_eq!(exported["journal"]["head"], answer["journal"]["head"]);
    let (code, listed, stderr) = site.bridge_command(&["audit", "export", "--text"]).await?;
    assert_eq!(code, 0, "{stderr}");
    // What rule J1 names, in the order of the rule where the session had it.
    for word in [
        "received",
        "decision=accepted",
        "command_hash=",
        "intent",
        "class=B",
        "outcome",
        "state=succeeded",
        "identity_in_use",
        "policy_loaded",
        "started",
        "stopped",
        "brake_changed",
        "witnessed",
    ] {
        assert!(listed.contains(word), "the list has no {word}:\n{listed}");
    }
    let lines = u64::try_from(listed.lines().count())?;
    assert_eq!(lines, number(&answer, "/journal/entries"));
    Ok(())
}

#[tokio::test]
async fn every_kind_of_tampering_with_a_copy_is_found() -> Result<()> {
    let mut site = Site::running(SiteOptions::default()).await?;
    // A backup from before most of the work.
    site.stop_bridge().await?;
    let folder = tempfile::tempdir()?;
    let backup = JournalCopy::make(&site.state(), &folder.path().join("backup"))?;
    site.start_bridge().await?;
    site.wait_for_cloud(SOON).await?;
    worked(&site).await?;
    let answer = witnessed(&site).await?;
    let covered = number(&answer, "/journal/witnesses/through");
    site.stop_bridge().await?;
    let witness = witness_file(&site).await?;
    let original = site.state();
    let copied = |name: &str| JournalCopy::make(&original, &folder.path().join(name));
    let check = async |copy: &JournalCopy, options: &[&str]| -> Result<Value> {
        let (code, answer) = verify(&site, &[&["--state", text(copy.state())?], options].concat()).await?;
        assert_eq!(code, i32::from(!codes(&answer).is_empty()), "{answer:#}");
        Ok(answer)
    };
    let with_witness = ["--witness", text(&witness)?];

    let copy = copied("untouched")?;
    assert_eq!(codes(&check(&copy, &with_witness).await?), [""; 0]);

    let copy = copied("edited")?;
    copy.edit(covered - 20)?;
    let answer = check(&copy, &[]).await?;
    assert_eq!(codes(&answer), ["edited"], "{answer:#}");
    assert_eq!(number(&answer, "/journal/findings/0/sequence"), covered - 20);
    for field in ["place", "message", "remedy"] {
        assert!(answer["journal"]["findings"][0][field].as_str().is_some_and(|it| it.len() > 10), "{answer:#}");
    }

    let copy = copied("cut")?;
    copy.cut(covered - 5)?;
    assert_eq!(codes(&check(&copy, &[]).await?), [""; 0], "nothing in a cut log tells that it was longer");
    let answer = check(&copy, &with_witness).await?;
    assert_eq!(codes(&answer), ["cut"], "{answer:#}");

    let copy = copied("swapped")?;
    copy.swap(covered - 20)?;
    assert!(codes(&check(&copy, &[]).await?).contains(&"reordered"));

    let copy = copied("forged")?;
    let brake = BrakeChanged { on: true, who: "uid 0".into() };
    let forged = Entry { wall_ms: 1, body: Some(Body::BrakeChanged(brake)) };
    copy.rewrite(covered - 20, &forged.encode_to_vec())?;
    let answer = check(&copy, &[]).await?;
    assert_eq!(codes(&answer), ["rewritten"], "only what was signed can tell: {answer:#}");
    let options = ["--against", text(&original)?];
    let answer = check(&copy, &options).await?;
    assert_eq!(codes(&answer), ["rewritten", "fork"], "{answer:#}");
    assert_eq!(number(&answer, "/contradictions/0/sequence"), covered - 20);

    assert_eq!(codes(&check(&backup, &[]).await?), [""; 0], "a backup is a sound log");
    let answer = check(&backup, &with_witness).await?;
    assert_eq!(codes(&answer), ["cut"], "and the witness knows a longer one: {answer:#}");
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_audited_is_told_with_the_next_step() -> Result<()> {
    let site = Site::open(SiteOptions::default()).await?;
    for (options, wanted) in [
        (vec!["--state", "/nonexistent"], "there is no journal in /nonexistent"),
        (vec!["--file", "/nonexistent"], "cannot read /nonexistent"),
        (vec!["--bridge-key", "/nonexistent"], "/nonexistent"),
        (vec!["--witness", "/nonexistent"], "cannot read /nonexistent"),
    ] {
        let (code, _, stderr) = site.bridge_command(&[&["audit", "verify"], options.as_slice()].concat()).await?;
        assert!(code == 66 && stderr.contains(wanted) && stderr.contains("-> "), "{options:?}: {code}: {stderr}");
    }
    let (code, ..) = site.bridge_command(&["audit", "verify", "--state", "x", "--file", "y"]).await?;
    assert_eq!(code, 2, "a wrong command line");
    let Err(error) = site.cloud_command(&["bridge", "witness"], &["nobody"]).await else {
        bail!("a witness of nobody")
    };
    assert!(error.to_string().contains("there is no bridge nobody"), "{error:#}");
    Ok(())
}
