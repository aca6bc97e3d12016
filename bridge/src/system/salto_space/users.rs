//! Users: writing the whole record, removing it, and making a key worthless.

use std::sync::atomic::Ordering;

use lockbridge_protocol::ship::call::{CancelKey as CancelKeyRequest, DeleteUser, ReadUsers, Upsert, WriteUser};
use lockbridge_protocol::ship::entity::User;
use lockbridge_protocol::ship::enumeration::MobileAppType;
use lockbridge_protocol::ship::error_code::UNKNOWN_REQUEST;
use lockbridge_protocol::ship::paging::PageRequest;
use lockbridge_protocol::ship::value::{Personal, chip_serial};
use tokio::time::Instant;

use super::errors::{Attempt, UNCATEGORIZED, operation_error, refused};
use super::session::SessionError;
use super::{SaltoSpace, mapping};
use crate::config::CancelKey;
use crate::system::{Effect, OperationError, Performed, Retry, UserTarget};

/// In a free field of a user whose key was cancelled by banning: the ban must outlive later changes of rights, else those
/// would make the lost card good again. Whoever lifts the ban by hand need not clear it.
const KEY_CANCELLED: &str = "LOCKBRIDGE KEY CANCELLED";
const USER_NOT_FOUND: i64 = 200;
const USER_HAS_NO_KEY: i64 = 300;

impl SaltoSpace {
    /// Reads one user; `rights` includes doors, zones and access levels.
    pub(super) async fn find_user(
        &self,
        external_id: &str,
        rights: bool,
        until: Instant,
    ) -> Result<Option<User>, OperationError> {
        // The start of a page is inclusive: the first user is the wanted one or comes after it.
        let page = PageRequest { max_count: 1, starting_from: Some(external_id.to_owned()) };
        let call = ReadUsers { page, groups: rights, doors: rights, zones: rights };
        let doing = format!("read user {external_id}");
        match self.session.call(&call, until).await {
            Ok(page) => Ok(page
                .items
                .into_iter()
                .find(|user| user.external_id.as_deref().is_some_and(|found| found.eq_ignore_ascii_case(external_id)))),
            Err(error) if error.code() == Some(USER_NOT_FOUND) => Ok(None),
            Err(error) => Err(operation_error(Attempt::Read, &doing, &error)),
        }
    }

    /// Writes the whole record, then reads what became of the key.
    pub(super) async fn apply_user(&self, target: &UserTarget, until: Instant) -> Result<Performed, OperationError> {
        let external_id = mapping::external_id(&target.user_id);
        self.check_mobile_key(target, &external_id)?;

        let mut user =
            User { external_id: Some(external_id.clone()), title: Some(Personal::default()), ..User::default() };
        mapping::validity(target.window, &self.time, &mut user);
        let whole = mapping::rights(&target.rights, self.clock.wall_ms(), &self.time, &mut user);
        let banned_for_key = self.ban(target, &external_id, &mut user, until).await?;
        if self.config.mobile_keys {
            let phone = if target.mobile_key { target.phone_number.clone() } else { String::new() };
            user.phone_number = Some(Personal(phone));
            user.mobile_app = Some(if target.mobile_key { MobileAppType::JustinMobile } else { MobileAppType::None });
        }
        self.write_named(target, &external_id, user, until).await?;

        let mut performed = self.read_back(&external_id, until).await?;
        if target.mobile_key && !performed.1.exists {
            return Err(OperationError {
                code: UNCATEGORIZED,
                message: format!("wrote user {external_id}, but the server does not show its mobile key yet"),
                vendor_code: String::new(),
                vendor_text: String::new(),
                effect: Effect::Unknown,
                retry: Retry::Later,
            });
        }
        let detail = &mut performed.0.detail;
        if banned_for_key {
            detail.push_str(
                "; the user stays banned, because the lost key was cancelled that way: lift the ban in Space",
            );
        }
        if !whole {
            detail.push_str("; of rights with several periods the next one is written");
        }
        Ok(performed.0)
    }

