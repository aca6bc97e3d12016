//! Opening what lies on the disk, beside the runtime: the state directory, its key, the identity, and the journal.

use lockbridge_protocol::proto::journal::Machine;
use tracing::warn;

use super::AppError;
use super::store;
use crate::config::Config;
use crate::health::Health;
use crate::identity::{self, Identity};
use crate::journal::StateLock;
use crate::seal::Sealer;

pub(super) struct Taken {
    pub(super) lock: StateLock,
    pub(super) sealer: Sealer,
    pub(super) identity: Option<Identity>,
}

/// The state directory, its key, and who this bridge is. Blocks on the disk.
pub(super) fn take(config: &Config) -> Result<Taken, AppError> {
    let lock = StateLock::acquire(&config.state_directory).map_err(AppError::Lock)?;
    let sealer = identity::open_sealer(&config.state_directory, config.state_key.as_ref())?;
    let identity = Identity::load(&config.state_directory, &sealer)?;
    Ok(Taken { lock, sealer, identity })
}

pub(super) struct Opening {
    pub(super) machine: Machine,
    pub(super) store: store::Opening,
}

/// All else that blocks on the disk.
pub(super) fn open(
    lock: StateLock,
    identity: &Identity,
    sealer: &Sealer,
    config: &Config,
    health: &Health,
) -> Result<Opening, AppError> {
    // Only auditors miss it; a full disk must not keep the daemon from starting.
    if let Err(error) = identity.publish_audit_key() {
        warn!(error = %crate::net::chain_text(&error), "The public audit key was not laid out for auditors.");
    }
    let store = store::open(lock, config, health)?;
    let machine = identity::machine::look(&config.machine_id_file, sealer);
    Ok(Opening { machine, store })
}

/// Runs a step that blocks on the disk beside the runtime.
pub(super) async fn blocking<T: Send + 'static>(
    config: &Config,
    health: &Health,
    step: impl FnOnce(&Config, &Health) -> Result<T, AppError> + Send + 'static,
) -> Result<T, AppError> {
    let (config, health) = (config.clone(), health.clone());
    let done = tokio::task::spawn_blocking(move || step(&config, &health)).await;
    done.map_err(|error| AppError::Runtime(std::io::Error::other(error)))?
}
