use proptest::prelude::*;

use super::*;

const CLASSES: [EffectClass; 3] = [EffectClass::Repeatable, EffectClass::Queryable, EffectClass::Blind];
const ENDS: [End; 7] =
    [End::Succeeded, End::Failed, End::Rejected, End::Expired, End::Superseded, End::Cancelled, End::Abandoned];

type Stepped = Result<(Life, Vec<Action>), Impossible>;

fn states() -> Vec<State> {
    let mut states = vec![State::Queued, State::Asking];
    states.extend(CLASSES.map(State::Executing));
    states.extend(CLASSES.map(State::InDoubt));
    states.extend(ENDS.map(State::Ended));
    states
}

fn events() -> Vec<Event> {
    let mut events = vec![
        Event::Settled(true),
        Event::Settled(false),
        Event::Restarted,
        Event::DeadlinePassed,
        Event::Superseded,
        Event::Cancelled,
        Event::PolicyBreach,
    ];
    events.extend(CLASSES.map(Event::Begun));
    for again in [true, false] {
        for end in [
            AttemptEnd::Done,
            AttemptEnd::RefusedForNow,
            AttemptEnd::Unreachable,
            AttemptEnd::RefusedForGood,
            AttemptEnd::Lost,
        ] {
            events.push(Event::Finished { end, again });
        }
    }
    events.extend([Answer::Found, Answer::Absent, Answer::Unknown].map(Event::Answered));
    events.extend([Verdict::Done, Verdict::NotDone, Verdict::GivenUp].map(Event::Resolved));
    events
}

/// Every state with every event, with and without earlier doubt, fresh and exhausted.
fn every_step() -> impl Iterator<Item = (Life, Event, Stepped)> {
    let mut all = Vec::new();
    for state in states() {
        for event in events() {
            for uncertain in [false, true] {
                for spent in [0, ATTEMPTS_REPEATABLE - 1] {
                    for queries in [0, ATTEMPTS_QUERYABLE - 1] {
                        let life = Life { state, attempt: 1, spent, queries, uncertain };
                        all.push((life, event, step(life, event)));
                    }
                }
            }
        }
    }
    all.into_iter()
}

#[test]
fn nothing_leaves_an_end() {
    for (life, event, result) in every_step() {
        if matches!(life.state, State::Ended(_)) {
            assert_eq!(result, Err(Impossible { state: life.state, event }));
        }
    }
}

#[test]
fn exactly_the_drawn_transitions_exist() {
    let allowed = |state: State, event: Event| match state {
        State::Queued => !matches!(event, Event::Finished { .. } | Event::Answered(_) | Event::Resolved(_)),
        State::Executing(_) => matches!(event, Event::Finished { .. } | Event::Restarted),
        State::Asking => matches!(event, Event::Answered(_) | Event::Restarted),
        State::InDoubt(_) => matches!(event, Event::Resolved(_) | Event::Restarted),
        State::Ended(_) => false,
    };
    for (life, event, result) in every_step() {
        assert_eq!(result.is_ok(), allowed(life.state, event), "{life:?} {event:?}");
    }
}

