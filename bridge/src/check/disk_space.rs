//! Is there space for every configured bound?

use futures_util::FutureExt as _;

use super::{Check, Context, Verdict};
use crate::app::space::{self, SpaceError};
use crate::health::ReasonCode;
use crate::limits::DISK_WARNING_BYTES;
use crate::net::chain_text;

pub(super) const CHECK: Check = Check {
    id: "disk_space",
    description: "The disk of the state directory has space for all that is configured.",
    look: |context| async move { vec![look(context)] }.boxed(),
};

fn look(context: &Context) -> Verdict {
    let folder = context.config.state_directory.display();
    match space::ensure(&context.config) {
        Ok(space) => {
            let (free, needed) = (space.free >> 20, space.needed >> 20);
            let evidence = format!("{folder} has {free} MiB free; the bounds add up to {needed} MiB");
            if space.free < DISK_WARNING_BYTES {
                Verdict::warning(evidence, ReasonCode::DiskLow.remedy())
            } else {
                Verdict::ok(evidence)
            }
        }
        Err(error @ SpaceError::Low { .. }) => Verdict::failed(error.to_string(), error.hint()),
        Err(error @ SpaceError::Unknown { .. }) => Verdict::skipped(chain_text(&error)),
    }
}
