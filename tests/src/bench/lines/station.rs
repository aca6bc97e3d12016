//! A site and its key service.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use lockbridge_protocol::line::Checksum;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::whole;
use crate::harness::guest::{self, Directory, Grant};
use crate::harness::pms_server::Way;
use crate::harness::{Site, SiteOptions, until};
use crate::simulator::fias::framing::{Form, REPLY};
use crate::simulator::fias::key_system::{self, KeySystem};
use crate::simulator::fias::record::CodePage;
use crate::simulator::line::noise::NoiseSettings;
use crate::simulator::line::{Handle, Line, Outside};
use crate::simulator::salto_pms::hotel::{Change, Encoder};
use crate::simulator::salto_pms::log::Log;
use crate::simulator::salto_pms::{Settings, Simulator, serve};

/// Encoders of the key service.
pub(super) const ENCODERS: usize = 4;
const SOON: Duration = Duration::from_secs(60);

/// What is on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Salto,
    /// Without acknowledgements over TCP, with them over a port, as is usual.
    Fias,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Salto => "SALTO PMS",
            Self::Fias => "FIAS",
        }
    }
}

pub(super) fn name_of(way: Way) -> &'static str {
    if way == Way::Tcp { "TCP" } else { "a port" }
}

/// How the key service works.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) kind: Kind,
    pub(super) way: Way,
    /// Of a port that is as slow as a real one.
    pub(super) baud: Option<u32>,
    pub(super) write_time: Duration,
    pub(super) probe_interval_s: u64,
}

pub(super) struct Station {
    pub(super) site: Site,
    pub(super) directory: Directory,
    /// The hand on the line.
    pub(super) line: Handle,
    _work: JoinSet<()>,
    _folder: TempDir,
}

impl Station {
    pub(super) async fn open(shape: Shape) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("lockbridge-lines-").tempdir().context("a temporary folder")?;
        let (outside, wire) = ends(shape, folder.path()).await?;
        let line = Line::open(outside, NoiseSettings::default()).await?;
        let handle = line.handle();
        let wire = match (shape.way, handle.address()) {
            (Way::Tcp, Some(address)) => format!("host = \"{}\"\nport = {}", address.ip(), address.port()),
            _ => wire,
        };
        let mut work = JoinSet::new();
        let rooms: Vec<String> = (1..=ENCODERS).map(|number| format!("10{number}")).collect();
        match shape.kind {
            Kind::Salto => {
                let (log, hotel) = Log::open(&folder.path().join("hotel"))?;
                let settings = Settings {
                    zone: TimeZone::get("Europe/Madrid")?,
                    card_wait: Duration::from_secs(5),
                    write_time: shape.write_time,
                    checksum: Checksum::CheckedUnlessMarked,
                };
                let simulator = Arc::new(Simulator::new(log, hotel, settings));
                let made = simulator.seed_demo().and_then(|()| {
                    simulator.change(|hotel| {
                        for number in 1..=ENCODERS {
                            let name = number.to_string();
                            let encoder = Encoder { name, plugged: true, busy: false, auto_feed: true, card: None };
                            hotel.put(Change::Encoder(encoder));
                        }
                    })
                });
                made.ok().context("the hotel cannot be written")?;
                work.spawn(serve::run(line, simulator));
            }
            Kind::Fias => {
                let acknowledged = shape.way == Way::Pty;
                let profile = key_system::Profile {
                    form: Form { acknowledged, checksum: acknowledged, reply_timeout: REPLY },
                    page: CodePage::Utf8,
                    rooms: rooms.clone(),
                    encoders: (1..=ENCODERS).map(|number| number.to_string()).collect(),
                    card_wait: Duration::from_secs(5),
                    write_time: shape.write_time,
                    is_port: acknowledged,
                    on_line: false,
                    link_key: None,
                };
                let (system, run) = KeySystem::open(profile, line, &folder.path().join("keys"))?;
                for number in 1..=ENCODERS {
                    system.set_encoder(&number.to_string(), false, None, Some(true));
                }
                work.spawn(async move {
                    if let Err(error) = run.await {
                        tracing::error!(%error, "the key service ended");
                    }
                });
            }
        }
        let tables = tables(shape, &wire, &rooms);
        let site = Site::running(SiteOptions { tables, ..whole::options() }).await?;
        let directory = until("the hotel at the API", SOON, async || {
            let directory = Directory::read(&site).await.map_err(|error| format!("{error:#}"))?;
            let there = directory.entrance("Hotel 104").and_then(|_| directory.encoder("Encoder 4").map(drop));
            there.map(|()| directory).map_err(|error| format!("{error:#}"))
        })
        .await?;
        let station = Self { site, directory, line: handle, _work: work, _folder: folder };
        station.reachable(true).await?;
        Ok(station)
    }

    /// Waits until the bridge says that it reaches the key service, or does not.
    pub(super) async fn reachable(&self, wanted: bool) -> Result<()> {
        let holds = |status: &Value| {
            let systems = status["lock_systems"].as_array().cloned().unwrap_or_default();
            systems.iter().find(|system| system["name"] == "hotel").is_some_and(|hotel| hotel["reachable"] == wanted)
        };
        self.site.wait_for_status("the state of the key service", SOON, holds).await?;
        Ok(())
    }

    /// Grants of one stay in the room of an encoder, ready to be encoded.
    pub(super) async fn grants(&self, encoder: usize, count: usize) -> Result<Vec<Grant>> {
        let room = format!("Hotel 10{encoder}");
        let mut grants = Vec::new();
        for number in 0..count {
            let name = format!("Guest {encoder} {number}");
            let person = json!({
                "user_identity": { "full_name": name },
                "reservation_key": format!("stay-{encoder}"),
                "ends_at": (Timestamp::now() + SignedDuration::from_hours(48)).to_string(),
            });
            grants.push(guest::grant_to(&self.site, &self.directory, &name, person, &[&room]).await?);
        }
        for grant in &grants {
            guest::ready_for_encoding(&self.site, grant).await?;
        }
        Ok(grants)
    }

    /// Waits until everything is told and acknowledged.
    pub(super) async fn quiet(&self) -> Result<()> {
        self.site.wait_for_status("an empty outbox", SOON, |status| status["engine"]["outbox"] == 0).await?;
        Ok(())
    }

    /// One key, to its end.
    pub(super) async fn key(&self, grant: &Grant, encoder: usize) -> Result<()> {
        let attempt = guest::encode(&self.site, &self.directory, grant, &format!("Encoder {encoder}")).await?;
        anyhow::ensure!(attempt["status"] == "success", "a key ended as {attempt}");
        Ok(())
    }
}

