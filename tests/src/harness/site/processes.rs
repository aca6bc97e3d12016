//! The processes of a site: each is started, ended, killed and started again by its test.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use uuid::Uuid;

use super::super::binaries::Binaries;
use super::super::link::Link;
use super::super::process::Process;
use super::{Site, field, text};

impl Site {
    /// Starts the daemon and waits until it says that it is ready.
    pub async fn start_bridge(&mut self) -> Result<()> {
        self.spawn_bridge()?;
        self.bridge_ready().await
    }

    /// Starts the daemon; what it does from here on may be watched or cut short.
    pub fn spawn_bridge(&mut self) -> Result<()> {
        let configuration = text(&self.configuration())?;
        let arguments = ["--config", configuration.as_str(), "run", "--announce", "--exit-with-stdin"];
        let log = self.folder().join("bridge.log");
        let bridge = if let Some(boot_id) = &self.boot_id {
            // In a mount namespace of its own the kernel's file can be another one; the process id stays.
            let script = r#"mount --bind "$1" /proc/sys/kernel/random/boot_id && shift && exec "$@""#;
            let (boot_id, program) = (text(boot_id)?, text(&self.binaries.bridge)?);
            let wrapped = ["--mount", "sh", "-c", script, "sh", boot_id.as_str(), program.as_str()];
            Process::start("the bridge", Path::new("unshare"), &[&wrapped, &arguments[..]].concat(), &log)?
        } else {
            Process::start("the bridge", &self.binaries.bridge, &arguments, &log)?
        };
        self.bridge = Some(bridge);
        Ok(())
    }

    /// Starts the daemon as systemd would, with the files of a folder as its credentials.
    pub fn spawn_bridge_with_credentials(&mut self, folder: &Path) -> Result<()> {
        let configuration = text(&self.configuration())?;
        let credentials = format!("CREDENTIALS_DIRECTORY={}", folder.display());
        let program = text(&self.binaries.bridge)?;
        let arguments = [
            &credentials,
            program.as_str(),
            "--config",
            configuration.as_str(),
            "run",
            "--announce",
            "--exit-with-stdin",
        ];
        let log = self.folder().join("bridge.log");
        self.bridge = Some(Process::start("the bridge", Path::new("env"), &arguments, &log)?);
        Ok(())
    }

    /// Waits until the spawned daemon says that it is ready; one that does not is ended.
    pub async fn bridge_ready(&mut self) -> Result<()> {
        match self.bridge()?.ready().await {
            Ok(ready) => {
                self.health_address = field(&ready, "health")?;
                Ok(())
            }
            Err(error) => {
                self.kill_bridge().await?;
                Err(error)
            }
        }
    }

    /// From now on the daemon is started on a machine that was booted anew: what it remembers of the page cache is void.
    /// Needs root.
    pub fn reboot(&mut self) -> Result<()> {
        let file = self.folder().join("boot-id");
        std::fs::write(&file, format!("{}\n", Uuid::new_v4())).with_context(|| file.display().to_string())?;
        self.boot_id = Some(file);
        Ok(())
    }

    /// The running daemon.
    pub fn bridge(&mut self) -> Result<&mut Process> {
        self.bridge.as_mut().context("the bridge does not run")
    }

    /// The running cloud.
    pub fn cloud(&mut self) -> &mut Process {
        &mut self.cloud
    }

    /// The running simulator.
    pub fn simulator_process(&self) -> &Process {
        &self.simulator_process
    }

    /// `kill -9` of the daemon.
    pub async fn kill_bridge(&mut self) -> Result<()> {
        self.bridge()?.kill().await?;
        self.bridge = None;
        Ok(())
    }

    /// SIGTERM to the daemon, and its orderly end.
    pub async fn stop_bridge(&mut self) -> Result<()> {
        let status = self.bridge()?.stop().await?;
        if !status.success() {
            bail!("the bridge ended with {status}; its log ends:\n{}", self.bridge()?.log_tail());
        }
        self.bridge = None;
        Ok(())
    }

    /// Restarts the cloud on its data; the link leads to the new one.
    pub async fn restart_cloud(&mut self) -> Result<()> {
        self.cloud.kill().await?;
        let (cloud, ready) = start_cloud(
            self.binaries,
            self.folder(),
            &self.link,
            self.cloud_name,
            &format!("127.0.0.1:{}", self.api_port()?),
        )
        .await?;
        self.link.lead_to(field(&ready, "hub_address")?.parse()?);
        self.cloud = cloud;
        Ok(())
    }

    /// `kill -9` of the simulator: nobody listens at the lock server's address.
    pub async fn kill_simulator(&mut self) -> Result<()> {
        self.simulator_process.kill().await
    }

    /// Kills the simulator if it runs, and starts it again on its data and addresses.
    pub async fn restart_simulator(&mut self) -> Result<()> {
        self.kill_simulator().await?;
        let (stp, http) = (self.stp.to_string(), self.http.to_string());
        let addresses = [stp.as_str(), http.as_str(), self.simulator_control.as_str()];
        let (process, _) =
            start_simulator(self.binaries, self.folder.path(), &self.simulator_arguments, addresses).await?;
        self.simulator_process = process;
        Ok(())
    }

    /// Another daemon beside the site's, with its own configuration file and log; it may refuse to run.
    pub fn second_bridge(&self, configuration: &Path) -> Result<Process> {
        let configuration = text(configuration)?;
        let arguments = ["--config", configuration.as_str(), "run", "--announce", "--exit-with-stdin"];
        let log = self.folder().join("second-bridge.log");
        Process::start("the second bridge", &self.binaries.bridge, &arguments, &log)
    }

    fn api_port(&self) -> Result<&str> {
        Ok(self.api_address.rsplit_once(':').context("an API port")?.1)
    }
}

pub(super) async fn start_cloud(
    binaries: &Binaries,
    folder: &Path,
    link: &Link,
    name: &str,
    api: &str,
) -> Result<(Process, Value)> {
    let data = text(&folder.join("cloud"))?;
    let public = format!("https://{name}:{}", link.address().port());
    let arguments = [
        "serve",
        "--data",
        &data,
        "--hub-listen",
        "127.0.0.1:0",
        "--hub-name",
        name,
        "--hub-name",
        "localhost",
        "--api-listen",
        api,
        "--public-hub-url",
        &public,
        "--exit-with-stdin",
    ];
    let mut cloud = Process::start("the cloud", &binaries.cloud, &arguments, &folder.join("cloud.log"))?;
    let ready = cloud.ready().await?;
    Ok((cloud, ready))
}

/// `addresses`: STP, HTTP, control.
pub(super) async fn start_simulator(
    binaries: &Binaries,
    folder: &Path,
    arguments: &[String],
    addresses: [&str; 3],
) -> Result<(Process, Value)> {
    let mut all = vec!["salto-space", "--stp", addresses[0], "--http", addresses[1], "--control", addresses[2]];
    all.extend(["--seed-site", "demo", "--exit-with-stdin"]);
    all.extend(arguments.iter().map(String::as_str));
    let mut simulator = Process::start("the simulator", &binaries.simulator, &all, &folder.join("simulator.log"))?;
    let ready = simulator.ready().await?;
    Ok((simulator, ready))
}
