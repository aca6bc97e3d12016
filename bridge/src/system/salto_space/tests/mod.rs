//! The adapter against a scripted server.

mod cards;
mod intake;
mod server;
mod transport;
mod users;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use self::server::Server;
use super::SaltoSpace;
use crate::clock::ManualClock;
use crate::config::{
    CancelKey, EncoderConfig, LockSystemConfig, LockSystemKind, RightsMode, SaltoSpaceConfig, ShipTransport,
};
use crate::system::{UserTarget, Window};

/// 2026-11-22T12:00:00Z.
const NOW_MS: i64 = 1_795_348_800_000;
const HOUR_MS: i64 = 3_600_000;
const USER: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
/// A limit that no test waits for.
const LONG: Duration = Duration::from_secs(20);

fn external_id() -> String {
    super::mapping::external_id(USER)
}

fn stp(address: SocketAddr) -> ShipTransport {
    ShipTransport::Stp { host: address.ip().to_string(), port: address.port() }
}

fn config(transport: ShipTransport) -> LockSystemConfig {
    LockSystemConfig {
        name: "main".to_owned(),
        display_name: "Main".to_owned(),
        time_zone_name: "Europe/Berlin".to_owned(),
        time_zone: TimeZone::get("Europe/Berlin").expect("a known zone"),
        connections: 2,
        call_timeout: Duration::from_secs(10),
        encode_timeout: Duration::from_secs(20),
        probe_interval: Duration::from_secs(15),
        inventory_interval: Duration::from_secs(900),
        kind: LockSystemKind::SaltoSpace(SaltoSpaceConfig {
            transport,
            stp_version: *b"00",
            page_size: 2,
            encoders: vec![EncoderConfig { name: "Desk".to_owned(), display_name: "Front desk".to_owned() }],
            access_levels: Vec::new(),
            rights: RightsMode::LevelsAndDoors,
            cancel_key: CancelKey::BanUser,
            audit_interval: Duration::from_millis(20),
            event_stream: None,
            mobile_keys: false,
            pms: None,
        }),
    }
}

fn adapter(config: LockSystemConfig) -> SaltoSpace {
    SaltoSpace::new(config, Arc::new(ManualClock::at(NOW_MS))).expect("a good configuration")
}

/// An adapter for this server, with changes to the configuration.
fn adapter_with(server: &Server, change: impl FnOnce(&mut LockSystemConfig, &mut SaltoSpaceConfig)) -> SaltoSpace {
    let mut config = config(stp(server.address));
    let LockSystemKind::SaltoSpace(mut space) = config.kind.clone() else { panic!("SALTO Space") };
    change(&mut config, &mut space);
    config.kind = LockSystemKind::SaltoSpace(space);
    adapter(config)
}

fn adapter_for(server: &Server) -> SaltoSpace {
    adapter_with(server, |_, _| {})
}

fn target() -> UserTarget {
    UserTarget {
        user_id: USER.to_owned(),
        full_name: "Ada Mary Lovelace".to_owned(),
        phone_number: "+15550100".to_owned(),
        window: Some(Window { starts_at_ms: NOW_MS, ends_at_ms: Some(NOW_MS + 24 * HOUR_MS) }),
        rights: Vec::new(),
        suspended: false,
        mobile_key: false,
    }
}

/// A list of one user with these fields after the identifier.
fn user_list(fields: &str) -> String {
    format!(
        "<SaltoDBUserList><SaltoDBUser><ExtUserID>{}</ExtUserID>{fields}</SaltoDBUser></SaltoDBUserList><EOF>1</EOF>",
        external_id()
    )
}

const NO_USERS: &str = "<SaltoDBUserList/><EOF>1</EOF>";

/// Waits until `condition` holds, at most ten seconds.
async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap_or_else(|_| panic!("{what} did not happen"));
}