#[test]
fn each_step_changes_what_it_names_and_nothing_else() {
    use {AttemptEnd as A, EffectClass as C, Event as E, State as S};
    let from = Life { state: S::Queued, attempt: 4, spent: 1, queries: 1, uncertain: false };
    let at = |state| Life { state, ..from };
    let unsure = |state| Life { uncertain: true, ..at(state) };
    let finished = |end, again| E::Finished { end, again };
    let ended = |end| (at(S::Ended(end)), vec![Action::RecordOutcome(end)]);
    let again = |life: Life, counted| (life, vec![Action::RecordRequeue { counted }]);
    let in_doubt = |class| (unsure(S::InDoubt(class)), vec![Action::RecordDoubt]);
    let last = |life: Life| Life { spent: ATTEMPTS_REPEATABLE - 1, ..life };
    let rows = [
        (
            from,
            E::Begun(C::Blind),
            (Life { attempt: 5, queries: 0, ..at(S::Executing(C::Blind)) }, vec![Action::RecordIntent]),
        ),
        (from, E::Settled(true), ended(End::Succeeded)),
        (from, E::Settled(false), ended(End::Failed)),
        (from, E::Superseded, ended(End::Superseded)),
        (
            unsure(S::Queued),
            E::Superseded,
            (unsure(S::Ended(End::Superseded)), vec![Action::RecordOutcome(End::Superseded)]),
        ),
        (from, E::DeadlinePassed, ended(End::Expired)),
        (unsure(S::Queued), E::DeadlinePassed, in_doubt(C::Repeatable)),
        (from, E::Restarted, (from, vec![])),
        (at(S::Executing(C::Repeatable)), finished(A::Done, true), ended(End::Succeeded)),
        (at(S::Executing(C::Repeatable)), finished(A::Unreachable, true), again(from, false)),
        (at(S::Executing(C::Blind)), finished(A::Unreachable, false), ended(End::Failed)),
        (at(S::Executing(C::Repeatable)), finished(A::RefusedForNow, true), again(Life { spent: 2, ..from }, true)),
        (at(S::Executing(C::Repeatable)), finished(A::RefusedForNow, false), ended(End::Failed)),
        (
            last(at(S::Executing(C::Repeatable))),
            finished(A::RefusedForNow, true),
            (last(at(S::Ended(End::Failed))), vec![Action::RecordOutcome(End::Failed)]),
        ),
        (at(S::Executing(C::Repeatable)), finished(A::RefusedForGood, true), ended(End::Failed)),
        (unsure(S::Executing(C::Repeatable)), finished(A::RefusedForGood, true), in_doubt(C::Repeatable)),
        (at(S::Executing(C::Repeatable)), finished(A::Lost, true), again(Life { spent: 2, ..unsure(S::Queued) }, true)),
        (at(S::Executing(C::Repeatable)), finished(A::Lost, false), in_doubt(C::Repeatable)),
        (
            last(at(S::Executing(C::Repeatable))),
            finished(A::Lost, true),
            (last(unsure(S::InDoubt(C::Repeatable))), vec![Action::RecordDoubt]),
        ),
        (at(S::Executing(C::Queryable)), finished(A::Lost, true), (unsure(S::Asking), vec![Action::Ask])),
        (at(S::Executing(C::Blind)), finished(A::Lost, true), in_doubt(C::Blind)),
        (at(S::Executing(C::Repeatable)), E::Restarted, again(unsure(S::Queued), false)),
        (unsure(S::Executing(C::Repeatable)), E::Restarted, again(unsure(S::Queued), false)),
        (at(S::Executing(C::Queryable)), E::Restarted, (Life { queries: 0, ..at(S::Asking) }, vec![Action::Ask])),
        (at(S::Executing(C::Blind)), E::Restarted, in_doubt(C::Blind)),
        (
            unsure(S::Asking),
            E::Answered(Answer::Found),
            (unsure(S::Ended(End::Succeeded)), vec![Action::RecordOutcome(End::Succeeded)]),
        ),
        (unsure(S::Asking), E::Answered(Answer::Absent), again(Life { spent: 2, ..from }, true)),
        (
            unsure(S::Asking),
            E::Answered(Answer::Unknown),
            (Life { queries: 2, ..unsure(S::Asking) }, vec![Action::Ask]),
        ),
        (unsure(S::Asking), E::Restarted, (Life { queries: 0, ..unsure(S::Asking) }, vec![Action::Ask])),
        (unsure(S::InDoubt(C::Blind)), E::Restarted, (unsure(S::InDoubt(C::Blind)), vec![])),
    ];
    for (life, event, expected) in rows {
        assert_eq!(step(life, event), Ok(expected), "{life:?} {event:?}");
    }
}

#[test]
fn only_a_queued_command_begins_and_only_once_per_intent() {
    for (life, event, result) in every_step() {
        let begins = result.as_ref().is_ok_and(|(_, actions)| actions.contains(&Action::RecordIntent));
        assert_eq!(begins, life.state == State::Queued && matches!(event, Event::Begun(_)), "{life:?} {event:?}");
        if begins {
            assert_eq!(result.map(|(next, _)| next.attempt), Ok(life.attempt + 1));
        }
    }
}

