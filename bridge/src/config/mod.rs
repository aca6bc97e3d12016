//! Configuration: layered TOML to one validated value.
//!
//! Defaults in code < `bridge.toml` < sorted `bridge.d/*.toml` < environment (`LOCKBRIDGE__LOG__LEVEL=debug`). Unknown
//! keys are refused and all mistakes are told at once, each with file, key, what was found and what was expected. Only
//! the validated types reach the other rooms. Never: reaches the network, holds a secret (only where to read it).

pub(crate) mod fias;
mod findings;
mod front_desk;
mod line;
mod link_key;
mod load;
mod rooms;
pub(crate) mod salto_pms;
mod salto_space;
mod secret;
mod section;
mod types;
mod validate;

pub use fias::{FiasConfig, KeyOption};
pub use findings::{Effective, Problem};
pub use front_desk::FrontDeskConfig;
pub use link_key::{LinkKeyError, read_link_key};
pub use load::{ConfigError, ENVIRONMENT_PREFIX, Extra, Loaded, load, load_bare, load_with};
pub use rooms::KeyRoom;
pub(crate) use salto_pms::MARK_CHARACTERS;
pub use salto_pms::{AuditDoor, PmsArea, SaltoPmsConfig};
pub use secret::SecretError;
pub use types::{
    AccessLevelConfig, CancelKey, Config, EncoderConfig, EventStreamConfig, HttpAuthentication, LockSystemConfig,
    LockSystemKind, LogFormat, ProxyConfig, RightsMode, SaltoSpaceConfig, SecretSource, ShipTransport, TlsTrust,
};

#[cfg(test)]
mod tests;
