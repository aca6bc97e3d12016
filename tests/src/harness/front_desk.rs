//! A simulated machine of the front desk that speaks FIAS, as a process of its own.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use super::http::ApiClient;
use super::process::Process;
use super::{binaries, until};

/// Longest that a link takes to come up.
const LINK: Duration = Duration::from_secs(30);
/// Longest that an answer takes.
const ANSWER: Duration = Duration::from_secs(70);

/// `lockbridge-sim fias`. Dropping it ends the process.
#[derive(Debug)]
pub struct FiasSimulator {
    /// Its control interface.
    pub control: ApiClient,
    /// Where it listens, if it does.
    pub address: Option<String>,
    process: Process,
}

impl FiasSimulator {
    /// Starts one; its log goes into `folder`.
    pub async fn start(folder: &Path, arguments: &[&str]) -> Result<Self> {
        let binaries = tokio::task::spawn_blocking(binaries::build).await??;
        let all = [&["fias", "--exit-with-stdin"], arguments].concat();
        let mut process = Process::start("the FIAS simulator", &binaries.simulator, &all, &folder.join("fias.log"))?;
        let ready = process.ready().await?;
        let control = ready["control"].as_str().context("a control address")?;
        let address = ready["address"].as_str().map(str::to_owned);
        Ok(Self { control: ApiClient::plain(control)?, address, process })
    }

    /// The port number where it listens.
    pub fn port(&self) -> Result<&str> {
        let address = self.address.as_deref().context("it does not listen")?;
        Ok(address.rsplit_once(':').context("a port")?.1)
    }

    /// Waits until the link is alive for the `times`-th time.
    pub async fn alive(&self, times: u64) -> Result<Value> {
        let what = format!("the link of the front desk, alive for the {times}. time");
        let state = until(&what, LINK, async || {
            let state = self.control.get("/state").await.map_err(|error| error.to_string())?;
            let reached = state["times_alive"].as_u64().is_some_and(|count| count >= times);
            if reached && state["alive"] == true { Ok(state) } else { Err(state.to_string()) }
        });
        Ok(state.await?)
    }

    /// Sends a record; its number.
    pub async fn send(&self, record: &str, fields: &[(&str, &str)]) -> Result<u64> {
        let fields: Map<String, Value> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let sent = self.control.post("/requests", json!({ "record": record, "fields": fields })).await?;
        sent["request"].as_u64().with_context(|| format!("no number in {sent}"))
    }

    /// Waits for the answer to a request: its fields.
    pub async fn answer(&self, request: u64) -> Result<Value> {
        let path = format!("/requests/{request}?wait_ms=5000");
        let what = format!("the answer to request {request}");
        let told = until(&what, ANSWER, async || {
            let told = self.control.get(&path).await.map_err(|error| error.to_string())?;
            if told["request"]["open"] == false { Ok(told) } else { Err(told.to_string()) }
        })
        .await?;
        let answers = told["answers"].as_array().with_context(|| format!("no answers in {told}"))?;
        Ok(answers.last().with_context(|| format!("nobody answered {told}"))?["fields"].clone())
    }

    /// Sends a record and waits for its answer: its fields.
    pub async fn ask(&self, record: &str, fields: &[(&str, &str)]) -> Result<Value> {
        self.answer(self.send(record, fields).await?).await
    }

    /// Ends the process at once.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.kill().await
    }
}
