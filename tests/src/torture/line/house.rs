//! A site and its key service.

use std::time::Duration;

use anyhow::{Context, Result};
use data_encoding::HEXLOWER;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use lockbridge_protocol::salto_pms::message::Message;
use lockbridge_protocol::salto_pms::request::{Received, Request};
use serde_json::{Value, json};

use super::LineKind;
use crate::harness::guest::Directory;
use crate::harness::key_service::KeyService;
use crate::harness::pms_server::{PmsServer, Way};
use crate::harness::{ApiClient, Site, SiteOptions, until};

/// Encoders, each with a clerk.
pub(super) const ENCODERS: usize = 4;
/// Rooms of each clerk.
const ROOMS: usize = 6;
/// Waits are short, so that what is lost is soon known to be lost.
const SALTO_SETTINGS: &str = "answer_timeout_s = 5\nhold_s = 2\nreply_timeout_ms = 500\nenquiries = 10\n\
                              enquiry_pause_ms = 50\nsilence_ms = 100\nbusy_pause_ms = 100\n";
const FIAS_SETTINGS: &str = "acknowledges = true\nchecksum = true\nreply_timeout_s = 5\nhold_s = 2\n\
                             acknowledge_timeout_ms = 300\nsettle_ms = 50\nsilence_ms = 100\n";
/// The key service's patience goes with that.
const FIAS_REPLY: &str = "300";

/// What one card is known by: its main room, its end in the key service's own spelling.
pub(super) type Content = (String, String);

/// A card, or a request for one: its content, and a mark that no two requests share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) content: Content,
    pub(super) mark: String,
}

/// A frame that arrived altered, and its checksum fitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Altered {
    pub(super) to_machine: bool,
    /// `None`: not a request for a card.
    pub(super) meant: Option<Written>,
    pub(super) arrived: Option<Written>,
}

#[derive(Debug)]
enum Service {
    Salto(PmsServer),
    Fias(KeyService),
}

pub(super) struct House {
    pub(super) site: Site,
    pub(super) directory: Directory,
    pub(super) base: Timestamp,
    service: Service,
    zone: TimeZone,
}

impl House {
    pub(super) async fn open(kind: LineKind, way: Way) -> Result<Self> {
        let (service, tables) = match kind {
            LineKind::SaltoPms => {
                let server = PmsServer::start(&["--card-wait", "2000", "--write-time", "5"]).await?;
                server.have_encoders(ENCODERS).await?;
                let tables = server.lock_system_with(way, ENCODERS, SALTO_SETTINGS);
                (Service::Salto(server), tables)
            }
            LineKind::Fias => {
                let more =
                    ["--card-wait", "2000", "--write-time", "5", "--reply-timeout", FIAS_REPLY, "--acknowledged"];
                let service = KeyService::start(way, ENCODERS, &more).await?;
                let tables = service.lock_system(FIAS_SETTINGS);
                (Service::Fias(service), tables)
            }
        };
        let site = Site::running(SiteOptions { tables, log_level: "info", ..SiteOptions::default() }).await?;
        let directory = until("the hotel at the API", Duration::from_secs(60), async || {
            let directory = Directory::read(&site).await.map_err(|error| format!("{error:#}"))?;
            let there = directory.entrance("Hotel 212").and_then(|_| directory.encoder("Encoder 4").map(drop));
            there.map(|()| directory).map_err(|error| format!("{error:#}"))
        })
        .await?;
        let reachable = |status: &Value| {
            let systems = status["lock_systems"].as_array().cloned().unwrap_or_default();
            systems.iter().all(|system| system["reachable"] == true)
        };
        site.wait_for_status("a key service that is reachable", Duration::from_secs(60), reachable).await?;
        let house = Self {
            site,
            directory,
            base: Timestamp::now() + SignedDuration::from_hours(24),
            service,
            zone: TimeZone::get("Europe/Madrid")?,
        };
        for number in 1..=ENCODERS {
            let body = json!({ "encoder": number.to_string(), "auto_feed": true });
            house.control().post("/encoders/set", body).await?;
        }
        Ok(house)
    }

    fn control(&self) -> &ApiClient {
        match &self.service {
            Service::Salto(server) => &server.control,
            Service::Fias(service) => &service.panel.control,
        }
    }

