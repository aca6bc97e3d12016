//! Raw tree to validated [`Config`]: what belongs to the bridge itself. Vendor parts are in their own files.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;

use super::section::Section;
use super::types::{Config, LockSystemConfig, LockSystemKind, LogFormat, ProxyConfig};
use super::{salto_pms, salto_space};

/// Lock systems of one bridge: each has its own tasks and connections.
const LOCK_SYSTEMS: usize = 16;

/// Whether a configuration without a lock system holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Systems {
    /// No: a daemon has nothing to do.
    Needed,
    /// Yes: setup is about to add one.
    Optional,
}

/// Validates the root. `None` or noted problems mean that the configuration does not hold.
pub(super) fn bridge(mut root: Section, wanted: Systems) -> Option<Config> {
    let mut bridge = root.section("bridge");
    let state_directory = path(&mut bridge, "state_directory", &default_state_directory());
    let control_socket = path(&mut bridge, "control_socket", Path::new("/run/lockbridge/control.sock"));
    let policy_file = path(&mut bridge, "policy_file", Path::new("/etc/lockbridge/policy.toml"));
    let state_key = bridge.secret("state_key");
    bridge.finish("state_directory, control_socket, policy_file, state_key_file, state_key_credential");

    let mut health = root.section("health");
    let default_address = SocketAddr::from(([127, 0, 0, 1], 7780));
    let health_address =
        health.parsed_or("address", "a loopback address with port, as 127.0.0.1:7780", default_address, |text| {
            text.parse().ok().filter(|address: &SocketAddr| address.ip().is_loopback())
        });
    health.finish("address");

    let mut log = root.section("log");
    let log_format = log.choice("format", &[("text", LogFormat::Text), ("json", LogFormat::Json)], "text");
    let log_level = log.choice(
        "level",
        &[
            ("error", tracing::Level::ERROR),
            ("warn", tracing::Level::WARN),
            ("info", tracing::Level::INFO),
            ("debug", tracing::Level::DEBUG),
        ],
        "info",
    );
    log.finish("format, level");

    let mut network = root.section("network");
    let proxy = proxy(&mut network);
    network.finish("proxy, proxy_password_file, proxy_password_credential");

    let mut machine = root.section("machine");
    let machine_id_file = path(&mut machine, "id_file", Path::new("/etc/machine-id"));
    machine.finish("id_file");

    let mut storage = root.section("storage");
    let disk_reserve_bytes = storage.number("disk_reserve_mib", 16..=65_536, 256) * 1024 * 1024;
    let audit_retention_bytes = storage.number("audit_retention_mib", 16..=1_048_576, 256) * 1024 * 1024;
    storage.finish("disk_reserve_mib, audit_retention_mib");

    let mut systems = root.section("lock_system");
    let named = systems.named_sections();
    if named.is_empty() && wanted == Systems::Needed {
        systems.problem("<name>", None, "at least one table [lock_system.<name>]; `lockbridge setup` writes it");
    }
    if named.len() > LOCK_SYSTEMS {
        systems.problem("<name>", Some(&named.len().to_string()), "at most 16 lock systems");
    }
    let lock_systems: Vec<Option<LockSystemConfig>> =
        named.into_iter().map(|(name, section)| lock_system(name, section)).collect();
    systems.finish("tables named after your lock systems");
    root.finish("bridge, health, log, machine, network, storage, lock_system");

    Some(Config {
        state_directory,
        control_socket,
        policy_file,
        state_key,
        health_address,
        machine_id_file,
        log_format: log_format?,
        log_level: log_level?,
        proxy,
        disk_reserve_bytes,
        audit_retention_bytes,
        lock_systems: lock_systems.into_iter().collect::<Option<_>>()?,
    })
}

/// systemd names the state directory; without it, where the package would put it.
fn default_state_directory() -> PathBuf {
    std::env::var_os("STATE_DIRECTORY").map_or_else(|| PathBuf::from("/var/lib/lockbridge"), PathBuf::from)
}

