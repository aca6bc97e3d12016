//! What a scan of the lock system found: entrances, groups, users, encoders; and what is no longer there.

use lockbridge_protocol::proto::tunnel::inventory_item::Kind;
use lockbridge_protocol::proto::tunnel::{
    InventoryDelta, InventoryItem, ObservedEntrance, ObservedGroup, ObservedUser,
};
use serde_json::json;

use super::system_id;
use crate::model::issues::{self, Severity};
use crate::model::users;
use crate::model::{ModelError, Work, credentials, events, grants, scope, sql};

/// One delta: items added, changed or gone.
pub(super) fn delta(
    work: &Work<'_>,
    bridge_id: &str,
    delta: &InventoryDelta,
    occurred_at: i64,
) -> Result<(), ModelError> {
    let Some(system) = system_id(work, bridge_id, &delta.lock_system)? else { return Ok(()) };
    let site = Site { work, acs_system_id: &system, occurred_at };
    for item in &delta.items {
        match &item.kind {
            Some(Kind::Entrance(observed)) => site.entrance(item, *observed)?,
            Some(Kind::Group(observed)) => site.group(item, observed)?,
            Some(Kind::User(observed)) => site.user(item, observed)?,
            Some(Kind::Encoder(_)) => site.encoder(item)?,
            None => {}
        }
    }
    if delta.scan_complete {
        sql::change(
            work.connection,
            "UPDATE acs_system SET inventory_at = max(coalesce(inventory_at, 0), ?2) WHERE acs_system_id = ?1",
            (&system, occurred_at),
        )?;
    }
    Ok(())
}

struct Site<'a, 'w> {
    work: &'a Work<'w>,
    acs_system_id: &'a str,
    occurred_at: i64,
}

impl Site<'_, '_> {
    /// The row of an item by the lock system's id: its id here, and whether it counts as removed.
    fn known(&self, table: &str, item: &InventoryItem) -> Result<Option<(String, bool)>, ModelError> {
        let query = format!(
            "SELECT {table}_id, removed_at IS NOT NULL FROM {table} WHERE acs_system_id = ?1 AND external_id = ?2"
        );
        let parameters = (self.acs_system_id, &item.external_id);
        Ok(sql::one(self.work.connection, &query, parameters, |row| Ok((row.get(0)?, row.get(1)?)))?)
    }

    /// Marks a row as gone; answers its id if it was there until now.
    fn remove(&self, table: &str, item: &InventoryItem) -> Result<Option<String>, ModelError> {
        let statement = format!(
            "UPDATE {table} SET removed_at = ?3 WHERE acs_system_id = ?1 AND external_id = ?2 AND removed_at IS NULL
             RETURNING {table}_id"
        );
        let parameters = (self.acs_system_id, &item.external_id, self.occurred_at);
        Ok(sql::one(self.work.connection, &statement, parameters, |row| row.get(0))?)
    }

    fn tell(&self, resource: &str, id: &str, what: &str) -> Result<(), ModelError> {
        let id_field = format!("{resource}_id");
        let payload = json!({id_field: id, "acs_system_id": self.acs_system_id});
        events::emit(self.work, &format!("{resource}.{what}"), self.occurred_at, &payload)
    }

    fn entrance(&self, item: &InventoryItem, observed: ObservedEntrance) -> Result<(), ModelError> {
        if item.removed {
            let Some(id) = self.remove("acs_entrance", item)? else { return Ok(()) };
            self.tell("acs_entrance", &id, "removed")?;
            return grants::reconcile_entrance(self.work, &id);
        }
        let known = self.known("acs_entrance", item)?;
        let id = known.as_ref().map_or_else(scope::new_id, |(id, _)| id.clone());
        sql::change(
            self.work.connection,
            "INSERT INTO acs_entrance (acs_entrance_id, workspace_id, acs_system_id, external_id, display_name, description,
                 online, with_card, with_mobile_key, remotely, for_reservations, audit_on_keys, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
             ON CONFLICT (acs_system_id, external_id) DO UPDATE SET display_name = excluded.display_name,
                 description = excluded.description, online = excluded.online, with_card = excluded.with_card,
                 with_mobile_key = excluded.with_mobile_key, remotely = excluded.remotely,
                 for_reservations = excluded.for_reservations, audit_on_keys = excluded.audit_on_keys, removed_at = NULL",
            (
                &id,
                self.work.workspace_id,
                self.acs_system_id,
                &item.external_id,
                name(item),
                &item.description,
                observed.online,
                observed.can_unlock_with_card,
                observed.can_unlock_with_mobile_key,
                observed.can_unlock_remotely,
                observed.can_belong_to_reservation,
                observed.audit_on_keys,
                self.work.now_ms,
            ),
        )?;
        if known.as_ref().is_none_or(|(_, removed)| *removed) {
            self.tell("acs_entrance", &id, "added")?;
        }
        // Grants over a door that came back or changed its abilities follow it; those it changes nothing for stay.
        if known.is_some() { grants::reconcile_entrance(self.work, &id) } else { Ok(()) }
    }