    fn check_mobile_key(&self, target: &UserTarget, external_id: &str) -> Result<(), OperationError> {
        let problem = match target.mobile_key {
            true if !self.config.mobile_keys => "mobile keys are not switched on for this lock system",
            true if target.phone_number.trim().is_empty() => "a mobile key needs a phone number",
            _ => return Ok(()),
        };
        Err(refused(UNCATEGORIZED, format!("could not write user {external_id}: {problem}"), Retry::Never))
    }

    /// Decides whether the user is blocked. `true`: only because a cancelled key still exists.
    async fn ban(
        &self,
        target: &UserTarget,
        external_id: &str,
        user: &mut User,
        until: Instant,
    ) -> Result<bool, OperationError> {
        user.is_banned = Some(target.suspended);
        if self.config.cancel_key == CancelKey::DeleteUser {
            return Ok(false);
        }
        let Some(before) = self.find_user(external_id, false, until).await? else { return Ok(false) };
        if before.general_purpose_5 != Some(Personal(KEY_CANCELLED.to_owned())) {
            return Ok(false);
        }
        let lifted_by_hand = before.is_banned == Some(false);
        if lifted_by_hand || before.current_key_exists == Some(false) {
            user.general_purpose_5 = Some(Personal::default());
            return Ok(false);
        }
        user.is_banned = Some(true);
        Ok(!target.suspended)
    }

    /// Space wants names to be unique: a clash is answered with a name that is always the same for this user.
    async fn write_named(
        &self,
        target: &UserTarget,
        external_id: &str,
        mut user: User,
        until: Instant,
    ) -> Result<(), OperationError> {
        let named = |user: &mut User, distinct: bool| {
            let (first, last) = mapping::names(&target.full_name, external_id, distinct);
            user.first_name = Some(first);
            user.last_name = Some(last);
        };
        named(&mut user, false);
        let result = match self.upsert(user.clone(), until).await {
            Err(error) if matches!(error.code(), Some(7 | 202)) => {
                named(&mut user, true);
                self.upsert(user, until).await
            }
            result => result,
        };
        result.map_err(|error| operation_error(Attempt::Write, &format!("write user {external_id}"), &error))
    }

    async fn upsert(&self, user: User, until: Instant) -> Result<(), SessionError> {
        if !self.lacks_upsert.load(Ordering::Relaxed) {
            let call = WriteUser { upsert: Upsert::InsertOrUpdate, user: user.clone() };
            match self.session.call(&call, until).await {
                Err(error) if error.code() == Some(UNKNOWN_REQUEST) => self.lacks_upsert.store(true, Ordering::Relaxed),
                result => return result,
            }
        }
        let mut call = WriteUser { upsert: Upsert::Update, user };
        match self.session.call(&call, until).await {
            Err(error) if error.code() == Some(USER_NOT_FOUND) => {
                call.upsert = Upsert::Insert;
                // Sent twice it would meet itself and look like a clash of names.
                self.session.call_once(&call, until).await
            }
            result => result,
        }
    }

    /// What the server now says of the user. Failing here does not undo the write, so it leaves doubt.
    async fn read_back(&self, external_id: &str, until: Instant) -> Result<(Performed, mapping::Key), OperationError> {
        let unread = |error: OperationError| OperationError { effect: Effect::Unknown, ..error };
        let user = self.find_user(external_id, false, until).await.map_err(unread)?;
        let Some(user) = user else {
            let message = format!("wrote user {external_id}, but the server does not list it");
            return Err(unread(refused(UNCATEGORIZED, message, Retry::Later)));
        };
        let key = mapping::key(&user, &self.time);
        let performed = Performed {
            user_external_id: external_id.to_owned(),
            card_number: key.card_number.clone(),
            key_valid_until_ms: (key.period_ms.1 != 0).then_some(key.period_ms.1),
            card_update_needed: key.card_needs_update(),
            card_on_encoder: None,
            key_seen: None,
            detail: "the server holds the user's record".to_owned(),
        };
        Ok((performed, key))
    }

    pub(super) async fn delete_user(&self, user_id: &str, until: Instant) -> Result<Performed, OperationError> {
        let external_id = mapping::external_id(user_id);
        let detail = match self.session.call(&DeleteUser { user_id: external_id.clone() }, until).await {
            Ok(()) => "the server removed the user",
            Err(error) if error.code() == Some(USER_NOT_FOUND) => "the server did not know the user",
            Err(error) => {
                return Err(operation_error(Attempt::Write, &format!("delete user {external_id}"), &error));
            }
        };
        Ok(Performed { user_external_id: external_id, detail: detail.to_owned(), ..Performed::default() })
    }

