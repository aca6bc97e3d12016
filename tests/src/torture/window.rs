//! Reads a journal as it lies on an image: which encodes stand between intent and outcome. A second reading of the
//! format, by the protocol's own reader and without the bridge's state.

use std::collections::BTreeSet;

use lockbridge_protocol::journal::{Event, HEADER_BYTES, SegmentHeader, SegmentReader};
use lockbridge_protocol::proto::journal::Entry;
use lockbridge_protocol::proto::journal::entry::Body;
use prost::Message as _;
use uuid::Uuid;

use crate::fault_disk::Image;

/// Ids of the encodes that had begun, and whose end is not on the disk.
pub(super) fn open_encodes(image: &Image) -> BTreeSet<String> {
    let names = image.names("journal").unwrap_or_default();
    let segments = names.iter().filter(|name| name.to_string_lossy().ends_with(".segment"));
    let mut used: Vec<(SegmentHeader, Vec<u8>)> = segments
        .filter_map(|name| {
            let bytes = image.file(std::path::Path::new("journal").join(name))?;
            let header = SegmentHeader::decode(bytes.get(..HEADER_BYTES)?).ok()?;
            Some((header, bytes))
        })
        .collect();
    used.sort_by_key(|(header, _)| header.index);
    let starts: Vec<u64> = used.iter().map(|(header, _)| header.start.next).collect();
    let mut window = Window::default();
    for (number, (header, bytes)) in used.iter().enumerate() {
        let mut reader = SegmentReader::new(bytes, HEADER_BYTES, header.start, starts.get(number + 1).copied());
        loop {
            match reader.next_event() {
                Event::Batch(batch) => batch.entries.iter().for_each(|(_, payload, _)| window.read(payload)),
                Event::Lost { .. } => {}
                Event::End(_) => break,
            }
        }
    }
    window.open.into_iter().filter_map(|id| Uuid::from_slice(&id).ok()).map(|id| id.to_string()).collect()
}

#[derive(Debug, Default)]
struct Window {
    encodes: BTreeSet<Vec<u8>>,
    open: BTreeSet<Vec<u8>>,
}

impl Window {
    fn read(&mut self, payload: &[u8]) {
        let Ok(Entry { body: Some(body), .. }) = Entry::decode(payload) else { return };
        match body {
            Body::Received(received) if received.kind == "encode_credential" => {
                self.encodes.insert(received.command_id);
            }
            Body::Intent(intent) if self.encodes.contains(&intent.command_id) => {
                self.open.insert(intent.command_id);
            }
            Body::Outcome(outcome) => drop(self.open.remove(&outcome.command_id)),
            Body::Requeued(requeued) => drop(self.open.remove(&requeued.command_id)),
            Body::Resolved(resolved) => drop(self.open.remove(&resolved.command_id)),
            _ => {}
        }
    }
}
