use proptest::prelude::*;

use super::*;
use crate::proto::tunnel::{
    Delivery, DeliveryBatch, Draining, HubHeartbeat, LockSystemDescription, NumberedReport, Refuse, ReportBatch,
};

/// A signed value whose encoding has exactly this many bytes. Where the length of a length grows, no payload alone gives
/// the size; then a type of some letters fills the gap.
fn signed_of(size: usize) -> Signed {
    let splits = (0..8).flat_map(|letters| (0..8).map(move |overhead| (letters, overhead)));
    splits
        .map(|(letters, overhead)| Signed {
            payload_type: "x".repeat(letters),
            payload: vec![0; size.saturating_sub(letters + overhead)],
            ..Signed::default()
        })
        .find(|signed| signed.encoded_len() == size)
        .expect("some split of the bytes fits")
}

#[test]
fn every_size_can_be_made() {
    for size in (3..20_000).chain(65_000..66_000) {
        assert_eq!(signed_of(size).encoded_len(), size);
    }
}

fn deliveries(sizes: &[usize]) -> HubFrame {
    let deliveries = (1..)
        .zip(sizes)
        .map(|(delivery_sequence, size)| Delivery { delivery_sequence, command: Some(signed_of(*size)) })
        .collect();
    HubFrame { epoch: 1, body: Some(hub_frame::Body::Deliveries(DeliveryBatch { deliveries })) }
}

fn reports(count: u64, size: usize) -> BridgeFrame {
    let reports = (1..=count).map(|sequence| NumberedReport { sequence, report: Some(signed_of(size)) }).collect();
    BridgeFrame { epoch: 1, body: Some(bridge_frame::Body::Reports(ReportBatch { reports })) }
}

fn hello() -> Hello {
    Hello { version_maximum: 1, store_id: vec![0; 16], boot_nonce: vec![0; 16], ..Hello::default() }
}

fn hello_frame(hello: Hello) -> BridgeFrame {
    BridgeFrame { epoch: 0, body: Some(bridge_frame::Body::Hello(hello)) }
}

#[test]
fn one_command_at_its_limit_and_one_byte_past_it() {
    let bytes = encode(&deliveries(&[COMMAND_BYTES])).unwrap();
    assert_eq!(decode::<HubFrame>(&bytes), Ok(deliveries(&[COMMAND_BYTES])));
    let error =
        FrameError::ItemTooLarge { what: "command", sequence: 2, size: COMMAND_BYTES + 1, limit: COMMAND_BYTES };
    assert_eq!(encode(&deliveries(&[20, COMMAND_BYTES + 1])), Err(error.clone()));
    assert_eq!(decode::<HubFrame>(&deliveries(&[20, COMMAND_BYTES + 1]).encode_to_vec()), Err(error));
}

#[test]
fn one_report_at_its_limit_and_one_byte_past_it() {
    assert!(encode(&reports(1, REPORT_BYTES)).is_ok());
    let error = decode::<BridgeFrame>(&reports(1, REPORT_BYTES + 1).encode_to_vec());
    assert!(matches!(error, Err(FrameError::ItemTooLarge { what: "report", sequence: 1, .. })), "{error:?}");
}

#[test]
fn a_frame_at_its_limit_and_one_byte_past_it() {
    let overhead = deliveries(&[50_000; 5]).encoded_len() - 250_000;
    let last = FRAME_BYTES - overhead - 200_000;
    let full = deliveries(&[50_000, 50_000, 50_000, 50_000, last]);
    assert_eq!(full.encoded_len(), FRAME_BYTES);
    assert_eq!(decode::<HubFrame>(&encode(&full).unwrap()), Ok(full));
    let over = deliveries(&[50_000, 50_000, 50_000, 50_000, last + 1]);
    let error = FrameError::TooLarge { frame: "HubFrame", size: FRAME_BYTES + 1, limit: FRAME_BYTES };
    assert_eq!(encode(&over), Err(error.clone()));
    assert_eq!(decode::<HubFrame>(&over.encode_to_vec()), Err(error));
}

#[test]
fn a_batch_at_its_limit_and_one_item_past_it() {
    let limit = BATCH_ITEMS as u64;
    assert!(encode(&reports(limit, 20)).is_ok());
    let error = FrameError::TooMany { what: "reports in one batch", count: BATCH_ITEMS + 1, limit: BATCH_ITEMS };
    assert_eq!(decode::<BridgeFrame>(&reports(limit + 1, 20).encode_to_vec()), Err(error));
}

