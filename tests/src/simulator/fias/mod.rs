//! Both ends of FIAS as processes that tests can talk to: the property software of a hotel, and a vendor's key system.
//!
//! Own reading and printing of records and frames (nothing here uses the product's codec, so that a mistake in one is seen by
//! the other), over any [`line`](super::line) with its noise.
//!
//! Parts: [`command`] (the process), [`record`] and [`framing`] (bytes), [`link_key`] (who is believed), [`pms`] (property
//! software), [`key_system`] and [`cards`] (the vendor's side), [`control`] (HTTP).

pub mod cards;
pub mod command;
pub mod control;
pub mod framing;
pub mod key_system;
pub mod link_key;
pub mod pms;
pub mod record;
