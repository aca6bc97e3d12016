//! One websocket message to one frame and back, with every size checked and every error naming what was wrong.

use bytes::Bytes;
use prost::Message;
use thiserror::Error;

use crate::limits::{BATCH_BYTES, BATCH_ITEMS, COMMAND_BYTES, ENCODER_JOBS, FRAME_BYTES, LOST_RANGES, REPORT_BYTES};
use crate::proto::tunnel::{BridgeFrame, Hello, HubFrame, Signed, bridge_frame, hub_frame};

/// Lock systems one Hello may describe: far more than one site has.
pub const LOCK_SYSTEMS: usize = 64;
/// Reasons one health report may carry.
pub const HEALTH_REASONS: usize = 256;

/// Why bytes are no frame, or a frame cannot become bytes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Longer than one message may be.
    #[error("{frame} of {size} bytes; at most {limit} are allowed")]
    TooLarge {
        /// Which frame type.
        frame: &'static str,
        /// Bytes it has.
        size: usize,
        /// Bytes it may have.
        limit: usize,
    },
    /// Not protobuf of this type.
    #[error("{frame} cannot be decoded: {detail}")]
    Malformed {
        /// Which frame type.
        frame: &'static str,
        /// What the decoder says.
        detail: String,
    },
    /// Decodes, but has no body this version knows.
    #[error("{frame} has no body that tunnel version 1 knows")]
    NoBody {
        /// Which frame type.
        frame: &'static str,
    },
    /// The epoch is 0 where a session is needed, or set where there is none yet.
    #[error("{frame} carries epoch {epoch}, which its body does not allow")]
    Epoch {
        /// Which frame type.
        frame: &'static str,
        /// The epoch it carries.
        epoch: u64,
    },
    /// A list is longer than allowed.
    #[error("{count} {what}; at most {limit} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// Items it has.
        count: usize,
        /// Items it may have.
        limit: usize,
    },
    /// One signed value is larger than allowed.
    #[error("{what} {sequence} of {size} bytes; at most {limit} are allowed")]
    ItemTooLarge {
        /// Command or report.
        what: &'static str,
        /// Its sequence.
        sequence: u64,
        /// Bytes it has.
        size: usize,
        /// Bytes it may have.
        limit: usize,
    },
    /// A delivery without command or a numbered report without report.
    #[error("{what} {sequence} is empty")]
    Empty {
        /// Command or report.
        what: &'static str,
        /// Its sequence.
        sequence: u64,
    },
    /// A field has a value it cannot have.
    #[error("field {field} of {frame} is not valid: {problem}")]
    Field {
        /// Which frame type.
        frame: &'static str,
        /// Field, by its name in the schema.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// The two frame types. Sealed: the wire knows no other.
pub trait Frame: Message + Default + private::Sealed {
    /// Name in the schema, for errors.
    const NAME: &'static str;

    /// Checks what the type alone does not say: sizes of parts, presence, epoch.
    fn check(&self) -> Result<(), FrameError>;
}

/// Reads one websocket message. Sizes are checked before anything is decoded.
pub fn decode<F: Frame>(bytes: &[u8]) -> Result<F, FrameError> {
    within::<F>(bytes.len())?;
    let frame =
        F::decode(bytes).map_err(|error| FrameError::Malformed { frame: F::NAME, detail: error.to_string() })?;
    frame.check()?;
    Ok(frame)
}

/// Writes one websocket message; refuses what the other end would refuse.
pub fn encode<F: Frame>(frame: &F) -> Result<Bytes, FrameError> {
    frame.check()?;
    within::<F>(frame.encoded_len())?;
    Ok(frame.encode_to_vec().into())
}

fn within<F: Frame>(size: usize) -> Result<(), FrameError> {
    if size > FRAME_BYTES {
        return Err(FrameError::TooLarge { frame: F::NAME, size, limit: FRAME_BYTES });
    }
    Ok(())
}

/// Cuts items into batches for one frame each: as full as [`BATCH_BYTES`] and [`BATCH_ITEMS`] allow, order kept. An item
/// that alone passes [`BATCH_BYTES`] goes alone; its own limit keeps the frame within [`FRAME_BYTES`].
pub fn batches<T: Message>(items: Vec<T>) -> Vec<Vec<T>> {
    let mut batches = Vec::new();
    let mut batch: Vec<T> = Vec::new();
    let mut bytes = 0_usize;
    for item in items {
        // Tag and length of the item inside the batch take at most 6 bytes at these sizes.
        let size = item.encoded_len().saturating_add(6);
        if !batch.is_empty() && (batch.len() >= BATCH_ITEMS || bytes.saturating_add(size) > BATCH_BYTES) {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes = bytes.saturating_add(size);
        batch.push(item);
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

impl Frame for BridgeFrame {
    const NAME: &'static str = "BridgeFrame";

    fn check(&self) -> Result<(), FrameError> {
        let body = self.body.as_ref().ok_or(FrameError::NoBody { frame: Self::NAME })?;
        if matches!(body, bridge_frame::Body::Hello(_)) != (self.epoch == 0) {
            return Err(FrameError::Epoch { frame: Self::NAME, epoch: self.epoch });
        }
        match body {
            bridge_frame::Body::Hello(hello) => check_hello(hello),
            bridge_frame::Body::Reports(batch) => {
                at_most("reports in one batch", batch.reports.len(), BATCH_ITEMS)?;
                batch
                    .reports
                    .iter()
                    .try_for_each(|item| signed("report", item.sequence, item.report.as_ref(), REPORT_BYTES))
            }
            bridge_frame::Body::Health(health) => {
                at_most("lock systems in a health report", health.lock_systems.len(), LOCK_SYSTEMS)?;
                at_most("lost ranges in a health report", health.lost.len(), LOST_RANGES)?;
                at_most("encoder jobs in a health report", health.encoder_jobs.len(), ENCODER_JOBS)?;
                at_most("reasons in a health report", health.reasons.len(), HEALTH_REASONS)
            }
            bridge_frame::Body::Credit(credit) => at_most("credit totals", credit.totals.len(), 16),
            bridge_frame::Body::CommandsDurable(_)
            | bridge_frame::Body::Heartbeat(_)
            | bridge_frame::Body::LaneGap(_)
            | bridge_frame::Body::Draining(_) => Ok(()),
        }
    }
}

impl Frame for HubFrame {
    const NAME: &'static str = "HubFrame";

    fn check(&self) -> Result<(), FrameError> {
        let body = self.body.as_ref().ok_or(FrameError::NoBody { frame: Self::NAME })?;
        if self.epoch == 0 && !matches!(body, hub_frame::Body::Refuse(_)) {
            return Err(FrameError::Epoch { frame: Self::NAME, epoch: self.epoch });
        }
        match body {
            hub_frame::Body::Deliveries(batch) => {
                at_most("deliveries in one batch", batch.deliveries.len(), BATCH_ITEMS)?;
                batch.deliveries.iter().try_for_each(|item| {
                    signed("command", item.delivery_sequence, item.command.as_ref(), COMMAND_BYTES)
                })
            }
            hub_frame::Body::LostCommands(lost) => {
                at_most("lost commands in one answer", lost.commands.len(), BATCH_ITEMS)?;
                let first = lost.deliveries.map_or(0, |deliveries| deliveries.first);
                lost.commands
                    .iter()
                    .try_for_each(|item| signed("lost command", first, item.command.as_ref(), COMMAND_BYTES))
            }
            _ => Ok(()),
        }
    }
}

fn check_hello(hello: &Hello) -> Result<(), FrameError> {
    let invalid = |field, problem: String| Err(FrameError::Field { frame: "Hello", field, problem });
    if hello.store_id.len() != 16 {
        return invalid("store_id", format!("{} bytes instead of 16", hello.store_id.len()));
    }
    if hello.boot_nonce.len() != 16 {
        return invalid("boot_nonce", format!("{} bytes instead of 16", hello.boot_nonce.len()));
    }
    if hello.version_minimum > hello.version_maximum {
        return invalid("version_minimum", format!("{} is above the maximum", hello.version_minimum));
    }
    if hello.reports_first_kept > hello.reports_last.saturating_add(1) {
        return invalid("reports_first_kept", format!("{} is past the last", hello.reports_first_kept));
    }
    at_most("lock systems in Hello", hello.lock_systems.len(), LOCK_SYSTEMS)
}

fn signed(what: &'static str, sequence: u64, value: Option<&Signed>, limit: usize) -> Result<(), FrameError> {
    let size = value.ok_or(FrameError::Empty { what, sequence })?.encoded_len();
    if size > limit {
        return Err(FrameError::ItemTooLarge { what, sequence, size, limit });
    }
    Ok(())
}

fn at_most(what: &'static str, count: usize, limit: usize) -> Result<(), FrameError> {
    if count > limit {
        return Err(FrameError::TooMany { what, count, limit });
    }
    Ok(())
}

mod private {
    #[expect(unnameable_types, reason = "seals the trait")]
    pub trait Sealed {}
    impl Sealed for crate::proto::tunnel::BridgeFrame {}
    impl Sealed for crate::proto::tunnel::HubFrame {}
}

#[cfg(test)]
mod tests;
