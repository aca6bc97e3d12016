//! What a site is asked and told: commands of bridge and cloud, and the bridge's word about itself.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::super::command::{run, run_with_input};
use super::super::http::ApiClient;
use super::super::wait::until;
use super::{Site, text};

impl Site {
    /// A fresh enrollment token, as the cloud prints it.
    pub async fn token(&self) -> Result<String> {
        self.cloud_command(&["enrollment-token", "create"], &["--workspace", &self.workspace_id]).await
    }

    /// Runs an administration command on the cloud's data; what it printed.
    pub async fn cloud_command(&self, words: &[&str], options: &[&str]) -> Result<String> {
        let data = text(&self.folder().join("cloud"))?;
        let printed = run(&self.binaries.cloud, &[words, &["--data", &data], options].concat()).await?;
        Ok(printed.trim().to_owned())
    }

    /// Enrolls the bridge with a fresh token over standard input; gives what the command printed.
    pub async fn enroll(&self) -> Result<Value> {
        let token = self.token().await?;
        let (code, stdout, stderr) = self.bridge_command_with_input(&["enroll", "--json"], &token).await?;
        if code != 0 {
            bail!("enroll ended with {code}: {stderr}");
        }
        Ok(serde_json::from_str(&stdout)?)
    }

    /// Runs `lockbridge` with the site's configuration; exit code, stdout, stderr.
    pub async fn bridge_command(&self, arguments: &[&str]) -> Result<(i32, String, String)> {
        self.bridge_command_with_input(arguments, "").await
    }

    /// The same with text on standard input.
    pub async fn bridge_command_with_input(&self, arguments: &[&str], input: &str) -> Result<(i32, String, String)> {
        self.configured_command(&self.configuration(), arguments, input).await
    }

    /// The same with another configuration file: another machine of the site.
    pub async fn configured_command(
        &self,
        configuration: &Path,
        arguments: &[&str],
        input: &str,
    ) -> Result<(i32, String, String)> {
        let configuration = text(configuration)?;
        let arguments = [&["--config", configuration.as_str()], arguments].concat();
        run_with_input(&self.binaries.bridge, &arguments, input).await
    }

    /// The bridge's `/status`.
    pub async fn status(&self) -> Result<Value> {
        Ok(ApiClient::plain(&self.health_address)?.get("/status").await?)
    }

    /// Waits until the bridge's `/status` satisfies `holds`.
    pub async fn wait_for_status(&self, what: &str, limit: Duration, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        let health = ApiClient::plain(&self.health_address)?;
        let status = until(what, limit, async || match health.get("/status").await {
            Ok(status) if holds(&status) => Ok(status),
            Ok(status) => Err(status.to_string()),
            Err(error) => Err(error.to_string()),
        });
        Ok(status.await?)
    }

    /// Waits until the bridge gives a reason with this code; that reason.
    pub async fn wait_for_reason(&self, code: &str, limit: Duration) -> Result<Value> {
        let what = format!("the reason {code}");
        let status = self.wait_for_status(&what, limit, |status| reason(status, code).is_some()).await?;
        Ok(reason(&status, code).cloned().unwrap_or_default())
    }

    /// Waits until the bridge has a session with the cloud.
    pub async fn wait_for_cloud(&self, limit: Duration) -> Result<()> {
        self.wait_for_status("a session with the cloud", limit, |status| status["cloud"]["connected"] == true).await?;
        Ok(())
    }

    /// Waits until the cloud knows the doors and encoders of the simulator.
    pub async fn wait_for_inventory(&self) -> Result<()> {
        until("doors and encoders at the API", Duration::from_secs(30), async || {
            let entrances = self.api.post("/acs/entrances/list", json!({})).await.map_err(|error| error.to_string())?;
            let encoders = self.api.post("/acs/encoders/list", json!({})).await.map_err(|error| error.to_string())?;
            let count = |value: &Value, key: &str| value[key].as_array().map_or(0, Vec::len);
            let seen = (count(&entrances, "acs_entrances"), count(&encoders, "acs_encoders"));
            if seen.0 >= 12 && seen.1 >= 2 { Ok(()) } else { Err(format!("{seen:?} entrances and encoders")) }
        })
        .await?;
        Ok(())
    }
}

fn reason<'status>(status: &'status Value, code: &str) -> Option<&'status Value> {
    status["reasons"].as_array()?.iter().find(|reason| reason["code"] == code)
}
