//! The validated configuration: every value checked, every default filled in.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::salto_pms::SaltoPmsConfig;

/// All that the daemon is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Journal, working set and identity; mode 0700. `STATE_DIRECTORY` of systemd, or `/var/lib/lockbridge`.
    pub state_directory: PathBuf,
    /// Control socket for the CLI. Default `/run/lockbridge/control.sock`.
    pub control_socket: PathBuf,
    /// Local policy file (rule I6). Default `/etc/lockbridge/policy.toml`.
    pub policy_file: PathBuf,
    /// Key that seals state; `None`: a key file inside the state directory.
    pub state_key: Option<SecretSource>,
    /// Loopback address of the health server. Default `127.0.0.1:7780`.
    pub health_address: SocketAddr,
    /// What names this machine, to notice that the state directory was copied to another (rule H8). Default
    /// `/etc/machine-id`.
    pub machine_id_file: PathBuf,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Lowest level logged.
    pub log_level: tracing::Level,
    /// HTTP CONNECT proxy on the way to the cloud.
    pub proxy: Option<ProxyConfig>,
    /// Free space below which only safety commands are accepted (rule D6). Default 256 MiB.
    pub disk_reserve_bytes: u64,
    /// Audit segments older than the last checkpoint are kept up to this. Default 256 MiB.
    pub audit_retention_bytes: u64,
    /// At least one.
    pub lock_systems: Vec<LockSystemConfig>,
}

/// Look of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where a secret is read from, at the moment of use; never the secret itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A file readable by the daemon only.
    File(PathBuf),
    /// A systemd credential, by name, under `CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// An HTTP CONNECT proxy.
#[derive(Debug, Clone)]
pub struct ProxyConfig {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User name for Basic authentication.
    pub user: Option<String>,
    /// Password for Basic authentication.
    pub password: Option<SecretSource>,
}

/// One lock system of the site.
#[derive(Debug, Clone)]
pub struct LockSystemConfig {
    /// Short name, `[a-z0-9-]{1,32}`, unique; the cloud addresses the system by it.
    pub name: String,
    /// For people; the name when not given.
    pub display_name: String,
    /// IANA name of the site's zone, as given.
    pub time_zone_name: String,
    /// The same, looked up.
    pub time_zone: TimeZone,
    /// Calls to the lock server at the same time, besides encoder calls. Default 2: what one client of Space is known to
    /// have used against a real server.
    pub connections: usize,
    /// Longest wait for one call that no person waits for. Default 15 s.
    pub call_timeout: Duration,
    /// Longest hold of an encoder. Default 30 s.
    pub encode_timeout: Duration,
    /// Time between liveness probes. Default 15 s.
    pub probe_interval: Duration,
    /// Time between complete inventory scans. Default 15 min.
    pub inventory_interval: Duration,
    /// Vendor part.
    pub kind: LockSystemKind,
}

impl LockSystemConfig {
    /// How rights are written where the lock system keeps people.
    pub fn rights_mode(&self) -> RightsMode {
        match &self.kind {
            LockSystemKind::SaltoSpace(space) => space.rights,
            // No people are kept.
            LockSystemKind::SaltoPms(_) => RightsMode::LevelsAndDoors,
        }
    }
}

/// Vendor part of a lock system.
#[derive(Debug, Clone)]
pub enum LockSystemKind {
    /// SALTO Space over SHIP.
    SaltoSpace(SaltoSpaceConfig),
    /// SALTO's PMS Industry Standard alone.
    SaltoPms(SaltoPmsConfig),
}

