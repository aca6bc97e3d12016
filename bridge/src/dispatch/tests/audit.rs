//! What is written for the auditor alone.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use lockbridge_protocol::proto::journal::{Entry, IdentityInUse, Reported, entry};
use lockbridge_protocol::proto::tunnel::{CommandState, Report, Signed, report::Body as ReportBody};
use lockbridge_protocol::signed::report::SigningFailed;
use prost::Message;

use super::*;

/// Keys whose signature is a mark: what a real one is worth is the protocol's to test.
#[derive(Debug, Default)]
pub(super) struct TestKeys {
    certificate: AtomicU8,
}

impl Credentials for TestKeys {
    fn sign(&self, report: Vec<u8>) -> Result<Signed, SigningFailed> {
        Ok(Signed { payload_type: "signed".into(), payload: report, ..Signed::default() })
    }

    fn in_use(&self) -> IdentityInUse {
        let certificate_hash = vec![self.certificate.load(Ordering::Relaxed); 32];
        IdentityInUse { certificate_hash, ..IdentityInUse::default() }
    }
}

fn bodies(bench: &Bench) -> Vec<entry::Body> {
    let entries = bench.log.entries.lock().expect("no panic").clone();
    entries.iter().filter_map(|bytes| Entry::decode(bytes.as_slice()).expect("an entry").body).collect()
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_is_kept_signed_and_readable_and_covers_what_was_durable() {
    let mut bench = Bench::new();
    let id = bench.give(grant("u1", &["101"])).await;
    bench.until(id, CommandState::Succeeded).await;
    bench.wait(Duration::from_secs(90)).await;
    let all = bodies(&bench);
    let is_checkpoint = |body: &entry::Body| matches!(body, entry::Body::Reported(it) if it.kind == "audit_checkpoint");
    let place = all.iter().position(is_checkpoint).expect("a checkpoint");
    let entry::Body::Reported(Reported { signed_checkpoint, report_sequence, .. }) = &all[place] else {
        panic!("not a report")
    };
    let signed = Signed::decode(signed_checkpoint.as_slice()).expect("signed");
    assert_eq!(signed.payload_type, "signed");
    let report = Report::decode(signed.payload.as_slice()).expect("a report");
    assert_eq!(report.sequence, *report_sequence, "the one that the cloud is told");
    assert!(bench.reports().contains(&report));
    let Some(ReportBody::AuditCheckpoint(checkpoint)) = report.body else { panic!("not a checkpoint") };
    assert_eq!(checkpoint.journal_sequence, place as u64, "every entry before its own");
    let others = all.iter().filter(|body| matches!(body, entry::Body::Reported(it) if it.kind != "audit_checkpoint"));
    for other in others {
        assert!(matches!(other, entry::Body::Reported(it) if it.signed_checkpoint.is_empty()), "{other:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_orderly_stop_signs_what_was_done_since_the_last_checkpoint() {
    let mut bench = Bench::new();
    bench.system.site().script.push_back(Script::Slow(Duration::from_secs(3)));
    let id = bench.give(grant("u1", &["101"])).await;
    bench.wait(Duration::from_secs(1)).await;
    bench.handle.ask(EngineRequest::Drain).await.expect("drains");
    assert_eq!(bench.states(id), [CommandState::Succeeded], "what executes is finished first");
    let all = bodies(&bench);
    let Some(entry::Body::Reported(last)) = all.last() else { panic!("{:?}", all.last()) };
    let signed = Signed::decode(last.signed_checkpoint.as_slice()).expect("signed");
    let report = Report::decode(signed.payload.as_slice()).expect("a report");
    let Some(ReportBody::AuditCheckpoint(checkpoint)) = report.body else { panic!("not a checkpoint") };
    assert_eq!(checkpoint.journal_sequence, all.len() as u64 - 1, "the outcome and everything else is covered");
    // Told twice, as by a second signal, nothing is signed twice.
    bench.handle.ask(EngineRequest::Drain).await.expect("drains");
    assert_eq!(bodies(&bench).len(), all.len());
}

#[tokio::test(start_paused = true)]
async fn keys_are_written_down_at_the_start_and_when_they_change() {
    let bench = Bench::new();
    let noted = |bench: &Bench| -> Vec<(String, u8)> {
        let bodies = bodies(bench).into_iter();
        bodies
            .filter_map(|body| match body {
                entry::Body::IdentityInUse(it) => Some((it.occasion, it.certificate_hash[0])),
                _ => None,
            })
            .collect()
    };
    bench.wait(Duration::from_secs(60)).await;
    assert_eq!(noted(&bench), [("started".to_owned(), 0)]);
    bench.keys.certificate.store(7, Ordering::Relaxed);
    bench.wait(Duration::from_secs(60)).await;
    assert_eq!(noted(&bench), [("started".to_owned(), 0), ("changed".to_owned(), 7)]);
    let bench = bench.kill_and_restart().await;
    bench.wait(Duration::from_secs(60)).await;
    assert_eq!(noted(&bench).len(), 3, "each start says which keys it used");
}
