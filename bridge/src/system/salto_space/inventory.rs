//! Inventory: everything the server lists, once, in pieces of a page. A list that cannot be read to its end is an error, so
//! that nothing is taken for gone because a page was missing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lockbridge_protocol::proto::tunnel::inventory_item::Kind;
use lockbridge_protocol::proto::tunnel::{InventoryItem, ObservedEntrance, ObservedGroup, ObservedUser};
use lockbridge_protocol::ship::call::{ReadDoors, ReadGroups, ReadOnlineStatus, ReadUsers};
use lockbridge_protocol::ship::entity::{Door, Group, User};
use lockbridge_protocol::ship::enumeration::CommunicationStatus;
use lockbridge_protocol::ship::error_code::UNKNOWN_REQUEST;
use lockbridge_protocol::ship::paging::{Page, Pager};
use tokio::sync::mpsc;

use super::errors::{Attempt, UNCATEGORIZED, operation_error, refused};
use super::session::SessionError;
use super::{SaltoSpace, mapping};
use crate::config::AccessLevelConfig;
use crate::system::{Intake, OperationError, Retry, key_service};

const UNEXPECTED_ELEMENTS: i64 = 501;

/// Doors of each zone.
type Zones = HashMap<String, BTreeSet<String>>;

/// The scan ends: the receiver is gone, or the server failed.
enum Stop {
    Closed,
    Failed(OperationError),
}

impl From<OperationError> for Stop {
    fn from(error: OperationError) -> Self {
        Self::Failed(error)
    }
}