#[test]
fn the_epoch_is_zero_only_where_there_is_no_session() {
    let draining = |epoch| BridgeFrame { epoch, body: Some(bridge_frame::Body::Draining(Draining {})) };
    assert!(encode(&draining(1)).is_ok());
    assert_eq!(encode(&draining(0)), Err(FrameError::Epoch { frame: "BridgeFrame", epoch: 0 }));
    assert!(encode(&hello_frame(hello())).is_ok());
    assert_eq!(
        encode(&BridgeFrame { epoch: 4, ..hello_frame(hello()) }),
        Err(FrameError::Epoch { frame: "BridgeFrame", epoch: 4 })
    );
    let hub = |epoch, body| encode(&HubFrame { epoch, body: Some(body) });
    assert!(hub(0, hub_frame::Body::Refuse(Refuse::default())).is_ok());
    let heartbeat = hub_frame::Body::Heartbeat(HubHeartbeat::default());
    assert_eq!(hub(0, heartbeat), Err(FrameError::Epoch { frame: "HubFrame", epoch: 0 }));
}

#[test]
fn what_is_wrong_with_hello_is_named() {
    let named = |hello| match encode(&hello_frame(hello)) {
        Err(FrameError::Field { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(named(Hello { store_id: vec![0; 15], ..hello() }), "store_id");
    assert_eq!(named(Hello { boot_nonce: vec![0; 17], ..hello() }), "boot_nonce");
    assert_eq!(named(Hello { version_minimum: 2, ..hello() }), "version_minimum");
    assert_eq!(named(Hello { reports_first_kept: 6, reports_last: 4, ..hello() }), "reports_first_kept");
    let crowded = Hello { lock_systems: vec![LockSystemDescription::default(); LOCK_SYSTEMS + 1], ..hello() };
    assert!(matches!(encode(&hello_frame(crowded)), Err(FrameError::TooMany { .. })));
    let full = Hello { lock_systems: vec![LockSystemDescription::default(); LOCK_SYSTEMS], ..hello() };
    assert!(encode(&hello_frame(full)).is_ok());
}

#[test]
fn emptiness_is_named() {
    assert_eq!(decode::<HubFrame>(&[]), Err(FrameError::NoBody { frame: "HubFrame" }));
    let empty = DeliveryBatch { deliveries: vec![Delivery { delivery_sequence: 7, command: None }] };
    let frame = HubFrame { epoch: 1, body: Some(hub_frame::Body::Deliveries(empty)) };
    assert_eq!(decode::<HubFrame>(&frame.encode_to_vec()), Err(FrameError::Empty { what: "command", sequence: 7 }));
    assert!(matches!(decode::<BridgeFrame>(&[0xff; 9]), Err(FrameError::Malformed { frame: "BridgeFrame", .. })));
}

proptest! {
    #[test]
    fn batches_keep_order_and_are_as_full_as_allowed(sizes in proptest::collection::vec(20_usize..REPORT_BYTES, 0..60)) {
        let items: Vec<_> = (1..)
            .zip(&sizes)
            .map(|(sequence, size)| NumberedReport { sequence, report: Some(signed_of((*size).max(400))) })
            .collect();
        let cut = batches(items.clone());
        prop_assert_eq!(cut.concat(), items);
        for (at, reports) in cut.iter().enumerate() {
            let bytes: usize = reports.iter().map(|report| report.encoded_len() + 6).sum();
            prop_assert!(reports.len() == 1 || bytes <= BATCH_BYTES);
            if let Some(next) = cut.get(at + 1) {
                prop_assert!(bytes + next[0].encoded_len() + 6 > BATCH_BYTES, "the next item would have fitted");
            }
            let frame = BridgeFrame {
                epoch: 1,
                body: Some(bridge_frame::Body::Reports(ReportBatch { reports: reports.clone() })),
            };
            prop_assert!(encode(&frame).is_ok());
        }
    }

    #[test]
    fn small_items_are_cut_by_count(count in 0_u64..1000) {
        let items: Vec<_> = (0..count).map(|sequence| NumberedReport { sequence, report: None }).collect();
        let lengths: Vec<_> = batches(items).iter().map(Vec::len).collect();
        prop_assert!(lengths.iter().rev().skip(1).all(|length| *length == BATCH_ITEMS));
        prop_assert_eq!(lengths.iter().sum::<usize>() as u64, count);
    }

    #[test]
    fn what_decodes_encodes_to_the_same_meaning(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(frame) = decode::<HubFrame>(&bytes) {
            prop_assert_eq!(decode::<HubFrame>(&encode(&frame).unwrap()), Ok(frame));
        }
        if let Ok(frame) = decode::<BridgeFrame>(&bytes) {
            prop_assert_eq!(decode::<BridgeFrame>(&encode(&frame).unwrap()), Ok(frame));
        }
    }
}