#[test]
fn a_blind_attempt_never_waits_for_another_once_its_answer_is_lost() {
    for (life, event, result) in every_step() {
        let lost = matches!(event, Event::Restarted | Event::Finished { end: AttemptEnd::Lost, .. });
        if life.state == State::Executing(EffectClass::Blind) && lost {
            let (next, actions) = result.expect("drawn");
            assert_eq!(next.state, State::InDoubt(EffectClass::Blind));
            assert_eq!(actions, [Action::RecordDoubt]);
        }
    }
}

#[test]
fn failed_and_taken_back_are_said_only_without_earlier_doubt() {
    for (life, event, result) in every_step() {
        let Ok((next, _)) = result else { continue };
        let claims_nothing_happened =
            matches!(next.state, State::Ended(End::Failed | End::Expired | End::Cancelled | End::Rejected));
        if claims_nothing_happened && !matches!(event, Event::Resolved(_)) {
            assert!(!life.uncertain, "{life:?} {event:?}");
            assert!(!matches!(event, Event::Finished { end: AttemptEnd::Lost, .. }));
        }
    }
}

#[test]
fn attempts_and_queries_are_bounded() {
    let mut life = Life::NEW;
    for round in 1..=ATTEMPTS_REPEATABLE {
        (life, _) = step(life, Event::Begun(EffectClass::Repeatable)).expect("queued");
        let actions;
        (life, actions) =
            step(life, Event::Finished { end: AttemptEnd::RefusedForNow, again: true }).expect("executing");
        if round < ATTEMPTS_REPEATABLE {
            assert_eq!(actions, [Action::RecordRequeue { counted: true }]);
        } else {
            assert_eq!(actions, [Action::RecordOutcome(End::Failed)]);
        }
    }
    let mut life = Life { state: State::Asking, ..Life::NEW };
    for _ in 1..ATTEMPTS_QUERYABLE {
        (life, _) = step(life, Event::Answered(Answer::Unknown)).expect("asking");
        assert_eq!(life.state, State::Asking);
    }
    (life, _) = step(life, Event::Answered(Answer::Unknown)).expect("asking");
    assert_eq!(life.state, State::InDoubt(EffectClass::Queryable));
}

#[test]
fn a_pause_or_restart_costs_no_attempt() {
    let (executing, _) = step(Life::NEW, Event::Begun(EffectClass::Repeatable)).expect("queued");
    for event in [Event::Restarted, Event::Finished { end: AttemptEnd::Unreachable, again: true }] {
        let (next, actions) = step(executing, event).expect("executing");
        assert_eq!((next.state, next.spent), (State::Queued, 0));
        assert_eq!(actions, [Action::RecordRequeue { counted: false }]);
    }
}

#[test]
fn giving_up_compensates() {
    for class in CLASSES {
        let life = Life { state: State::InDoubt(class), attempt: 1, uncertain: true, ..Life::NEW };
        let (next, actions) = step(life, Event::Resolved(Verdict::GivenUp)).expect("in doubt");
        assert_eq!(next.state, State::Ended(End::Abandoned));
        assert_eq!(actions, [Action::RecordResolution(End::Abandoned), Action::Compensate]);
    }
}

proptest! {
    /// Along any way a blind command is begun at most once unless an attempt was certainly without effect.
    #[test]
    fn a_blind_effect_happens_at_most_once(choices in prop::collection::vec(0..26usize, 0..60)) {
        let events = events();
        let mut life = Life::NEW;
        let mut maybe_effects = 0;
        for choice in choices {
            let event = match events[choice % events.len()] {
                Event::Begun(_) => Event::Begun(EffectClass::Blind),
                other => other,
            };
            let before = life;
            let Ok((next, _)) = step(life, event) else { continue };
            match event {
                Event::Begun(_) => maybe_effects += 1,
                Event::Finished { end, .. } if !matches!(end, AttemptEnd::Done | AttemptEnd::Lost) => {
                    // Certainly without effect.
                    maybe_effects -= 1;
                }
                _ => {}
            }
            prop_assert!(maybe_effects <= 1, "{before:?} {event:?}");
            life = next;
        }
    }
}
