//! Space on the disk against every bound of the configuration (rule D7).

use thiserror::Error;

use crate::config::Config;
use crate::journal::{Disk, RealDisk};
use crate::limits::JOURNAL_SAFETY_RESERVE_BYTES;

/// What the state directory has and may come to need, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Free on the file system now.
    pub free: u64,
    /// All bounds together: audit retention, disk reserve, and what is set aside for revokes.
    pub needed: u64,
}

/// Better a refusal at the installation than at night.
#[derive(Debug, Error)]
pub enum SpaceError {
    /// The file system does not tell.
    #[error("cannot tell the free space of {folder}")]
    Unknown {
        /// The state directory.
        folder: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Less than the bounds.
    #[error(
        "the disk of {folder} has {} MiB free, and the bridge may need {} MiB of it: `storage.audit_retention_mib`, \
         `storage.disk_reserve_mib` and what is set aside for revokes",
        space.free >> 20,
        space.needed >> 20
    )]
    Low {
        /// The state directory.
        folder: String,
        /// Both figures.
        space: Space,
    },
}

impl SpaceError {
    /// The next step.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "Check that the state directory exists and who may enter it.",
            Self::Low { .. } => {
                "Free space, put the state directory on another disk, or lower `storage.audit_retention_mib`."
            }
        }
    }
}

/// Looks at the disk of the state directory; not enough is an error.
pub fn ensure(config: &Config) -> Result<Space, SpaceError> {
    let folder = config.state_directory.display().to_string();
    let needed = config.disk_reserve_bytes + config.audit_retention_bytes + JOURNAL_SAFETY_RESERVE_BYTES;
    match RealDisk.free_bytes(&config.state_directory) {
        Ok(free) if free >= needed => Ok(Space { free, needed }),
        Ok(free) => Err(SpaceError::Low { folder, space: Space { free, needed } }),
        Err(source) => Err(SpaceError::Unknown { folder, source }),
    }
}
