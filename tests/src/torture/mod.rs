//! Torture: a random load over the real processes, a `kill -9` of the bridge in each cycle, and a checker at the end.
//!
//! Promises: the whole plan (acts, picks, pauses, moments of death) comes from the seed it prints; processes and disk keep
//! their own time, so a replay meets the same load and not the same microsecond. Judges by what the API answered and by
//! the simulator's durable log of physical effects, never by the bridge's own count. Never: passes over a wait that ran out.

mod check;
pub mod corrupt;
mod desk;
mod disk;
mod disk_site;
mod figures;
mod history;
mod kill;
mod line;
mod load;
mod plan;
mod points;
mod power;
mod soak;
mod window;
mod witness;
pub mod world;

pub use disk::{DiskFigures, DiskOptions, disk};
pub use figures::Figures;
pub use kill::{Options, kill};
pub use line::{LineFigures, LineKind, LineOptions, LineSums, line};
pub use points::{Kind, PointFigures, PointOptions, points};
pub use power::{PowerFigures, PowerOptions, live};
pub use soak::{SoakFigures, SoakOptions, soak};