    pub(super) async fn set_noise(&self, noise: f64, seed: u64) -> Result<()> {
        let third = noise / 3.0;
        let rates = json!({ "drop": third, "flip": third, "duplicate": third });
        self.control().post("/noise", json!({ "seed": seed, "to_machine": rates, "to_client": rates })).await?;
        Ok(())
    }

    /// The room of a clerk's party.
    pub(super) fn room(clerk: usize, party: u64) -> Result<String> {
        let index = clerk * ROOMS + usize::try_from(party)? % ROOMS;
        let (floor, number) = (index / 12 + 1, index % 12 + 1);
        Ok(format!("{floor}{number:02}"))
    }

    /// What a card for this room with this end is known by.
    pub(super) fn content(&self, room: &str, end: Timestamp) -> Content {
        let local = end.to_zoned(self.zone.clone()).datetime();
        (room.to_owned(), local.strftime("%y%m%d %H:%M").to_string())
    }

    /// Cards that were written, the newest `limit` of them.
    pub(super) async fn cards(&self, limit: usize) -> Result<Vec<Written>> {
        let answer = self.control().get(&format!("/effects?limit={limit}")).await?;
        let effects = answer["effects"].as_array().with_context(|| format!("no effects in {answer}"))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let cards = effects.iter().filter_map(|effect| match self.service {
            Service::Salto(_) => {
                let key = &effect["key"];
                let end: jiff::civil::DateTime = key["end"].as_str()?.parse().ok()?;
                let content = (text(&key["rooms"][0][0]), end.strftime("%y%m%d %H:%M").to_string());
                (effect["kind"] == "card_written").then(|| Written { content, mark: text(&key["operator"]) })
            }
            Service::Fias(_) => {
                let content = (text(&effect["room"]), text(&effect["departure"]));
                Some(Written { content, mark: text(&effect["reservation"]) })
            }
        });
        Ok(cards.collect())
    }

    /// What the noise altered in a way that the checksum does not show.
    pub(super) async fn altered(&self) -> Result<Vec<Altered>> {
        let path = if matches!(self.service, Service::Salto(_)) { "/lines/altered" } else { "/altered" };
        let answer = self.control().get(path).await?;
        let all = answer["altered"].as_array().with_context(|| format!("no list in {answer}"))?;
        let read = |one: &Value, field: &str| -> Result<Option<Written>> {
            let bytes = HEXLOWER.decode(one[field].as_str().context("a body")?.as_bytes())?;
            Ok(self.request(&bytes))
        };
        all.iter()
            .map(|one| {
                let to_machine = one["way"] == "to_machine";
                Ok(Altered { to_machine, meant: read(one, "meant")?, arrived: read(one, "arrived")? })
            })
            .collect()
    }

    /// What a request for a card asks for.
    fn request(&self, body: &[u8]) -> Option<Written> {
        match self.service {
            Service::Salto(_) => match Received::read(Message::read(body)).ok()?.request {
                Request::Card(key) => {
                    let end = key.stay.end?.strftime("%y%m%d %H:%M").to_string();
                    Some(Written { content: (key.stay.room, end), mark: key.stay.operator })
                }
                _ => None,
            },
            Service::Fias(_) => {
                let text = String::from_utf8_lossy(body);
                let mut fields = text.split('|');
                // As the key system does it: the first of each name counts.
                let fields: Vec<&str> = (fields.next()? == "KR").then(|| fields.collect())?;
                let value = |name: &str| {
                    fields.iter().find_map(|field| field.strip_prefix(name)).unwrap_or_default().to_owned()
                };
                let content = (value("RN"), format!("{} {}", value("GD"), value("DT")));
                Some(Written { content, mark: value("G#") })
            }
        }
    }

    /// Waits until the key service works at nothing any more.
    pub(super) async fn until_idle(&self) -> Result<()> {
        until("a key service with nothing in hand", Duration::from_secs(60), async || {
            let state = self.control().get("/state").await.map_err(|error| error.to_string())?;
            let busy = match self.service {
                Service::Salto(_) => {
                    state["encoders"].as_array().is_some_and(|all| all.iter().any(|one| one["has_job"] == true))
                }
                Service::Fias(_) => {
                    state["encoders"].as_object().is_some_and(|all| all.values().any(|one| one["busy"] == true))
                }
            };
            if busy { Err(state["encoders"].to_string()) } else { Ok(()) }
        })
        .await?;
        Ok(())
    }
}
