//! Keys for phones at a lock system that makes keys for rooms.

use lockbridge_protocol::proto::tunnel::{Evidence, SuspendUser, TruthLevel};

use super::*;

fn bench() -> Bench {
    Bench::start(TestLog::with(vec![]), FakeSystem::of_phones(), Authority::new())
}

/// A grant with a key for the phone of that user, within the reservation R1.
fn mobile(user: &str, phone: &str) -> PutGrant {
    let Body::PutGrant(mut put) = grant(user, &["101"]) else { panic!("a grant") };
    put.reservation_key = "R1".into();
    put.methods[0].medium = Medium::MobileKey as i32;
    put.user.as_mut().expect("a user").phone_number = phone.into();
    put
}

fn again(user: &str, phone: &str, revision: u64, hours: i64) -> Body {
    Body::PutGrant(PutGrant { revision, ends_at_ms: START + hours * HOUR, ..mobile(user, phone) })
}

async fn done(bench: &mut Bench, body: Body) -> Evidence {
    let id = bench.give(body).await;
    bench.until(id, CommandState::Succeeded).await.evidence.expect("evidence")
}

fn calls(bench: &Bench) -> Vec<String> {
    std::mem::take(&mut bench.system.site().calls)
}

async fn say(bench: &Bench, id: CommandId, verdict: DoubtVerdict) {
    let who = "uid 1000".to_owned();
    let said = bench.handle.ask(|done| EngineRequest::Resolve { command_id: id, verdict, who, done }).await;
    said.expect("runs").expect("settled");
}

#[tokio::test(start_paused = true)]
async fn the_first_phone_of_a_stay_gets_a_new_key_and_the_others_copies() {
    let mut bench = bench();
    let evidence = done(&mut bench, Body::PutGrant(mobile("u1", "+431"))).await;
    assert_eq!(
        (evidence.truth(), evidence.granted_entrance_external_ids),
        (TruthLevel::Server, vec!["101".to_owned()])
    );
    let mut bench = bench.kill_and_restart().await;
    done(&mut bench, Body::PutGrant(mobile("u2", "+432"))).await;
    assert_eq!(calls(&bench), ["send New +431 101", "send Copy +432 101"]);
    // A card of the stay is a copy, too.
    let Body::PutGrant(card) = grant("u3", &["101"]) else { panic!("a grant") };
    done(&mut bench, Body::PutGrant(PutGrant { reservation_key: "R1".into(), ..card })).await;
    done(&mut bench, encode("u3")).await;
    assert_eq!(calls(&bench), ["Copy u3 101"]);
    for user in ["u1", "u3"] {
        done(&mut bench, delete_grant(user)).await;
    }
    assert_eq!(calls(&bench), Vec::<String>::new(), "the stay has a key left");
    let evidence = done(&mut bench, delete_grant("u2")).await;
    assert!(evidence.key_cancelled, "{evidence:?}");
    assert_eq!(calls(&bench), ["check out 101"]);
}

