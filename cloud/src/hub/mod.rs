//! Who routes: the bridges' sessions.

mod ingest;

pub use ingest::Ingest;
