//! Commands: what may become of one, whether it is let in, and what the site's own policy says.
//!
//! Owns the life of a command ([`machine`]), the decision on a delivery ([`admit`]) and the local policy file
//! ([`policy`]). All of it is pure, except that the policy file is read. Never: starts an effect, writes the journal.

pub mod admit;
pub mod machine;
pub mod policy;
