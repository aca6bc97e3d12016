//! People: one user identity stands for one person across lock systems.

use rusqlite::Row;

use super::{ModelError, Scope, Work, scope, sql};

/// One person.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) user_identity_id: String,
    pub(crate) workspace_id: String,
    pub(crate) user_identity_key: Option<String>,
    pub(crate) email_address: Option<String>,
    pub(crate) phone_number: Option<String>,
    pub(crate) full_name: Option<String>,
    pub(crate) created_at: i64,
}

/// What a caller may say of a person.
#[derive(Debug, Clone, Default)]
pub(crate) struct Person {
    pub(crate) user_identity_key: Option<String>,
    pub(crate) email_address: Option<String>,
    pub(crate) phone_number: Option<String>,
    pub(crate) full_name: Option<String>,
}

/// Columns in the order [`Identity::read`] expects.
pub(crate) const COLUMNS: &str =
    "user_identity_id, workspace_id, user_identity_key, email_address, phone_number, full_name, created_at";

impl Identity {
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            user_identity_id: row.get(0)?,
            workspace_id: row.get(1)?,
            user_identity_key: row.get(2)?,
            email_address: row.get(3)?,
            phone_number: row.get(4)?,
            full_name: row.get(5)?,
            created_at: row.get(6)?,
        })
    }

    /// What people call it.
    pub(crate) fn display_name(&self) -> String {
        [&self.full_name, &self.email_address, &self.phone_number, &self.user_identity_key]
            .into_iter()
            .flatten()
            .next()
            .cloned()
            .unwrap_or_else(|| "Unnamed person".to_owned())
    }
}

/// The person with that id.
pub(crate) fn get(scope: &Scope<'_>, id: &str) -> Result<Identity, ModelError> {
    let query = format!("SELECT {COLUMNS} FROM user_identity WHERE user_identity_id = ?1 AND workspace_id = ?2");
    sql::one(scope.connection, &query, (id, scope.workspace_id), Identity::read)?
        .ok_or_else(|| ModelError::not_found("user_identity", id))
}

/// Records a person.
pub(crate) fn create(work: &Work<'_>, person: &Person) -> Result<Identity, ModelError> {
    refuse_duplicates(work, person, "")?;
    let id = scope::new_id();
    sql::change(
        work.connection,
        "INSERT INTO user_identity (user_identity_id, workspace_id, user_identity_key, email_address, phone_number,
                                    full_name, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (
            &id,
            work.workspace_id,
            &person.user_identity_key,
            &person.email_address,
            &person.phone_number,
            &person.full_name,
            work.now_ms,
        ),
    )?;
    get(work, &id)
}

/// Replaces what is said of a person.
pub(crate) fn update(work: &Work<'_>, id: &str, person: &Person) -> Result<(), ModelError> {
    get(work, id)?;
    refuse_duplicates(work, person, id)?;
    sql::change(
        work.connection,
        "UPDATE user_identity SET user_identity_key = ?2, email_address = ?3, phone_number = ?4, full_name = ?5
         WHERE user_identity_id = ?1",
        (id, &person.user_identity_key, &person.email_address, &person.phone_number, &person.full_name),
    )?;
    Ok(())
}

/// Forgets a person who has no users and no grants left.
pub(crate) fn delete(work: &Work<'_>, id: &str) -> Result<(), ModelError> {
    get(work, id)?;
    let used = sql::exists(
        work.connection,
        "SELECT 1 FROM access_grant WHERE user_identity_id = ?1 UNION ALL SELECT 1 FROM acs_user WHERE user_identity_id = ?1",
        [id],
    )?;
    if used {
        let message = format!("user_identity {id} still has access grants or acs_users; delete those first");
        return Err(ModelError::refused("user_identity_in_use", message));
    }
    sql::change(work.connection, "DELETE FROM user_identity WHERE user_identity_id = ?1", [id])?;
    Ok(())
}

fn refuse_duplicates(work: &Work<'_>, person: &Person, except: &str) -> Result<(), ModelError> {
    let unique = [
        ("user_identity_key", &person.user_identity_key),
        ("email_address", &person.email_address),
        ("phone_number", &person.phone_number),
    ];
    for (field, value) in unique {
        let Some(value) = value else { continue };
        let query = format!(
            "SELECT user_identity_id FROM user_identity
             WHERE workspace_id = ?1 AND {field} = ?2 AND user_identity_id <> ?3"
        );
        let other =
            sql::one(work.connection, &query, (work.workspace_id, value, except), |row| row.get::<_, String>(0))?;
        if let Some(other) = other {
            let message = format!("user_identity {other} has this {field} already; pass its user_identity_id");
            return Err(ModelError::refused("user_identity_already_exists", message));
        }
    }
    Ok(())
}
