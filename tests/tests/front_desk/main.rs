//! The front desk: property software asks the real daemon for keys in FIAS, with the cloud cut off.
//!
//! The witnesses are the lock server's durable count of physical effects, its doors, and what the property software heard.

mod key_service;
mod orders;
mod reception;
mod wires;
