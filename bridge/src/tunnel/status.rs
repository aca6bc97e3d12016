//! What people are shown of the link to the cloud.

use serde::Serialize;

/// The link to the cloud, as of now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TunnelStatus {
    /// Whether a session is open.
    pub connected: bool,
    /// Since when that is so, ms since the epoch; 0 before the first try.
    pub since_ms: i64,
    /// Of the open session, or of the last one.
    pub epoch: u64,
    /// Host and port that is dialled.
    pub hub: String,
    /// As the hub named it; empty before the first session.
    pub workspace_name: String,
    /// Why the last try or session ended; kept while the next session is up.
    pub last_error: Option<LastError>,
    /// When the next try begins, ms since the epoch; absent while one is made or a session is up.
    pub next_try_ms: Option<i64>,
}

/// One end of a try or session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastError {
    /// Reason code.
    pub code: &'static str,
    /// This case, for people.
    pub message: String,
    /// When, ms since the epoch.
    pub at_ms: i64,
}
