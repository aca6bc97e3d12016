//! A turn at a line that belongs to one task: a bounded queue of what is asked of it, and one moment after which an ask
//! cannot be taken back.
//!
//! Whoever asks and the owner of the line decide that moment between them with one atomic step: either the ask was taken
//! back, and certainly nothing of it went out, or it was begun, and its end is waited for without a limit (the owner has one).

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

/// Asks that wait for a line. The engine begins at most one for each encoder and lane, so this is many.
pub(super) const QUEUE: usize = 64;
/// Shortest time that an ask has for its turn.
pub(super) const LEAST_TURN: Duration = Duration::from_secs(1);

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const TAKEN_BACK: u8 = 2;

/// What is asked of a line, in its queue and while it is carried out.
#[derive(Debug)]
pub(super) struct Turn<A, O> {
    pub(super) ask: A,
    fate: Arc<AtomicU8>,
    done: oneshot::Sender<O>,
}

impl<A, O> Turn<A, O> {
    /// From now on something of it may go out. `false`: whoever asked has given up, and nothing did.
    pub(super) fn begin(&self) -> bool {
        self.fate.compare_exchange(WAITING, BEGUN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Tells what became of it. Whoever asked may be gone; then nobody is told, and the engine has it in doubt.
    pub(super) fn end(self, outcome: O) {
        drop(self.done.send(outcome));
    }

    /// Begun and ended in one: nothing of it goes out.
    pub(super) fn refuse(self, outcome: O) {
        if self.begin() {
            self.end(outcome);
        }
    }
}

/// Takes an ask back when whoever asked goes away before it has begun.
struct Claim(Arc<AtomicU8>);

impl Claim {
    fn take_back(&self) -> bool {
        self.0.compare_exchange(WAITING, TAKEN_BACK, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.take_back();
    }
}

/// How the wait for a turn ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Waited<O> {
    /// The owner of the line told the end.
    Ended(O),
    /// The turn did not come in time. Certainly nothing was sent.
    NotInTime,
    /// The owner of the line is gone, and certainly nothing was sent.
    NobodyThere,
    /// The owner of the line went away after it had begun: what became of the ask is not known.
    Abandoned,
}

/// Queues an ask and waits for its end. It begins before `begin_by` or never.
pub(super) async fn wait<A, O>(turns: &mpsc::Sender<Turn<A, O>>, ask: A, begin_by: Instant) -> Waited<O> {
    let fate = Arc::new(AtomicU8::new(WAITING));
    let claim = Claim(Arc::clone(&fate));
    let (done, mut ended) = oneshot::channel();
    match timeout_at(begin_by, turns.send(Turn { ask, fate, done })).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return Waited::NobodyThere,
        Err(_) => return Waited::NotInTime,
    }
    let told = match timeout_at(begin_by, &mut ended).await {
        Ok(told) => told,
        Err(_) if claim.take_back() => return Waited::NotInTime,
        Err(_) => ended.await,
    };
    match told {
        Ok(outcome) => Waited::Ended(outcome),
        Err(_) if claim.take_back() => Waited::NobodyThere,
        Err(_) => Waited::Abandoned,
    }
}

/// Refuses everything that waits: nobody waits in vain for a line that does not open. `Break`: nobody can ask any more.
pub(super) fn refuse_waiting<A, O>(turns: &mut mpsc::Receiver<Turn<A, O>>, outcome: impl Fn() -> O) -> ControlFlow<()> {
    loop {
        match turns.try_recv() {
            Ok(turn) => turn.refuse(outcome()),
            Err(TryRecvError::Empty) => return ControlFlow::Continue(()),
            Err(TryRecvError::Disconnected) => return ControlFlow::Break(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    type Turns = (mpsc::Sender<Turn<&'static str, u8>>, mpsc::Receiver<Turn<&'static str, u8>>);

    fn queue(length: usize) -> Turns {
        mpsc::channel(length)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_begun_is_waited_for_beyond_its_limit() {
        let (turns, mut owner) = queue(1);
        let carry_out = async {
            let turn = owner.recv().await.expect("an ask");
            assert_eq!(turn.ask, "a key");
            assert!(turn.begin());
            tokio::time::sleep(Duration::from_secs(60)).await;
            turn.end(7);
        };
        let (waited, ()) = tokio::join!(wait(&turns, "a key", soon()), carry_out);
        assert_eq!(waited, Waited::Ended(7));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_begun_in_time_never_begins() {
        let (turns, mut owner) = queue(1);
        assert_eq!(wait(&turns, "a key", soon()).await, Waited::NotInTime);
        assert!(!owner.recv().await.expect("it is still in the queue").begin());
        // A full queue is waited for no longer either, and nothing of it is left behind.
        let waiting = wait(&turns, "first", soon());
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!(wait(&turns, "second", Instant::now()).await, Waited::NotInTime);
        assert_eq!(owner.recv().await.map(|turn| turn.ask), Some("first"));
        assert!(owner.try_recv().is_err());
    }

    #[tokio::test]
    async fn an_asker_that_goes_away_takes_its_ask_along() {
        let (turns, mut owner) = queue(2);
        assert!(wait(&turns, "a key", soon()).now_or_never().is_none());
        assert!(!owner.recv().await.expect("it is still in the queue").begin());

        // Once begun it goes on, although nobody is told its end.
        let mut waiting = Box::pin(wait(&turns, "a key", soon()));
        assert!(waiting.as_mut().now_or_never().is_none());
        let turn = owner.recv().await.expect("an ask");
        assert!(turn.begin() && !turn.begin());
        drop(waiting);
        turn.end(1);
    }

    #[tokio::test]
    async fn an_owner_that_goes_away_leaves_doubt_only_about_what_it_had_begun() {
        let (turns, mut owner) = queue(2);
        let mut begun = Box::pin(wait(&turns, "begun", soon()));
        let mut waiting = Box::pin(wait(&turns, "waiting", soon()));
        assert!(begun.as_mut().now_or_never().is_none() && waiting.as_mut().now_or_never().is_none());
        let turn = owner.recv().await.expect("an ask");
        assert!(turn.begin());
        drop((turn, owner));
        assert_eq!(begun.await, Waited::Abandoned);
        assert_eq!(waiting.await, Waited::NobodyThere);
        assert_eq!(wait(&turns, "late", soon()).await, Waited::NobodyThere);
    }

    #[tokio::test]
    async fn a_line_that_does_not_open_refuses_all_that_wait() {
        let (turns, mut owner) = queue(3);
        assert_eq!(refuse_waiting(&mut owner, || 9), ControlFlow::Continue(()));
        let mut waiting = [Box::pin(wait(&turns, "one", soon())), Box::pin(wait(&turns, "two", soon()))];
        for waiting in &mut waiting {
            assert!(waiting.as_mut().now_or_never().is_none());
        }
        assert_eq!(refuse_waiting(&mut owner, || 9), ControlFlow::Continue(()));
        for waiting in waiting {
            assert_eq!(waiting.await, Waited::Ended(9));
        }
        drop(turns);
        assert_eq!(refuse_waiting(&mut owner, || 9), ControlFlow::Break(()));
    }
}
