//! A whole site in a temporary folder: cloud, internet, simulated lock system, bridge.

mod options;
mod processes;
mod questions;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;

use self::processes::{start_cloud, start_simulator};
use super::binaries::{self, Binaries};
use super::command::run;
use super::http::ApiClient;
use super::link::Link;
use super::process::Process;

pub use options::SiteOptions;

/// The site. Dropping it ends every process.
#[derive(Debug)]
pub struct Site {
    /// The property software's way in.
    pub api: ApiClient,
    /// Control address of the simulator.
    pub simulator: ApiClient,
    /// The internet between bridge and cloud.
    pub link: Link,
    /// The site's network between bridge and lock server, if it was asked for.
    pub lock_server_link: Option<Link>,
    /// Workspace of the site.
    pub workspace_id: String,
    /// An API key of the workspace.
    pub api_key: String,
    /// `host:port` of the API.
    pub api_address: String,
    /// PEM file of the cloud's CA.
    pub ca_file: PathBuf,
    /// `host:port` of the simulator's control API.
    pub simulator_control: String,
    /// `host:port` of the bridge's health server; empty while it does not run.
    pub health_address: String,
    binaries: &'static Binaries,
    cloud: Process,
    simulator_process: Process,
    bridge: Option<Process>,
    stp: SocketAddr,
    http: SocketAddr,
    simulator_arguments: Vec<String>,
    state: PathBuf,
    /// What the bridge takes for the kernel's boot id, when it is not the real one.
    boot_id: Option<PathBuf>,
    cloud_name: &'static str,
    folder: TempDir,
}

impl Site {
    /// Starts cloud and simulator, and writes the bridge's configuration. The bridge is neither enrolled nor running.
    pub async fn open(options: SiteOptions) -> Result<Self> {
        let binaries = tokio::task::spawn_blocking(binaries::build).await??;
        let folder = tempfile::Builder::new().prefix("lockbridge-site-").tempdir().context("a temporary folder")?;
        let path = folder.path();
        let link = Link::open_at(options.address).await?;

        let mut simulator_arguments = vec!["--data".to_owned(), text(&path.join("simulator"))?];
        simulator_arguments.extend(options.simulator.iter().cloned());
        let listen = SocketAddr::new(options.address, 0).to_string();
        let (simulator_process, ready) =
            start_simulator(binaries, path, &simulator_arguments, [&listen, "127.0.0.1:0", "127.0.0.1:0"]).await?;
        let stp: SocketAddr = field(&ready, "stp")?.parse()?;
        let http: SocketAddr = field(&ready, "http")?.parse()?;
        let simulator_control = field(&ready, "control")?;
        let lock_server_link = if options.relay_lock_server { Some(Link::open().await?) } else { None };
        if let Some(relay) = &lock_server_link {
            relay.lead_to(stp);
        }

        let (cloud, ready) = start_cloud(binaries, path, &link, options.cloud_name, "127.0.0.1:0").await?;
        link.lead_to(field(&ready, "hub_address")?.parse()?);
        let ca_file = PathBuf::from(field(&ready, "ca_file")?);
        let api_port = field(&ready, "api_address")?.rsplit_once(':').context("an API port")?.1.to_owned();
        let api_address = format!("localhost:{api_port}");

        let data = text(&path.join("cloud"))?;
        let workspace = run(&binaries.cloud, &["workspace", "create", "--data", &data, "--name", "Example"]).await?;
        let workspace_id = workspace.trim().to_owned();
        let key = run(&binaries.cloud, &["api-key", "create", "--data", &data, "--workspace", &workspace_id]).await?;
        let api_key = key.trim().to_owned();
        let ca = std::fs::read_to_string(&ca_file).context("the CA file")?;

        let site = Self {
            api: ApiClient::secure(&api_address, &ca, &api_key)?,
            simulator: ApiClient::plain(&simulator_control)?,
            link,
            lock_server_link,
            workspace_id,
            api_key,
            api_address,
            ca_file,
            simulator_control,
            health_address: String::new(),
            binaries,
            cloud,
            simulator_process,
            bridge: None,
            stp,
            http,
            simulator_arguments,
            state: options.state.clone().unwrap_or_else(|| folder.path().join("state")),
            boot_id: None,
            cloud_name: options.cloud_name,
            folder,
        };
        site.write_configuration(&options)?;
        Ok(site)
    }

    /// [`open`](Self::open), enrolled, running, connected, with the inventory at the cloud.
    pub async fn running(options: SiteOptions) -> Result<Self> {
        let mut site = Self::open(options).await?;
        site.enroll().await?;
        site.start_bridge().await?;
        site.wait_for_inventory().await?;
        Ok(site)
    }

    /// The folder that holds everything of this site.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The bridge's configuration file.
    pub fn configuration(&self) -> PathBuf {
        self.folder().join("bridge.toml")
    }

    /// The bridge's state directory.
    pub fn state(&self) -> PathBuf {
        self.state.clone()
    }

    /// Where the lock server speaks SHIP over TCP.
    pub fn lock_server(&self) -> SocketAddr {
        self.stp
    }
}

fn field(value: &Value, name: &str) -> Result<String> {
    let found = value[name].as_str().with_context(|| format!("{name} is not in {value}"))?;
    Ok(found.to_owned())
}

fn text(path: &Path) -> Result<String> {
    Ok(path.to_str().context("a path that is text")?.to_owned())
}
