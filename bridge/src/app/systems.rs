//! The adapters of the configured lock systems.

use std::sync::Arc;

use super::AppError;
use crate::clock::Clock;
use crate::config::{Config, LockSystemConfig, LockSystemKind};
use crate::system::LockSystem;
use crate::system::fias::Fias;
use crate::system::salto_pms;
use crate::system::salto_space::SaltoSpace;

pub(super) type Systems = Vec<(LockSystemConfig, Arc<dyn LockSystem>)>;

pub(super) fn lock_systems(config: &Config, clock: &Arc<dyn Clock>) -> Result<Systems, AppError> {
    config.lock_systems.iter().map(|system| Ok((system.clone(), lock_system(system, clock)?))).collect()
}

/// The adapter of a configured lock system; makes no connection.
pub fn lock_system(system: &LockSystemConfig, clock: &Arc<dyn Clock>) -> Result<Arc<dyn LockSystem>, AppError> {
    match &system.kind {
        LockSystemKind::SaltoSpace(_) => {
            let built = SaltoSpace::new(system.clone(), Arc::clone(clock));
            Ok(Arc::new(built.map_err(|error| AppError::LockSystem {
                name: system.name.clone(),
                problem: crate::net::chain_text(&error),
            })?))
        }
        LockSystemKind::Fias(fias) => Ok(Arc::new(Fias::new(system, fias.clone()))),
        LockSystemKind::SaltoPms(pms) => {
            let site = salto_pms::Site {
                lock_system: system.name.clone(),
                display_name: system.display_name.clone(),
                time_zone_name: system.time_zone_name.clone(),
                time_zone: system.time_zone.clone(),
                call_timeout: system.call_timeout,
            };
            Ok(Arc::new(salto_pms::SaltoPms::new(site, pms.clone())))
        }
    }
}