/// The key service's end, and the lines of the configuration for the bridge's, where they are known already.
async fn ends(shape: Shape, folder: &Path) -> Result<(Outside, String)> {
    let loopback = ("127.0.0.1", 0);
    Ok(match (shape.way, shape.kind) {
        (Way::Pty, _) => {
            let path = folder.join("port");
            let baud = shape.baud.unwrap_or(115_200);
            let wire = format!("transport = \"serial\"\ndevice = \"{}\"\nbaud = {baud}", path.display());
            (Outside::Pty { path, baud: shape.baud }, wire)
        }
        (Way::Tcp, Kind::Salto) => (Outside::Listen(([127, 0, 0, 1], 0).into()), String::new()),
        (Way::Tcp, Kind::Fias) => {
            // Free a moment ago; whoever takes it meanwhile fails the bench loudly.
            let address = TcpListener::bind(loopback).await?.local_addr()?;
            let wire = format!("transport = \"listen\"\nlisten = \"{address}\"\nallow = [\"127.0.0.1\"]");
            (Outside::Dial(address), wire)
        }
    })
}

/// The encoders are fed by themselves, so nobody waits for a card to be taken off.
fn tables(shape: Shape, wire: &str, rooms: &[String]) -> String {
    let rooms: Vec<String> =
        rooms.iter().map(|room| format!("{{ name = \"{room}\", display_name = \"Hotel {room}\" }}")).collect();
    let encoders: Vec<String> = (1..=ENCODERS)
        .map(|number| format!("{{ name = \"{number}\", display_name = \"Encoder {number}\" }}"))
        .collect();
    let kind = if shape.kind == Kind::Salto { "salto_pms" } else { "fias" };
    format!(
        "[lock_system.hotel]\nkind = \"{kind}\"\ndisplay_name = \"Hotel\"\ntime_zone = \"Europe/Madrid\"\n\
         probe_interval_s = {}\ncard_removal_s = 0\n{wire}\nrooms = [{}]\nencoders = [{}]\n",
        shape.probe_interval_s,
        rooms.join(", "),
        encoders.join(", ")
    )
}