fn path(section: &mut Section, key: &str, default: &Path) -> PathBuf {
    let default = default.display().to_string();
    PathBuf::from(
        section
            .parsed_or(key, "an absolute path", default, |text| Path::new(text).is_absolute().then(|| text.to_owned())),
    )
}

fn proxy(network: &mut Section) -> Option<ProxyConfig> {
    let expected = "http://[user@]host:port of a proxy that allows CONNECT, without a password";
    let url = network.parsed("proxy", expected, |text| {
        url::Url::parse(text).ok().filter(|url| {
            url.scheme() == "http" && url.password().is_none() && url.host().is_some() && url.path() == "/"
        })
    });
    let password = network.secret("proxy_password");
    let url = url?;
    Some(ProxyConfig {
        host: url.host_str()?.to_owned(),
        port: url.port_or_known_default()?,
        user: Some(url.username().to_owned()).filter(|user| !user.is_empty()),
        password,
    })
}

fn lock_system(name: String, mut section: Section) -> Option<LockSystemConfig> {
    let named_well = !name.is_empty()
        && name.len() <= 32
        && name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-');
    if !named_well {
        section.problem("(name)", Some(&format!("{name:?}")), "1 to 32 of a-z, 0-9 and '-'");
    }
    let display_name = section.text("display_name").unwrap_or_else(|| name.clone());
    let zone_name = section.required("time_zone", "an IANA zone as Europe/Madrid: validity is written in local time");
    let time_zone = zone_name.as_deref().and_then(|zone| {
        let found = TimeZone::get(zone).ok();
        if found.is_none() {
            section.problem("time_zone", Some(&format!("{zone:?}")), "an IANA zone as Europe/Madrid");
        }
        found
    });
    let connections = section.number("connections", 1..=16, 2);
    let call_timeout = Duration::from_secs(section.number("call_timeout_s", 1..=60, 15));
    let probe_interval = Duration::from_secs(section.number("probe_interval_s", 1..=300, 15));
    let inventory_interval = Duration::from_secs(section.number("inventory_interval_s", 10..=86_400, 900));
    let kind = section.required("kind", "salto_space or salto_pms");
    let (kind, keys) = match kind.as_deref() {
        Some("salto_space") => {
            (salto_space::validate(&mut section).map(LockSystemKind::SaltoSpace), salto_space::KEYS.to_owned())
        }
        Some("salto_pms") => {
            let pms = salto_pms::validate(&mut section, false);
            (pms.map(LockSystemKind::SaltoPms), salto_pms::keys())
        }
        Some(other) => {
            section.problem("kind", Some(&format!("{other:?}")), "salto_space or salto_pms");
            return None;
        }
        None => (None, salto_space::KEYS.to_owned()),
    };
    let pms = match &kind {
        Some(LockSystemKind::SaltoPms(pms)) => Some(pms),
        Some(LockSystemKind::SaltoSpace(space)) => space.pms.as_deref(),
        None => None,
    };
    // A request on a PMS line waits for the requests before it, and cannot be taken back once it is out.
    let encode_default = if pms.is_some() { 60 } else { 30 };
    let encode_timeout = Duration::from_secs(section.number("encode_timeout_s", 5..=60, encode_default));
    if pms.is_some_and(|pms| pms.answer_timeout >= encode_timeout) {
        let found = format!("{} s", encode_timeout.as_secs());
        section.problem(
            "encode_timeout_s",
            Some(&found),
            "more than answer_timeout_s: a request may have to wait its turn",
        );
    }
    section.finish(&format!("{COMMON_KEYS}, {keys}"));
    Some(LockSystemConfig {
        name,
        display_name,
        time_zone_name: zone_name?,
        time_zone: time_zone?,
        connections: usize::try_from(connections).ok()?,
        call_timeout,
        encode_timeout,
        probe_interval,
        inventory_interval,
        kind: kind?,
    })
}

pub(super) const COMMON_KEYS: &str = "kind, display_name, time_zone, connections, call_timeout_s, encode_timeout_s, \
                           probe_interval_s, inventory_interval_s";
