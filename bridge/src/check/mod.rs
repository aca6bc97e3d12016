//! `lockbridge check`: the whole way from this machine to the cloud and to every lock system, one file a check.
//!
//! Promises: every check is bounded in time, names what it saw and what to do next; a check that cannot get at its own
//! subject says so and skips, so that one cause fails one check. Uses the daemon's own dialer, configuration and adapters,
//! and works beside a running daemon, without one, and as a user who may not read the keys. Never: writes a card or a
//! record, changes the daemon's state, tells a secret.

mod clock;
mod cloud;
mod cloud_answer;
mod cloud_name;
mod cloud_proxy;
mod cloud_route;
mod cloud_session;
mod cloud_tls;
mod context;
mod daemon;
mod disk_flush;
mod disk_space;
mod encoder;
mod finding;
mod identity;
mod line;
mod line_held;
mod line_probe;
mod line_words;
mod lock_address;
mod lock_answer;
mod lock_clock;
mod lock_licence;
mod lock_login;
mod lock_system;
mod serial;
mod state_key;
mod unit;
mod version;

use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};

pub use cloud::{Cloud, Trust};
pub use context::{Context, Daemon};
pub use finding::{Finding, Outcome, Verdict};

/// The longest way has steps that end before this (name 5 s, addresses 7 s, proxy 10 s, TLS 10 s, answer 20 s), and all
/// checks run at the same time.
const LIMIT: Duration = Duration::from_secs(55);

/// One check.
#[derive(Clone, Copy)]
pub struct Check {
    /// Stable name for machines and for `--only`.
    pub id: &'static str,
    /// What holds when it is ok, as one sentence.
    pub description: &'static str,
    /// Gives a verdict for each subject.
    look: for<'context> fn(&'context Context) -> BoxFuture<'context, Vec<Verdict>>,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Check").field("id", &self.id).finish_non_exhaustive()
    }
}

/// All checks, hop by hop from here to the guest's card.
pub const CHECKS: &[Check] = &[
    version::CHECK,
    disk_space::CHECK,
    disk_flush::CHECK,
    state_key::CHECK,
    unit::CHECK,
    daemon::CHECK,
    cloud_name::CHECK,
    cloud_route::CHECK,
    cloud_proxy::CHECK,
    cloud_tls::CHECK,
    cloud_answer::CHECK,
    clock::CHECK,
    identity::CHECK,
    cloud_session::CHECK,
    lock_address::CHECK,
    lock_answer::CHECK,
    lock_login::CHECK,
    lock_licence::CHECK,
    lock_clock::CHECK,
    encoder::CHECK,
    serial::CHECK,
    line::CHECK,
];

/// Runs the checks named in `only`, or all when it is empty; findings in the order of [`CHECKS`]. Ends within a minute.
pub async fn run(context: &Context, only: &[String]) -> Vec<Finding> {
    let wanted = CHECKS.iter().filter(|check| only.is_empty() || only.iter().any(|id| id == check.id));
    let findings = wanted.map(|check| async move {
        let verdicts = tokio::time::timeout(LIMIT, (check.look)(context)).await;
        let verdicts = verdicts.unwrap_or_else(|_| {
            let seconds = LIMIT.as_secs();
            vec![Verdict::failed(
                format!("nothing is known after {seconds} s"),
                "Run it alone with `--only`, and look at the load of this machine.",
            )]
        });
        verdicts.into_iter().map(|verdict| verdict.of_check(check)).collect::<Vec<_>>()
    });
    join_all(findings).await.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_every_check_is_described() {
        let mut ids: Vec<_> = CHECKS.iter().map(|check| check.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), CHECKS.len());
        assert!(CHECKS.iter().all(|check| check.description.ends_with('.')));
    }
}