impl SaltoSpace {
    pub(super) async fn scan_inventory(&self, intake: mpsc::Sender<Intake>) -> Result<(), OperationError> {
        let result = async {
            let (zones, listed) = self.scan_doors(&intake).await?;
            hand_on(&intake, self.rooms_beside(&listed)).await?;
            self.scan_groups(&zones, &intake).await?;
            self.scan_users(&intake).await?;
            hand_on(&intake, self.config.encoders.iter().map(key_service::encoder)).await?;
            intake.send(Intake::ScanComplete).await.map_err(|_| Stop::Closed)
        }
        .await;
        match result {
            Ok(()) | Err(Stop::Closed) => Ok(()),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    async fn scan_doors(&self, intake: &mpsc::Sender<Intake>) -> Result<(Zones, BTreeSet<String>), Stop> {
        let online = self.online_doors().await?;
        let mut zones = Zones::new();
        let mut listed = BTreeSet::new();
        let mut pager = Pager::new(self.config.page_size);
        while let Some(page) = pager.next_request() {
            let page = self.read(&ReadDoors { page, zones: true }, "list doors").await?;
            let doors = accept(&mut pager, page, |door: &Door| door.external_id.as_deref(), "doors")?;
            for door in &doors {
                listed.extend(door.external_id.clone());
                for membership in door.zones.iter().flatten() {
                    if let (Some(zone), Some(id)) = (&membership.zone_id, &door.external_id) {
                        zones.entry(zone.clone()).or_default().insert(id.clone());
                    }
                }
            }
            hand_on(intake, doors.into_iter().filter_map(|door| self.entrance(door, &online))).await?;
        }
        Ok((zones, listed))
    }

    /// Rooms of the line for hotel keys that the server lists as no door: their rights live on keys alone, so they can be
    /// granted all the same. A common door is granted to people, too, for which the server has to know it.
    fn rooms_beside(&self, listed: &BTreeSet<String>) -> impl Iterator<Item = InventoryItem> {
        let pms = self.config.pms.as_deref();
        for area in pms.into_iter().flat_map(|pms| &pms.areas).filter(|area| !listed.contains(&area.entrance)) {
            tracing::warn!(
                lock_system = self.description.lock_system,
                authorisation = area.number,
                entrance = area.entrance,
                "The server lists no such door, so this authorisation can be granted to nobody: `entrance` is its ExtDoorID."
            );
        }
        let mobile = pms.is_some_and(|pms| pms.mobile_keys);
        let rooms = pms.into_iter().flat_map(|pms| &pms.rooms).filter(|room| !listed.contains(&room.entrance));
        rooms.map(move |room| key_service::entrance(&room.entrance, &room.display_name, true, mobile))
    }

    /// Communication state of online doors, by *name*, for that is how the server lists them. Servers without online doors
    /// may not know the request.
    async fn online_doors(&self) -> Result<HashMap<String, CommunicationStatus>, OperationError> {
        let doing = "ask for the state of online doors";
        let doors = match self.session.call(&ReadOnlineStatus::default(), self.call_limit()).await {
            Ok(doors) => doors,
            Err(SessionError::Exception(exception)) => {
                tracing::debug!(code = exception.code, "the server does not tell the state of online doors");
                Vec::new()
            }
            Err(error) => return Err(operation_error(Attempt::Read, doing, &error)),
        };
        Ok(doors.into_iter().filter_map(|door| Some((door.door?, door.communication?))).collect())
    }

    fn entrance(&self, door: Door, online: &HashMap<String, CommunicationStatus>) -> Option<InventoryItem> {
        let external_id = door.external_id.filter(|id| !id.is_empty())?;
        let name = door.name.unwrap_or_default();
        let communication = online.get(&name).or_else(|| online.get(&external_id)).copied();
        let communication = communication.unwrap_or(CommunicationStatus::Unknown);
        let is_room = self.description.keys.as_ref().is_some_and(|keys| keys.rooms.contains(&external_id));
        Some(InventoryItem {
            external_id,
            removed: false,
            display_name: name,
            description: door.description.unwrap_or_default(),
            kind: Some(Kind::Entrance(ObservedEntrance {
                online: communication == CommunicationStatus::Communicating,
                can_unlock_with_card: true,
                // Rights at a room live on keys, which come over the line, for phones too.
                can_unlock_with_mobile_key: match &self.config.pms {
                    Some(pms) if is_room => pms.mobile_keys,
                    _ => self.config.mobile_keys,
                },
                // An offline door has "unknown" in all fields; an online one that is out of reach now is still online.
                can_unlock_remotely: communication != CommunicationStatus::Unknown,
                can_belong_to_reservation: is_room,
                audit_on_keys: door.audit_on_keys.unwrap_or_default(),
            })),
        })
    }

    async fn scan_groups(&self, zones: &Zones, intake: &mpsc::Sender<Intake>) -> Result<(), Stop> {
        let mut by_hand: BTreeMap<&str, &AccessLevelConfig> =
            self.config.access_levels.iter().map(|level| (level.external_id.as_str(), level)).collect();
        let mut pager = Pager::new(self.config.page_size);
        let mut with_rights = true;
        while let Some(page) = pager.next_request() {
            let call = ReadGroups { page: page.clone(), doors: with_rights, zones: with_rights };
            let answer = match self.session.call(&call, self.call_limit()).await {
                // Asking for the doors as well is our guess at the pattern; without it the levels are still listed.
                Err(error) if error.code() == Some(UNEXPECTED_ELEMENTS) && with_rights => {
                    with_rights = false;
                    continue;
                }
                Err(error) if error.code() == Some(UNKNOWN_REQUEST) => break,
                answer => answer.map_err(|error| operation_error(Attempt::Read, "list access levels", &error))?,
            };
            let groups = accept(&mut pager, answer, |group: &Group| group.external_id.as_deref(), "access levels")?;
            let items: Vec<InventoryItem> = groups
                .into_iter()
                .filter_map(|group| {
                    let level = group.external_id.as_deref().and_then(|id| by_hand.remove(id));
                    observed_group(group, level, zones, with_rights)
                })
                .collect();
            hand_on(intake, items.into_iter()).await?;
        }
        // What the server does not list, but the configuration names.
        let rest = by_hand.into_values().map(|level| InventoryItem {
            external_id: level.external_id.clone(),
            display_name: level.name.clone(),
            kind: Some(Kind::Group(ObservedGroup { entrance_external_ids: level.entrances.clone() })),
            ..InventoryItem::default()
        });
        hand_on(intake, rest).await
    }

    async fn scan_users(&self, intake: &mpsc::Sender<Intake>) -> Result<(), Stop> {
        let mut pager = Pager::new(self.config.page_size);
        while let Some(page) = pager.next_request() {
            let call = ReadUsers { page, groups: false, doors: false, zones: false };
            let page = self.read(&call, "list users").await?;
            let users = accept(&mut pager, page, |user: &User| user.external_id.as_deref(), "users")?;
            hand_on(intake, users.into_iter().filter_map(|user| self.observed_user(&user))).await?;
        }
        Ok(())
    }

    fn observed_user(&self, user: &User) -> Option<InventoryItem> {
        let external_id = user.external_id.clone().filter(|id| !id.is_empty())?;
        let key = mapping::key(user, &self.time);
        let names = [&user.title, &user.first_name, &user.last_name];
        let names: Vec<&str> =
            names.into_iter().flatten().map(|name| name.0.as_str()).filter(|name| !name.is_empty()).collect();
        Some(InventoryItem {
            removed: false,
            display_name: names.join(" "),
            description: String::new(),
            kind: Some(Kind::User(ObservedUser {
                user_id: mapping::user_id(&external_id).unwrap_or_default(),
                suspended: user.is_banned.unwrap_or_default(),
                has_card: key.is_card,
                card_update_needed: key.card_needs_update(),
                card_number: key.card_number,
            })),
            external_id,
        })
    }
}

/// An access level. Its doors are what the configuration says, else doors and zones as the server told them; a level whose
/// zones are not known is shown without doors, so that nobody takes it for smaller than it is.
fn observed_group(
    group: Group,
    level: Option<&AccessLevelConfig>,
    zones: &Zones,
    asked_for_zones: bool,
) -> Option<InventoryItem> {
    let external_id = group.external_id.filter(|id| !id.is_empty())?;
    let entrances = match (level, group.doors) {
        (Some(level), _) => level.entrances.clone(),
        (None, Some(doors)) if asked_for_zones || group.zones.is_some() => {
            let mut entrances: BTreeSet<String> = doors.into_iter().filter_map(|door| door.door_id).collect();
            for zone in group.zones.into_iter().flatten().filter_map(|zone| zone.zone_id) {
                entrances.extend(zones.get(&zone).into_iter().flatten().cloned());
            }
            entrances.into_iter().collect()
        }
        _ => Vec::new(),
    };
    Some(InventoryItem {
        external_id,
        removed: false,
        display_name: group.name.unwrap_or_default(),
        description: group.description.unwrap_or_default(),
        kind: Some(Kind::Group(ObservedGroup { entrance_external_ids: entrances })),
    })
}

fn accept<T>(
    pager: &mut Pager,
    page: Page<T>,
    identifier: impl Fn(&T) -> Option<&str>,
    what: &str,
) -> Result<Vec<T>, OperationError> {
    pager
        .accept(page, identifier)
        .map_err(|error| refused(UNCATEGORIZED, format!("could not list all {what}: {error}"), Retry::Later))
}

async fn hand_on(intake: &mpsc::Sender<Intake>, items: impl Iterator<Item = InventoryItem>) -> Result<(), Stop> {
    let items: Vec<InventoryItem> = items.collect();
    if items.is_empty() {
        return Ok(());
    }
    intake.send(Intake::Observed(items)).await.map_err(|_| Stop::Closed)
}