    fn encoder(&self, item: &InventoryItem) -> Result<(), ModelError> {
        if item.removed {
            let Some(id) = self.remove("acs_encoder", item)? else { return Ok(()) };
            return self.tell("acs_encoder", &id, "removed");
        }
        let known = self.known("acs_encoder", item)?;
        let id = known.as_ref().map_or_else(scope::new_id, |(id, _)| id.clone());
        self.put_named("acs_encoder", &id, item)?;
        if known.is_none_or(|(_, removed)| removed) { self.tell("acs_encoder", &id, "added") } else { Ok(()) }
    }

    fn group(&self, item: &InventoryItem, observed: &ObservedGroup) -> Result<(), ModelError> {
        if item.removed {
            let Some(id) = self.remove("acs_access_group", item)? else { return Ok(()) };
            return self.tell("acs_access_group", &id, "deleted");
        }
        let id = self.known("acs_access_group", item)?.map_or_else(scope::new_id, |(id, _)| id);
        self.put_named("acs_access_group", &id, item)?;
        let connection = self.work.connection;
        sql::change(connection, "DELETE FROM acs_access_group_entrance WHERE acs_access_group_id = ?1", [&id])?;
        for entrance in &observed.entrance_external_ids {
            sql::change(
                connection,
                "INSERT OR IGNORE INTO acs_access_group_entrance (acs_access_group_id, entrance_external_id) VALUES (?1, ?2)",
                (&id, entrance),
            )?;
        }
        Ok(())
    }

    fn put_named(&self, table: &str, id: &str, item: &InventoryItem) -> Result<(), ModelError> {
        let statement = format!(
            "INSERT INTO {table} ({table}_id, workspace_id, acs_system_id, external_id, display_name, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (acs_system_id, external_id)
             DO UPDATE SET display_name = excluded.display_name, removed_at = NULL"
        );
        let parameters =
            (id, self.work.workspace_id, self.acs_system_id, &item.external_id, name(item), self.work.now_ms);
        sql::change(self.work.connection, &statement, parameters)?;
        Ok(())
    }

    fn user(&self, item: &InventoryItem, observed: &ObservedUser) -> Result<(), ModelError> {
        let query = "SELECT acs_user_id, is_managed FROM acs_user WHERE acs_system_id = ?1 AND (external_id = ?2 OR
                     (?3 <> '' AND acs_user_id = ?3)) ORDER BY is_managed DESC LIMIT 1";
        let parameters = (self.acs_system_id, &item.external_id, &observed.user_id);
        let known: Option<(String, bool)> =
            sql::one(self.work.connection, query, parameters, |row| Ok((row.get(0)?, row.get(1)?)))?;
        match known {
            Some((id, true)) => self.managed_user(&id, item, observed),
            Some((id, false)) if item.removed => {
                sql::change(self.work.connection, "DELETE FROM acs_user WHERE acs_user_id = ?1", [&id])?;
                self.tell("acs_user", &id, "deleted")
            }
            None if item.removed => Ok(()),
            known => {
                let id = known.map_or_else(scope::new_id, |(id, _)| id);
                sql::change(
                    self.work.connection,
                    "INSERT INTO acs_user (acs_user_id, workspace_id, acs_system_id, external_id, is_managed, full_name,
                         is_suspended, card_at_server, created_at) VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6, ?7, ?8)
                     ON CONFLICT (acs_user_id) DO UPDATE SET full_name = excluded.full_name,
                         is_suspended = excluded.is_suspended, card_at_server = excluded.card_at_server",
                    (
                        &id,
                        self.work.workspace_id,
                        self.acs_system_id,
                        &item.external_id,
                        name(item),
                        observed.suspended,
                        observed.has_card,
                        self.work.now_ms,
                    ),
                )?;
                Ok(())
            }
        }
    }

    fn managed_user(&self, id: &str, item: &InventoryItem, observed: &ObservedUser) -> Result<(), ModelError> {
        let work = self.work;
        let user = users::get(work, id)?;
        if item.removed {
            if !user.deleting {
                let message = "Somebody deleted this user at the lock system.";
                issues::raise(work, id, Severity::Error, "deleted_externally", message, &json!({}))?;
            }
            return Ok(());
        }
        issues::clear(work, id, Severity::Error, "deleted_externally")?;
        let update_wanted = sql::exists(
            work.connection,
            "SELECT 1 FROM acs_user WHERE acs_user_id = ?1 AND update_needed_at_server",
            [id],
        )?;
        sql::change(
            work.connection,
            "UPDATE acs_user SET external_id = ?2, card_at_server = ?3, update_needed_at_server = ?4 WHERE acs_user_id = ?1",
            (id, &item.external_id, observed.has_card, observed.card_update_needed),
        )?;
        // The server had something newer for the card and no longer has: an updating reader brought it there.
        if update_wanted && observed.has_card && !observed.card_update_needed {
            super::access::card_updated(work, id, self.occurred_at)?;
        }
        credentials::refresh(work, id)
    }
}

/// What people call it; the external id when the site has no name.
fn name(item: &InventoryItem) -> &str {
    if item.display_name.is_empty() { &item.external_id } else { &item.display_name }
}
