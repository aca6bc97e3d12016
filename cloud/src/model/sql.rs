//! Three verbs that keep SQL calls short: change, one row or none, all rows.

use rusqlite::{Connection, OptionalExtension as _, Params, Row};

/// Runs one statement; answers how many rows it touched.
pub(crate) fn change(connection: &Connection, statement: &str, parameters: impl Params) -> rusqlite::Result<usize> {
    connection.prepare(statement)?.execute(parameters)
}

/// The first row, or `None`.
pub(crate) fn one<T>(
    connection: &Connection,
    query: &str,
    parameters: impl Params,
    map: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    connection.prepare(query)?.query_row(parameters, map).optional()
}

/// Every row.
pub(crate) fn all<T>(
    connection: &Connection,
    query: &str,
    parameters: impl Params,
    map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(query)?.query_map(parameters, map)?.collect()
}

/// The first column of every row, as text.
pub(crate) fn texts(connection: &Connection, query: &str, parameters: impl Params) -> rusqlite::Result<Vec<String>> {
    all(connection, query, parameters, |row| row.get(0))
}

/// Whether the query has any row.
pub(crate) fn exists(connection: &Connection, query: &str, parameters: impl Params) -> rusqlite::Result<bool> {
    connection.prepare(query)?.exists(parameters)
}
