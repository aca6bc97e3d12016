//! The demo: the main job told step by step with the real binaries, and every claim checked.
//!
//! Each step says what it does, does it, and holds or fails; a failed step ends the story and the exit code says so.
//! Never: reads the bridge's own records to judge it. The simulator's count of physical effects and the cloud's API are
//! the witnesses.

mod front_desk;
mod story;
mod summary;

pub use front_desk::{FrontDesk, tell_front_desk};
pub use story::tell;
pub use summary::{Step, Summary};
