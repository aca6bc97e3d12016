//! Lists in pages. A cursor points behind a position and is bound to the filters it was made under.

use data_encoding::BASE64URL_NOPAD;
use rusqlite::Row;
use rusqlite::types::Value as Sql;
use serde_json::{Value, json};

use super::{ApiError, Input};
use crate::model::{Scope, sql};

/// Most entries of one page.
const LIMIT_MAXIMUM: i64 = 1000;
/// Entries of one page when the caller names no limit.
pub(crate) const LIMIT_DEFAULT: i64 = 500;

/// The conditions of a list, with their values.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    conditions: Vec<String>,
    values: Vec<Sql>,
}

impl Filter {
    /// Everything in the caller's workspace; `prefix` is the table's alias with a dot, or empty.
    pub(crate) fn workspace(scope: &Scope<'_>, prefix: &str) -> Self {
        let mut filter = Self::default();
        filter.and(&format!("{prefix}workspace_id = ?"), [scope.workspace_id.to_owned()]);
        filter
    }

    /// Adds a condition with as many `?` as values.
    pub(crate) fn and<V: Into<Sql>>(&mut self, condition: &str, values: impl IntoIterator<Item = V>) {
        self.conditions.push(condition.to_owned());
        self.values.extend(values.into_iter().map(Into::into));
    }

    /// Adds a condition with one `?`, if there is a value.
    pub(crate) fn and_maybe(&mut self, condition: &str, value: Option<String>) {
        if let Some(value) = value {
            self.and(condition, [value]);
        }
    }

    /// Adds `column IN (...)`, if there is a list.
    pub(crate) fn within(&mut self, column: &str, values: Option<Vec<String>>) {
        if let Some(values) = values {
            let marks = vec!["?"; values.len()].join(", ");
            self.and(&format!("{column} IN ({marks})"), values);
        }
    }

    /// Adds a search for a part of a text column, without regard to case.
    pub(crate) fn search(&mut self, column: &str, text: Option<String>) {
        if let Some(text) = text {
            self.and(&format!("instr(lower({column}), lower(?)) > 0"), [text]);
        }
    }

    fn digest(&self) -> String {
        let told = format!("{:?}", (&self.conditions, &self.values));
        let hash = ring::digest::digest(&ring::digest::SHA256, told.as_bytes());
        BASE64URL_NOPAD.encode(&hash.as_ref()[..12])
    }

    /// All rows of `SELECT ...` under the conditions, in order of `position`.
    pub(crate) fn all<T>(
        &self,
        scope: &Scope<'_>,
        select: &str,
        position: &str,
        read: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, ApiError> {
        let query = format!("{select} WHERE {} ORDER BY {position}", self.conditions.join(" AND "));
        Ok(sql::all(scope.connection, &query, rusqlite::params_from_iter(&self.values), read)?)
    }

    /// One page of `SELECT ... , position FROM ...`; the position must be the last column, `width` its index.
    pub(crate) fn page<T>(
        mut self,
        scope: &Scope<'_>,
        input: &Input,
        (select, position, width): (&str, &str, usize),
        default_limit: i64,
        read: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<(Vec<T>, Value), ApiError> {
        let limit = input.number("limit", 1..=LIMIT_MAXIMUM).unwrap_or(default_limit);
        let digest = self.digest();
        let after = match input.text("page_cursor") {
            Some(cursor) => parse(&cursor, &digest)?,
            None => 0,
        };
        input.check()?;
        self.and(&format!("{position} > ?"), [after]);
        let conditions = self.conditions.join(" AND ");
        let query = format!("{select} WHERE {conditions} ORDER BY {position} LIMIT {}", limit + 1);
        let mut rows = sql::all(scope.connection, &query, rusqlite::params_from_iter(&self.values), |row| {
            Ok((read(row)?, row.get::<_, i64>(width)?))
        })?;
        let has_next_page = rows.len() > usize::try_from(limit).unwrap_or(usize::MAX);
        if has_next_page {
            rows.pop();
        }
        let next = rows.last().filter(|_| has_next_page).map(|(_, position)| cursor(*position, &digest));
        let next_page_url = next.as_ref().map(|cursor| {
            let query = input.query_without("page_cursor").append_pair("page_cursor", cursor).finish();
            format!("{}?{query}", input.address)
        });
        let pagination = json!({
            "next_page_cursor": next,
            "has_next_page": has_next_page,
            "next_page_url": next_page_url,
        });
        Ok((rows.into_iter().map(|(row, _)| row).collect(), pagination))
    }
}

fn cursor(position: i64, digest: &str) -> String {
    BASE64URL_NOPAD.encode(format!("1:{position}:{digest}").as_bytes())
}

fn parse(cursor: &str, digest: &str) -> Result<i64, ApiError> {
    let refuse = |message: &str| ApiError::field("page_cursor", message);
    let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let mut parts = text.as_deref().unwrap_or_default().splitn(3, ':');
    let (Some("1"), Some(position), Some(bound)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(refuse("is not a cursor of this server; begin again without one"));
    };
    if bound != digest {
        return Err(refuse("belongs to other filters; repeat the filters of the first page, or begin again"));
    }
    position.parse().map_err(|_| refuse("is not a cursor of this server; begin again without one"))
}
