//! The two local addresses: bound once, served first by a daemon that waits for its identity, then by one that works.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use tokio::net::UnixListener;

use super::AppError;
use crate::config::Config;
use crate::{control, health};

/// The bound addresses. Whoever connects while nobody serves waits in the kernel's queue.
#[derive(Debug)]
pub(super) struct Doors {
    health: TcpListener,
    /// Of the command line.
    pub(super) control: Arc<UnixListener>,
    /// Where health was bound: the configuration may leave the port to the system.
    pub(super) health_address: SocketAddr,
}

impl Doors {
    /// Binds both. The state lock must be held: a socket file left behind is replaced.
    pub(super) fn open(config: &Config) -> Result<Self, AppError> {
        let unusable = |source| AppError::Address { address: config.health_address, source };
        let health = health::server::bind(config.health_address).map_err(unusable)?;
        let health_address = health.local_addr().map_err(unusable)?;
        let control = control::bind(&config.control_socket)
            .map_err(|source| AppError::ControlSocket { path: config.control_socket.clone(), source })?;
        Ok(Self { health, control: Arc::new(control), health_address })
    }

    /// The listener for a health server that begins now.
    pub(super) fn health(&self) -> Result<TcpListener, AppError> {
        self.health.try_clone().map_err(AppError::Runtime)
    }
}
