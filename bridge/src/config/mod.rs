//! Configuration: layered TOML to one validated value.
//!
//! Only the validated types of this file reach the other rooms. Never: reaches the network, holds a secret (only where to
//! read it), stops at the first mistake.

mod secret;
mod types;

pub use secret::SecretError;
pub use types::{
    AccessLevelConfig, CancelKey, Config, EncoderConfig, EventStreamConfig, HttpAuthentication, LockSystemConfig,
    LockSystemKind, LogFormat, ProxyConfig, RightsMode, SaltoSpaceConfig, SecretSource, ShipTransport, TlsTrust,
};
