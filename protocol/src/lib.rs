//! Bytes to values and back, for every wire and disk format of Lockbridge.
//!
//! Nothing in this crate opens a file or socket, waits, reads a clock, logs or panics: bytes, values and the time are
//! arguments. One folder a format:
//!
//! * [`ids`]: newtypes for the identifiers that cross room borders.
//! * [`limits`]: every bound of the wire formats, by name.
//! * [`tunnel`]: frames between bridge and hub, and the session machine that speaks them.
//! * [`signed`]: commands and reports as signed bytes.
//! * [`enrollment`]: the token an admin carries from the cloud to the bridge.
//! * [`journal`]: records of the bridge's journal: layout, checksum, hash chain.
//! * [`fias`]: FIAS, by which hotel software talks to key systems, in both roles.
//! * [`mod@line`]: control bytes, checksums and frames of the front desk's byte protocols.
//! * [`salto_pms`]: SALTO's PMS Industry Standard, by which hotel software has guest keys written.
//! * [`ship`]: SALTO Space's host interface (XML over STP or HTTP) and its event stream.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions))]
#![warn(missing_docs)]

pub mod enrollment;
pub mod fias;
pub mod ids;
pub mod journal;
pub mod limits;
pub mod line;
pub mod salto_pms;
pub mod ship;
pub mod signed;
pub mod tunnel;

/// Messages generated from `proto/*.proto`; see the comments there for meaning and units.
pub mod proto {
    #![allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub, reason = "generated code")]
    #![allow(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        reason = "generated code"
    )]

    /// Frames, commands, reports, enrollment.
    pub mod tunnel {
        include!("gen/lockbridge.tunnel.v1.rs");
    }
    /// Journal entries.
    pub mod journal {
        include!("gen/lockbridge.journal.v1.rs");
    }
}
