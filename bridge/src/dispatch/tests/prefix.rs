//! The most important test: a process may end after any entry. From every prefix of a recorded run the next process must
//! recover by itself, begin no blind effect twice, and give every command exactly one end (or doubt).

use std::collections::BTreeMap;
use std::time::Duration;

use lockbridge_protocol::proto::journal::{Entry, entry};
use lockbridge_protocol::proto::tunnel::CommandState;

use super::*;
use crate::state::fold::View;

/// A run with everything in it: grants, encodes (written, refused, lost both ways), an opening, a revoke, a cancel.
async fn recorded() -> (Vec<Vec<u8>>, Authority) {
    let mut bench = Bench::new();
    for user in ["u1", "u2", "u3", "u4"] {
        let id = bench.give(grant(user, &["101", "gym", "spa"])).await;
        bench.until(id, CommandState::Succeeded).await;
    }
    let written = bench.give(encode("u1")).await;
    bench.until(written, CommandState::Succeeded).await;
    bench.system.site().script.push_back(Script::Refuse("no_credential_on_encoder", Retry::Never));
    let refused = bench.give(encode("u2")).await;
    bench.until(refused, CommandState::Failed).await;
    bench.system.site().script.push_back(Script::SilentDone);
    let lost = bench.give(encode("u3")).await;
    bench.until(lost, CommandState::Succeeded).await;
    bench.system.site().script.push_back(Script::SilentNothing);
    let nothing = bench.give(encode("u4")).await;
    bench.until(nothing, CommandState::Failed).await;
    let opened = bench.give(unlock("101")).await;
    bench.until(opened, CommandState::Succeeded).await;
    bench.system.site().script.push_back(Script::SilentNothing);
    let again = bench.give(grant("u1", &["102"])).await;
    bench.until(again, CommandState::Succeeded).await;
    let revoked = bench.give(delete_grant("u2")).await;
    bench.until(revoked, CommandState::Succeeded).await;
    let authority = bench.authority();
    (bench.stop().await, authority)
}

fn body_of(entry: &[u8]) -> Option<entry::Body> {
    Entry::decode(entry).expect("our own entry").body
}

/// Blind attempts begun in these entries, by command.
fn blind_intents(entries: &[Vec<u8>]) -> BTreeMap<Vec<u8>, u32> {
    let mut begun = BTreeMap::new();
    for entry in entries {
        if let Some(entry::Body::Intent(intent)) = body_of(entry)
            && intent.class == 3
        {
            *begun.entry(intent.command_id).or_default() += 1;
        }
    }
    begun
}

fn is_end(state: CommandState) -> bool {
    !matches!(state, CommandState::Unspecified | CommandState::Executing | CommandState::InDoubt)
}

#[tokio::test(start_paused = true)]
async fn every_prefix_of_a_run_recovers() {
    let (entries, authority) = recorded().await;
    assert!(entries.len() > 40, "the run is rich: {}", entries.len());
    assert_eq!(blind_intents(&entries).len(), 5);
    for length in 0..=entries.len() {
        let prefix = entries[..length].to_vec();
        let begun = blind_intents(&prefix);
        let system = FakeSystem::new();
        // The site as a lock server that lost nothing: the holders exist, and no card shows.
        for user in ["u1", "u2", "u3", "u4"] {
            system.site().users.insert(user.into(), FakeUser::default());
        }
        let bench = Bench::start(TestLog::with(prefix), Arc::clone(&system), authority.clone());
        bench.wait(Duration::from_secs(1)).await;
        let resume = bench.handle.ask(EngineRequest::Resume).await.expect("runs");
        let rest = authority.sent.iter().map(|(_, delivery)| delivery.clone());
        bench
            .deliver(rest.filter(|delivery| delivery.delivery_sequence > resume.commands_durable_through).collect())
            .await;
        // Until nothing is left to do, or twenty minutes: what the lock server cannot tell stays in doubt.
        for _ in 0..120 {
            bench.wait(Duration::from_secs(10)).await;
            let all = bench.handle.feed().borrow().commands_durable_through == authority.sent.len() as u64;
            if all && View::new(&bench.state).commands().expect("reads").is_empty() {
                break;
            }
        }

        let entries = bench.log.entries.lock().expect("no panic").clone();
        for (command, count) in blind_intents(&entries) {
            assert_eq!(count, 1, "prefix {length}: a blind command was begun twice");
            if begun.contains_key(&command) {
                let user = authority.sent.iter().position(|(id, _)| id.0.as_slice() == command).expect("sent");
                assert_eq!(blind_calls_of(&system, user), 0, "prefix {length}: the effect was begun again");
            }
        }
        for (id, _) in &authority.sent {
            let told = bench.states(*id);
            let ends = told.iter().filter(|state| is_end(**state)).count();
            let doubt = told.contains(&CommandState::InDoubt);
            assert!(ends == 1 || (ends == 0 && doubt), "prefix {length}, {id}: {told:?}");
            let view = View::new(&bench.state);
            let alive = view.command(id).expect("reads").is_some();
            let stone = view.tombstone(id).expect("reads").is_some();
            assert_eq!((alive, stone), (ends == 0, ends == 1), "prefix {length}, {id}: {told:?}");
        }
        let reports = bench.reports();
        assert!(reports.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1), "prefix {length}");
        assert_eq!(bench.handle.feed().borrow().commands_durable_through, authority.sent.len() as u64);
    }
}

/// Blind effects at the site in this process for the sent command with this index: 4 to 7 are the encodes, 8 the opening.
fn blind_calls_of(system: &FakeSystem, index: usize) -> u32 {
    let site = system.site();
    match index {
        4..=7 => site.encodes.get(&format!("u{}", index - 3)).copied().unwrap_or_default(),
        8 => site.unlocks,
        other => panic!("command {other} is not blind"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_kill_during_an_encode_is_doubt_and_never_a_second_card() {
    let mut bench = Bench::new();
    let known = bench.give(grant("u1", &["101"])).await;
    bench.until(known, CommandState::Succeeded).await;
    bench.system.site().script.push_back(Script::Slow(Duration::from_secs(10)));
    let id = bench.give(encode("u1")).await;
    bench.until(id, CommandState::Executing).await;
    let bench = bench.kill_and_restart().await;
    bench.wait(Duration::from_secs(3)).await;
    assert_eq!(bench.states(id), [CommandState::Executing, CommandState::InDoubt]);
    let update = bench.until(id, CommandState::Failed).await;
    assert_eq!(update.resolution.expect("it was in doubt").verdict, "not_done");
    assert_eq!(bench.system.site().encodes.get("u1"), None);
}

#[tokio::test(start_paused = true)]
async fn interactive_work_from_before_a_restart_is_never_begun() {
    let mut bench = Bench::new();
    let known = bench.give(grant("u1", &["101"])).await;
    bench.until(known, CommandState::Succeeded).await;
    bench.log.hold();
    let id = bench.give(encode("u1")).await;
    bench.wait(Duration::from_secs(1)).await;
    // Only the receipt reached the disk.
    let received = {
        let mut entries = bench.log.entries.lock().expect("no panic");
        let at = entries.iter().position(
            |entry| matches!(body_of(entry), Some(entry::Body::Received(received)) if received.command_id == id.0),
        );
        entries.truncate(at.expect("received") + 1);
        entries.len()
    };
    let bench = bench.kill_and_restart().await;
    assert_eq!(bench.log.entries.lock().expect("no panic").len(), received);
    let update = bench.until(id, CommandState::Expired).await;
    assert_eq!(update.error.expect("an error").code, "session_lost");
    assert_eq!(bench.system.site().encodes.get("u1"), None);
}
