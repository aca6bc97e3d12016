use serde_json::{Value, json};

use super::{Answer, Filter, Input, show};
use crate::api::conventions::ApiError;
use crate::model::identities::{self, COLUMNS, Identity, Person};
use crate::model::{ModelError, Scope, Work, sql, time};

/// Reads what a request says of a person.
pub(crate) fn person(input: &Input) -> Person {
    Person {
        user_identity_key: input.text("user_identity_key"),
        email_address: email(input),
        phone_number: phone(input),
        full_name: input.text("full_name"),
    }
}

/// An email address, as far as its shape tells.
pub(crate) fn email(input: &Input) -> Option<String> {
    let email = input.text("email_address")?;
    let (name, host) = email.split_once('@').unwrap_or_default();
    if name.is_empty() || !host.contains('.') || email.contains(char::is_whitespace) {
        input.refuse("email_address", "is not an email address");
        return None;
    }
    Some(email)
}

/// A phone number in E.164.
pub(crate) fn phone(input: &Input) -> Option<String> {
    let phone = input.text("phone_number")?;
    let digits = phone.strip_prefix('+').unwrap_or_default();
    if !(7..=15).contains(&digits.len()) || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        input.refuse("phone_number", "must be in E.164, e.g. +15555550100");
        return None;
    }
    Some(phone)
}

pub(crate) fn create(work: &Work<'_>, input: &Input) -> Answer {
    let person = person(input);
    input.check()?;
    let identity = identities::create(work, &person)?;
    Ok(json!({"user_identity": document(work, &identity)?}))
}

pub(crate) fn get(scope: &Scope<'_>, input: &Input) -> Answer {
    let (id, key) = (input.text("user_identity_id"), input.text("user_identity_key"));
    if id.is_some() == key.is_some() {
        input.refuse("user_identity_id", "give exactly one of user_identity_id and user_identity_key");
    }
    input.check()?;
    let identity = match (id, key) {
        (None, Some(key)) => {
            let query =
                format!("SELECT {COLUMNS} FROM user_identity WHERE user_identity_key = ?1 AND workspace_id = ?2");
            sql::one(scope.connection, &query, (&key, scope.workspace_id), Identity::read)?
                .ok_or_else(|| ModelError::not_found("user_identity", &key))?
        }
        (id, _) => identities::get(scope, &id.unwrap_or_default())?,
    };
    Ok(json!({"user_identity": document(scope, &identity)?}))
}

pub(crate) fn list(scope: &Scope<'_>, input: &Input) -> Answer {
    let mut filter = Filter::workspace(scope, "");
    filter.within("user_identity_id", input.list("user_identity_ids"));
    filter.search("coalesce(full_name, email_address, user_identity_key, '')", input.text("search"));
    input.check()?;
    let select = format!("SELECT {COLUMNS}, position FROM user_identity");
    let (rows, pagination) = filter.page(scope, input, (&select, "position", 7), 500, Identity::read)?;
    Ok(json!({"user_identities": show(scope, &rows, document)?, "pagination": pagination}))
}

pub(crate) fn update(work: &Work<'_>, input: &Input) -> Answer {
    let id = input.required("user_identity_id");
    let given = person(input);
    input.check()?;
    let old = identities::get(work, &id)?;
    let choose = |field: &str, new: Option<String>, old: Option<String>| if input.has(field) { new } else { old };
    let person = Person {
        user_identity_key: choose("user_identity_key", given.user_identity_key, old.user_identity_key),
        email_address: choose("email_address", given.email_address, old.email_address),
        phone_number: choose("phone_number", given.phone_number, old.phone_number),
        full_name: choose("full_name", given.full_name, old.full_name),
    };
    identities::update(work, &id, &person)?;
    Ok(json!({}))
}

pub(crate) fn delete(work: &Work<'_>, input: &Input) -> Result<Value, ApiError> {
    let id = input.required("user_identity_id");
    input.check()?;
    identities::delete(work, &id)?;
    Ok(json!({}))
}

/// The resource as shown, also inside others.
pub(crate) fn document(scope: &Scope<'_>, identity: &Identity) -> Result<Value, ModelError> {
    let users = sql::texts(
        scope.connection,
        "SELECT acs_user_id FROM acs_user WHERE user_identity_id = ?1 ORDER BY position",
        [&identity.user_identity_id],
    )?;
    let mut errors = Vec::new();
    for id in &users {
        if crate::model::issues::has_error(scope, id)? {
            errors.push(json!({
                "error_code": "issue_with_acs_user",
                "acs_user_id": id,
                "message": "One of this person's acs_users has an error; see its errors.",
            }));
        }
    }
    Ok(json!({
        "user_identity_id": identity.user_identity_id,
        "workspace_id": identity.workspace_id,
        "user_identity_key": identity.user_identity_key,
        "email_address": identity.email_address,
        "phone_number": identity.phone_number,
        "full_name": identity.full_name,
        "display_name": identity.display_name(),
        "acs_user_ids": users,
        "errors": errors,
        "warnings": [],
        "created_at": time::text(identity.created_at),
    }))
}
