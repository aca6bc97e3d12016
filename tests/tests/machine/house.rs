//! The machine and the world around it, with the grants and cards that it must come to.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lockbridge_tests::harness::guest::{self, Directory, Grant};
use lockbridge_tests::harness::{Link, Site, until};
use lockbridge_tests::machine::{Ended, Machine};
use serde_json::{Value, json};

/// Longest wait for something that takes some seconds on a machine with nothing else to do.
pub(super) const SOON: Duration = Duration::from_secs(120);
pub(super) const CLOUD: &str = "cloud.example.com";
pub(super) const FIRST: &str = "0.1.0-1";
pub(super) const SECOND: &str = "0.1.0-2";
pub(super) const ENCODER: &str = "Front desk 1";

/// The machine, and the world around it.
pub(super) struct House {
    pub(super) machine: Machine,
    pub(super) site: Site,
    /// Between the machine and the lock server, on the machine's link.
    pub(super) space: Link,
    pub(super) directory: Option<Directory>,
    /// Cards that were commanded.
    pub(super) cards: u64,
    /// Holders that must be at the lock server, each once.
    pub(super) grants: Vec<Grant>,
}

impl House {
    /// A grant whose holder is at the lock server.
    pub(super) async fn grant(&mut self, name: &str) -> Result<Grant> {
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
    pub(super) async fn grant_later(&mut self, name: &str) -> Result<Grant> {
        let directory = self.directory.as_ref().context("the directory")?;
        let grant = guest::grant(&self.site, directory, name, &["Main entrance"]).await?;
        self.grants.push(grant.clone());
        Ok(grant)
    }

    /// Writes the grant's card, once; its chip serial.
    pub(super) async fn encode(&mut self, grant: &Grant) -> Result<String> {
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
    pub(super) async fn all_arrived(&self) -> Result<()> {
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

/// Waits for a state of the bridge.
pub(super) async fn ready(machine: &Machine, state: &str) -> Result<()> {
    until(&format!("the state {state}"), SOON, async || {
        let status = machine.status().await.map_err(|error| format!("{error:#}"))?;
        if status["state"] == state { Ok(()) } else { Err(status.to_string()) }
    })
    .await?;
    Ok(())
}

/// Waits until one of these reasons holds.
pub(super) async fn reason(machine: &Machine, codes: &[&str]) -> Result<()> {
    until(&format!("one of the reasons {codes:?}"), SOON, async || {
        let status = machine.status().await.map_err(|error| format!("{error:#}"))?;
        let holds = |reason: &Value| codes.iter().any(|code| reason["code"] == *code);
        if status["reasons"].as_array().into_iter().flatten().any(holds) { Ok(()) } else { Err(status.to_string()) }
    })
    .await?;
    Ok(())
}

/// What was typed and what came back, as a person at the machine sees it.
pub(super) fn transcript(words: &[&str], ended: &Ended) {
    say(&format!("# {}\n{}{}", words.join(" "), ended.stderr, ended.stdout));
}

/// Figures, and what was skipped, for whoever reads the output of the test.
#[expect(clippy::print_stderr, reason = "figures of a run belong beside its verdict")]
pub(super) fn say(line: &str) {
    eprintln!("{line}");
}
