//! A whole site in a temporary folder: cloud, internet, simulated lock system, bridge.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use super::binaries::{self, Binaries};
use super::command::{run, run_with_input};
use super::http::ApiClient;
use super::link::Link;
use super::process::Process;
use super::wait::until;

/// Name of the lock system in the bridge's configuration.
const LOCK_SYSTEM: &str = "main";
/// The packaged policy bounds a stolen signing key; a load of a year in a minute needs wider bounds.
const POLICY: &str = r#"
version = 1
[systems."*"]
allow = ["*"]
entrances = ["*"]
max_validity_days = 31
encodes_per_hour = 100000
encodes_per_day = 100000
encodes_per_room_per_day = 100000
grants_per_hour = 1000000
"#;

/// What differs between sites.
#[derive(Debug, Clone)]
pub struct SiteOptions {
    /// Extra lines for the table of the lock system.
    pub lock_system: String,
    /// Extra arguments of the simulator.
    pub simulator: Vec<String>,
    /// The whole policy file.
    pub policy: String,
    /// Level of the bridge's log.
    pub log_level: &'static str,
    /// Seconds between probes of the lock server, and between questions for new events.
    pub poll_interval_s: u32,
    /// Puts a relay between bridge and lock server: [`Site::lock_server_link`].
    pub relay_lock_server: bool,
    /// Speak SHIP over HTTP with these lines of the lock system's table (authentication); over TCP when `None`.
    pub http: Option<String>,
    /// Further tables of the configuration.
    pub tables: String,
    /// The bridge's state directory; one in the site's folder when `None`.
    pub state: Option<PathBuf>,
    /// Where cloud and lock server are reached: an address of this host.
    pub address: IpAddr,
    /// The name by which the cloud is dialled.
    pub cloud_name: &'static str,
}

impl Default for SiteOptions {
    fn default() -> Self {
        Self {
            lock_system: String::new(),
            simulator: Vec::new(),
            policy: POLICY.to_owned(),
            log_level: "debug",
            poll_interval_s: 1,
            relay_lock_server: false,
            http: None,
            tables: String::new(),
            state: None,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            cloud_name: "localhost",
        }
    }
}

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

    /// A fresh enrollment token, as the cloud prints it.
    pub async fn token(&self) -> Result<String> {
        self.cloud_command(&["enrollment-token", "create"], &["--workspace", &self.workspace_id]).await
    }

    /// Where the lock server speaks SHIP over TCP.
    pub fn lock_server(&self) -> SocketAddr {
        self.stp
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

    fn api_port(&self) -> Result<&str> {
        Ok(self.api_address.rsplit_once(':').context("an API port")?.1)
    }

    fn write_configuration(&self, options: &SiteOptions) -> Result<()> {
        let (folder, state) = (self.folder().display(), self.state.display());
        let lock_server = self.lock_server_link.as_ref().map_or(self.stp, Link::address);
        let transport = match &options.http {
            None => format!("host = \"{}\"\nport = {}", lock_server.ip(), lock_server.port()),
            Some(lines) => format!("transport = \"http\"\nurl = \"http://{}\"\n{lines}", self.http),
        };
        let configuration = format!(
            r#"
[bridge]
state_directory = "{state}"
control_socket = "{folder}/control.sock"
policy_file = "{folder}/policy.toml"
[health]
address = "127.0.0.1:0"
[log]
level = "{}"
[storage]
disk_reserve_mib = 16
[lock_system.{LOCK_SYSTEM}]
kind = "salto_space"
display_name = "Example house"
time_zone = "Europe/Madrid"
{transport}
probe_interval_s = {}
encoders = ["Front desk 1", "Front desk 2"]
access_levels = [
  {{ external_id = "RESIDENTS", name = "Residents", entrances = ["MAIN"] }},
  {{ external_id = "LEISURE", name = "Gym and pool", entrances = ["GYM", "POOL"] }},
]
audit_interval_s = {}
{}
{}
"#,
            options.log_level, options.poll_interval_s, options.poll_interval_s, options.lock_system, options.tables
        );
        std::fs::write(self.configuration(), configuration)?;
        std::fs::write(self.folder().join("policy.toml"), &options.policy)?;
        std::fs::create_dir_all(self.state())?;
        Ok(())
    }
}

async fn start_cloud(
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
async fn start_simulator(
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

fn reason<'status>(status: &'status Value, code: &str) -> Option<&'status Value> {
    status["reasons"].as_array()?.iter().find(|reason| reason["code"] == code)
}

fn field(value: &Value, name: &str) -> Result<String> {
    let found = value[name].as_str().with_context(|| format!("{name} is not in {value}"))?;
    Ok(found.to_owned())
}

fn text(path: &Path) -> Result<String> {
    Ok(path.to_str().context("a path that is text")?.to_owned())
}