    pub(super) async fn assign_card(
        &self,
        user_id: &str,
        card_number: &str,
        until: Instant,
    ) -> Result<Performed, OperationError> {
        let external_id = mapping::external_id(user_id);
        let doing = format!("assign a card to user {external_id}");
        let Some(serial) = chip_serial(card_number) else {
            let message = format!("could not {doing}: the card number is not a hexadecimal chip serial");
            return Err(refused(UNCATEGORIZED, message, Retry::Never));
        };
        let user = User {
            external_id: Some(external_id.clone()),
            auto_key_edit_rom_code: Some(serial.clone()),
            ..User::default()
        };
        let call = WriteUser { upsert: Upsert::Update, user };
        let result = self.session.call(&call, until).await;
        result.map_err(|error| operation_error(Attempt::Write, &doing, &error))?;
        Ok(Performed {
            user_external_id: external_id,
            card_number: serial,
            // Nothing is on the card before it was shown at an updating reader.
            card_update_needed: true,
            detail: "the card becomes a key when it is shown at an updating reader".to_owned(),
            ..Performed::default()
        })
    }

    /// Makes the key worthless by the configured means, or by a ban when the server does not know the configured request.
    pub(super) async fn cancel_key(&self, user_id: &str, until: Instant) -> Result<Performed, OperationError> {
        let external_id = mapping::external_id(user_id);
        let done = |detail: &str| Performed {
            user_external_id: external_id.clone(),
            detail: detail.to_owned(),
            ..Performed::default()
        };
        let doing = format!("cancel the key of user {external_id}");
        let Some(user) = self.find_user(&external_id, true, until).await? else {
            return Ok(done("the server does not know the user, so there is no key"));
        };
        if user.current_key_exists == Some(false) {
            return Ok(done("the user has no key"));
        }
        let result = match &self.config.cancel_key {
            CancelKey::BanUser => self.ban_for_key(&external_id, until).await.map(|()| done("the user was banned")),
            CancelKey::DeleteUser => self
                .write_anew(user, until)
                .await
                .map(|()| done("the user was deleted and written anew without the key")),
            CancelKey::Request(request) => {
                let call = CancelKeyRequest { request: request.clone(), user_id: external_id.clone() };
                match self.session.call(&call, until).await {
                    Ok(()) => Ok(done("the server cancelled the key")),
                    Err(error) if matches!(error.code(), Some(USER_NOT_FOUND | USER_HAS_NO_KEY)) => {
                        Ok(done("the user has no key"))
                    }
                    Err(error) if error.code() == Some(UNKNOWN_REQUEST) => {
                        let banned = self.ban_for_key(&external_id, until).await;
                        banned.map(|()| done("the server does not know the configured request; the user was banned"))
                    }
                    Err(error) => Err(error),
                }
            }
        };
        result.map_err(|error| operation_error(Attempt::Write, &doing, &error))
    }

    async fn ban_for_key(&self, external_id: &str, until: Instant) -> Result<(), SessionError> {
        let user = User {
            external_id: Some(external_id.to_owned()),
            is_banned: Some(true),
            general_purpose_5: Some(Personal(KEY_CANCELLED.to_owned())),
            ..User::default()
        };
        self.session.call(&WriteUser { upsert: Upsert::Update, user }, until).await
    }

    /// Deletes the user, which takes the key along, and writes the same record again.
    async fn write_anew(&self, user: User, until: Instant) -> Result<(), SessionError> {
        let external_id = user.external_id.clone().unwrap_or_default();
        match self.session.call(&DeleteUser { user_id: external_id }, until).await {
            Err(error) if error.code() != Some(USER_NOT_FOUND) => return Err(error),
            _ => {}
        }
        let result = self.upsert(user.without_read_only(), until).await;
        // The deletion did happen, whatever became of the rest: no error may claim that nothing changed.
        result.map_err(|error| SessionError::Cut { reason: format!("after the user was deleted: {error}") })
    }
}
