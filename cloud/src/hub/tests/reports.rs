use std::sync::Arc;

use lockbridge_protocol::proto::tunnel::report::Body;
use lockbridge_protocol::proto::tunnel::{
    AuditCheckpoint, CommandState, CommandUpdate, EventGap, NumberedReport, RefuseCode,
};
use lockbridge_protocol::signed::WITNESS_TYPE;
use lockbridge_protocol::signed::command::AuthorityKeys;
use lockbridge_protocol::tunnel::session::BridgeEnd;
use prost::Message;
use ring::signature::KeyPair as _;

use crate::hub::Ingest;
use crate::hub::records::{self, RecordError};
use crate::store::commands;
use crate::testing::{Bench, Identity, State, put_user};

fn gap() -> Body {
    Body::EventGap(EventGap { lock_system: "space".into(), count: 1, from_ms: 1, to_ms: 2 })
}

fn reports_told(bench: &Bench) -> Vec<String> {
    bench.recorder.told().into_iter().filter(|what| what.starts_with("report")).collect()
}

#[tokio::test]
async fn reports_are_kept_once_and_move_commands() {
    let bench = Bench::start().await;
    let identity = bench.enrolled().await;
    let command_id = bench.issue(&identity.bridge_id, put_user("u1")).await.expect("issues");
    let mut script = bench.connect(&identity, State::new()).await.expect("is welcome");
    script.until(|script| script.delivered.len() == 1).await.expect("delivers");
    let payload = &script.delivered[0].command.as_ref().expect("carries one").payload;
    let update = CommandUpdate {
        command_id: command_id.as_bytes().to_vec(),
        command_hash: lockbridge_protocol::signed::sha256(payload).to_vec(),
        state: CommandState::Succeeded.into(),
        attempt: 1,
        ..CommandUpdate::default()
    };
    script.state.report(&identity, Body::CommandUpdate(update));
    script.state.report(&identity, gap());
    script.send_reports().await.expect("are kept");
    let standing = bench.store.read(move |connection| commands::standing(connection, command_id)).await;
    assert_eq!(standing.expect("reads").expect("is there").state, CommandState::Succeeded);

    let state = script.state.clone();
    drop(script);
    let mut script = bench.connect(&identity, state).await.expect("is welcome");
    assert_eq!(script.reports_durable, 2, "the cursor is the hub's");
    script.state.report(&identity, gap());
    script.send_reports().await.expect("are kept");
    assert_eq!(reports_told(&bench), ["report 1", "report 2", "report 3"]);
    assert_eq!(bench.alarms().await, [""; 0]);
}

#[tokio::test]
async fn a_report_by_another_key_ends_the_session_and_leaves_nothing() {
    let bench = Bench::start().await;
    let (identity, stranger) = (bench.enrolled().await, bench.enrolled().await);
    let forger = Identity { bridge_id: identity.bridge_id.clone(), ..stranger };
    let mut script = bench.connect(&identity, State::new()).await.expect("is welcome");
    script.state.report(&identity, gap());
    script.state.report(&forger, gap());
    let end = script.send_reports().await.expect_err("is refused");
    assert!(matches!(end, BridgeEnd::Refused { code: RefuseCode::ProtocolViolation, .. }), "{end:?}");
    assert_eq!(reports_told(&bench), [""; 0], "a batch is kept whole or not at all");
    assert_eq!(bench.alarms().await, ["report_invalid"]);
}

#[tokio::test]
async fn checkpoints_are_countersigned_unless_the_chain_forks() {
    let bench = Bench::start().await;
    let identity = bench.enrolled().await;
    let mut script = bench.connect(&identity, State::new()).await.expect("is welcome");
    let checkpoint = |head: u8| AuditCheckpoint {
        store_id: vec![1; 16],
        journal_sequence: 7,
        chain_head: vec![head; 32],
        time_ms: 1,
    };
    for head in [1, 2] {
        script.state.report(&identity, Body::AuditCheckpoint(checkpoint(head)));
    }
    script.send_reports().await.expect("are kept");
    script.until(|script| !script.witnesses.is_empty()).await.expect("is witnessed");
    let [witness] = script.witnesses.as_slice() else { panic!("the fork is not witnessed: {:?}", script.witnesses) };
    let signed = witness.witness.as_ref().expect("is signed");
    let keys = AuthorityKeys::new([bench.authority.public().public_key.as_slice()]).expect("is a key");
    keys.verify(WITNESS_TYPE, signed).expect("verifies");
    assert_eq!(witness.report_sequence, 1);
    assert_eq!(AuditCheckpoint::decode(signed.payload.as_slice()).expect("decodes"), checkpoint(1));
    assert_eq!(bench.alarms().await, ["audit_broken"]);
}

#[tokio::test]
async fn a_shorter_journal_raises_an_alarm_and_the_last_witness_stays() {
    let bench = Bench::start().await;
    let identity = bench.enrolled().await;
    let mut script = bench.connect(&identity, State::new()).await.expect("is welcome");
    for journal_sequence in [20, 7] {
        let checkpoint =
            AuditCheckpoint { store_id: vec![1; 16], journal_sequence, chain_head: vec![1; 32], time_ms: 1 };
        script.state.report(&identity, Body::AuditCheckpoint(checkpoint));
    }
    script.send_reports().await.expect("are kept");
    script.until(|script| !script.witnesses.is_empty()).await.expect("is witnessed");
    assert_eq!(script.witnesses.len(), 1, "the shorter one is not witnessed");
    assert_eq!(bench.alarms().await, ["audit_broken"]);
    let bridge_id = identity.bridge_id.clone();
    let kept = bench.store.read(move |connection| crate::store::journals::witnessed(connection, &bridge_id));
    let kept: Vec<AuditCheckpoint> = kept.await.expect("reads");
    let [last] = kept.as_slice() else { panic!("one journal, one witness: {kept:?}") };
    assert_eq!((last.journal_sequence, last.chain_head.as_slice()), (20, [1; 32].as_slice()));
}

#[tokio::test]
async fn an_old_epoch_moves_no_cursor_and_a_repeated_report_has_no_second_effect() {
    let bench = Bench::start().await;
    let identity = bench.enrolled().await;
    let mut state = State::new();
    state.report(&identity, gap());
    let peer = crate::enroll::Peer::of_certificate(&identity.chain[0]).expect("is a bridge");
    let hello = lockbridge_protocol::proto::tunnel::Hello { store_id: state.store_id.clone(), ..Default::default() };
    let old = records::admit(&bench.store, 1, peer.clone(), &hello).await.expect("is known");
    let new = records::admit(&bench.store, 1, peer, &hello).await.expect("is known");
    assert_eq!((old.session.epoch, new.session.epoch), (1, 2));

    let ingest: Arc<dyn Ingest> = Arc::new(bench.recorder.clone());
    let key: Arc<[u8]> = identity.keys.audit().public_key().as_ref().into();
    let keep = |session: &records::Session| {
        let batch = vec![NumberedReport { sequence: 1, report: Some(state.reports[0].clone()) }];
        records::reports(&bench.store, &ingest, 1, session.clone(), Arc::clone(&key), batch)
    };
    let superseded = keep(&old.session).await;
    assert!(matches!(superseded, Err(RecordError::Superseded)), "{superseded:?}");
    assert_eq!(bench.bridge(&identity.bridge_id).await.reports_durable_through, 0);
    keep(&new.session).await.expect("is kept");
    keep(&new.session).await.expect("is passed over");
    assert_eq!(reports_told(&bench), ["report 1"]);
}