#[tokio::test(start_paused = true)]
async fn nobody_without_a_number_gets_a_key_and_nothing_is_sent() {
    let mut bench = bench();
    let id = bench.give(Body::PutGrant(mobile("u1", " "))).await;
    let error = bench.until(id, CommandState::Failed).await.error.expect("an error");
    assert_eq!(error.code, "cannot_create_requested_access_methods");
    assert!(error.message.contains("phone_number"), "{}", error.message);
    assert_eq!(calls(&bench), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_certainly_was_not_sent_is_refused_or_tried_again() {
    let mut bench = bench();
    bench.system.site().script.push_back(Script::Refuse("invalid_input", Retry::Never));
    let id = bench.give(Body::PutGrant(mobile("u1", "+431"))).await;
    assert_eq!(bench.until(id, CommandState::Failed).await.error.expect("an error").code, "invalid_input");
    bench.system.site().script.push_back(Script::Refuse("uncategorized_error", Retry::Later));
    done(&mut bench, again("u1", "+431", 2, 48)).await;
    assert_eq!(calls(&bench), ["send New +431 101"; 3]);
    assert_eq!(bench.system.site().sent["+431"], 1);
}

/// A first key for a phone whose answer was lost.
async fn doubtful() -> (Bench, CommandId) {
    let mut bench = bench();
    bench.system.site().script.push_back(Script::SilentDone);
    let id = bench.give(Body::PutGrant(mobile("u1", "+431"))).await;
    bench.until(id, CommandState::InDoubt).await;
    (bench, id)
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_in_doubt_and_nothing_is_sent_twice() {
    let (bench, id) = doubtful().await;
    bench.wait(Duration::from_secs(3600)).await;
    let mut bench = bench.kill_and_restart().await;
    bench.wait(Duration::from_secs(3600)).await;
    assert_eq!(bench.system.site().sent["+431"], 1);
    assert_ne!(bench.last(id).map(|update| update.state()), Some(CommandState::Succeeded), "time proves nothing");
    // The stay may have begun, so that others of it get copies.
    done(&mut bench, Body::PutGrant(mobile("u2", "+432"))).await;
    assert_eq!(calls(&bench), ["send New +431 101", "send Copy +432 101"]);
    say(&bench, id, DoubtVerdict::Done).await;
    bench.until(id, CommandState::Succeeded).await;
    // What it wished stands: the same wish again asks for nothing, a longer one for the newer key.
    done(&mut bench, again("u1", "+431", 2, 48)).await;
    assert_eq!(calls(&bench), Vec::<String>::new());
    done(&mut bench, again("u1", "+431", 3, 50)).await;
    assert_eq!(calls(&bench), ["change stay 101", "send Copy +431 101"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_did_not_come_is_a_new_one_when_it_is_asked_for_again() {
    let (mut bench, id) = doubtful().await;
    say(&bench, id, DoubtVerdict::NotDone).await;
    bench.until(id, CommandState::Failed).await;
    done(&mut bench, again("u1", "+431", 2, 48)).await;
    assert_eq!(calls(&bench), ["send New +431 101"; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_doubt_given_up_ends_the_stay_that_may_have_begun() {
    let (bench, id) = doubtful().await;
    say(&bench, id, DoubtVerdict::Unsure).await;
    bench.until(id, CommandState::Abandoned).await;
    bench.wait(Duration::from_secs(60)).await;
    assert_eq!(calls(&bench), ["send New +431 101", "check out 101"]);
}

#[tokio::test(start_paused = true)]
async fn killed_while_a_key_was_sent_the_phone_may_have_it() {
    let mut bench = bench();
    bench.system.site().script.push_back(Script::Slow(Duration::from_secs(20)));
    let id = bench.give(Body::PutGrant(mobile("u1", "+431"))).await;
    while bench.system.site().calls.is_empty() {
        bench.wait(Duration::from_millis(50)).await;
    }
    let mut bench = bench.kill_and_restart().await;
    bench.until(id, CommandState::InDoubt).await;
    done(&mut bench, Body::PutGrant(mobile("u2", "+432"))).await;
    assert_eq!(calls(&bench), ["send New +431 101", "send Copy +432 101"]);
    // What may have been sent is taken away with the rest.
    done(&mut bench, delete_grant("u2")).await;
    assert_eq!(calls(&bench), Vec::<String>::new());
    done(&mut bench, delete_grant("u1")).await;
    assert_eq!(calls(&bench), ["check out 101"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_for_a_later_stay_is_sent_when_it_begins() {
    let mut bench = bench();
    let put = mobile("u1", "+431");
    let id = bench.give(Body::PutGrant(PutGrant { starts_at_ms: START + 2 * HOUR, ..put })).await;
    bench.wait(Duration::from_secs(3600)).await;
    assert_eq!(calls(&bench), Vec::<String>::new(), "the room may be another guest's");
    bench.wait(Duration::from_secs(3600 + 900)).await;
    bench.until(id, CommandState::Succeeded).await;
    assert_eq!(calls(&bench), ["send New +431 101"]);
}

#[tokio::test(start_paused = true)]
async fn who_is_let_in_again_gets_the_key_again() {
    let mut bench = bench();
    done(&mut bench, Body::PutGrant(mobile("u1", "+431"))).await;
    for suspended in [true, false] {
        done(&mut bench, Body::SuspendUser(SuspendUser { user_id: "u1".into(), suspended })).await;
    }
    assert_eq!(calls(&bench), ["send New +431 101", "check out 101", "send New +431 101"]);
}

#[tokio::test(start_paused = true)]
async fn a_room_of_another_stay_is_not_taken_from_it() {
    let mut bench = bench();
    done(&mut bench, Body::PutGrant(mobile("u1", "+431"))).await;
    let other = PutGrant { reservation_key: "R2".into(), ..mobile("u2", "+432") };
    let id = bench.give(Body::PutGrant(other)).await;
    assert_eq!(bench.until(id, CommandState::Failed).await.error.expect("an error").code, "room_occupied");
    assert_eq!(calls(&bench), ["send New +431 101"]);
}
