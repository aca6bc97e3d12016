//! The HTTP API: Seam-shaped routes over the resource model.
//!
//! Owns the wire conventions and how each resource is shown. Promises: every route is declared once in `routes`; a write
//! answers after its transaction is durable, with the state it left; an error leaves nothing behind. Never decides what a
//! change means (that is the [`model`](crate::model)), and never touches a bridge: it only wakes the hub after a commit.

pub(crate) mod conventions;
mod resources;
mod routes;
mod serve;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use axum::Router;

use crate::authority::Authority;
use crate::store::Store;

/// How the API tells the hub that a bridge has new commands.
pub trait BridgeLink: Send + Sync + 'static {
    /// Looks at the bridge's outbox soon. Called after the commit; must not block.
    fn wake(&self, bridge_id: &str);
}

impl BridgeLink for crate::hub::Hub {
    fn wake(&self, bridge_id: &str) {
        Self::wake(self, bridge_id);
    }
}

/// What the routes need.
#[derive(Clone)]
pub struct ApiState {
    /// Where everything is.
    pub store: Store,
    /// Signs the commands that follow from changes.
    pub authority: Authority,
    /// Moves them.
    pub link: Arc<dyn BridgeLink>,
    /// `https://host:port` under which callers reach this API, for links to further pages.
    pub origin: String,
    /// Now, in milliseconds since the epoch; see [`crate::clock::now_ms`].
    pub clock: Arc<dyn Fn() -> i64 + Send + Sync>,
}

impl fmt::Debug for ApiState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ApiState").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// The whole API, ready to be served.
pub fn router(state: ApiState) -> Router {
    Router::new().fallback(serve::serve).with_state(state)
}