/// Settings of SALTO Space. Each weakly known fact of SHIP is a setting here, with the safest default.
#[derive(Debug, Clone)]
pub struct SaltoSpaceConfig {
    /// STP or HTTP(S).
    pub transport: ShipTransport,
    /// The two version digits of an STP frame. Default `00` with ASCII-only XML.
    pub stp_version: [u8; 2],
    /// Objects asked for in one list page. Default 100; never below 2, because pages overlap by one.
    pub page_size: u32,
    /// Encoders by name: no SHIP request lists them.
    pub encoders: Vec<EncoderConfig>,
    /// Access levels by hand, for servers that do not list them (error 502).
    pub access_levels: Vec<AccessLevelConfig>,
    /// How rights are written. Default [`RightsMode::LevelsAndDoors`].
    pub rights: RightsMode,
    /// How a lost card is made invalid. Default [`CancelKey::BanUser`].
    pub cancel_key: CancelKey,
    /// Time between reads of the audit trail. Default 5 s.
    pub audit_interval: Duration,
    /// Where Space pushes events to; the audit trail stays the base.
    pub event_stream: Option<EventStreamConfig>,
    /// Whether mobile keys are offered (licence 0016-1). Default false.
    pub mobile_keys: bool,
    /// The PMS line beside SHIP, which makes the keys for rooms.
    pub pms: Option<Box<SaltoPmsConfig>>,
}

/// How SHIP is reached.
#[derive(Debug, Clone)]
pub enum ShipTransport {
    /// Raw TCP frames; no login, no encryption: keep it on one network segment.
    Stp {
        /// Name or address.
        host: String,
        /// Port set by the operator under *System > General options > SHIP*.
        port: u16,
    },
    /// POST to the web server of Space.
    Http {
        /// `http://host:8100` or `https://...`; path `/` unless given.
        url: url::Url,
        /// Authentication as set on the SHIP tab.
        authentication: HttpAuthentication,
        /// What to trust on `https`.
        trust: TlsTrust,
    },
}

impl ShipTransport {
    /// Name or address of the server, and its port.
    pub fn host_and_port(&self) -> (String, u16) {
        match self {
            Self::Stp { host, port } => (host.clone(), *port),
            Self::Http { url, .. } => {
                let host = url.host_str().unwrap_or_default();
                // A URL writes an IPv6 address in brackets, a resolver wants it without.
                let host = host.trim_start_matches('[').trim_end_matches(']');
                (host.to_owned(), url.port_or_known_default().unwrap_or(80))
            }
        }
    }
}

/// The three modes of the SHIP tab.
#[derive(Debug, Clone)]
pub enum HttpAuthentication {
    /// None.
    None,
    /// User and password.
    Basic {
        /// User name of the SHIP tab.
        user: String,
        /// Its password.
        password: SecretSource,
    },
    /// A shared key in the header `Salto-SHIP-Key`.
    Custom {
        /// The key.
        key: SecretSource,
    },
}

/// What makes a lock server's certificate acceptable. Many have one they signed themselves.
#[derive(Debug, Clone)]
pub enum TlsTrust {
    /// A chain to one of these certificates (PEM file).
    CaFile(PathBuf),
    /// Exactly the certificate with this SHA-256 of its DER.
    Pin([u8; 32]),
}

/// An encoder, by the name given in Space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderConfig {
    /// Exact spelling of Space.
    pub name: String,
    /// For people; the name when not given.
    pub display_name: String,
}

/// An access level known by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLevelConfig {
    /// `ExtGroupID` in Space.
    pub external_id: String,
    /// For people.
    pub name: String,
    /// `ExtDoorID` of its doors.
    pub entrances: Vec<String>,
}

/// How a set of doors becomes rights of a Space user. Neither ever opens more than was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RightsMode {
    /// Access levels that fit inside the set, and doors one by one for the rest.
    LevelsAndDoors,
    /// Access levels only; a rest is reported as missing and the grant as `setup_required` when nothing fits.
    LevelsOnly,
}

/// What stands in for the cancel-key request, whose public name is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelKey {
    /// Ban the user: invalidates the person, keeps the record; a new card then needs an unban by hand.
    BanUser,
    /// Delete the user and write it anew without the key.
    DeleteUser,
    /// The vendor's request name, from its specification; called with `ExtUserID`.
    Request(String),
}

/// Where the event stream of Space arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventStreamConfig {
    /// Our listening address on the lock network.
    pub listen: SocketAddr,
    /// UDP datagrams, or TCP with Space as the client.
    pub udp: bool,
    /// Only this peer is heard.
    pub from: IpAddr,
}
