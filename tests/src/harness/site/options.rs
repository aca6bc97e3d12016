//! What differs between sites, and the configuration of the bridge that comes of it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::Result;

use super::super::link::Link;
use super::Site;

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

impl Site {
    pub(super) fn write_configuration(&self, options: &SiteOptions) -> Result<()> {
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
