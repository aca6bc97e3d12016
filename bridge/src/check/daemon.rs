//! Does the daemon run?

use futures_util::FutureExt as _;

use super::{Check, Context, Daemon, Verdict};

pub(super) const CHECK: Check = Check {
    id: "daemon",
    description: "The daemon runs and answers at its control socket.",
    look: |context| async move { vec![look(context)] }.boxed(),
};

fn look(context: &Context) -> Verdict {
    match &context.daemon {
        Daemon::Answers(snapshot) => {
            let state = snapshot["state"].as_str().unwrap_or_default();
            Verdict::ok(format!("it answers and says `{state}`; `lockbridge status` says why"))
        }
        Daemon::NotRunning(problem) => Verdict::warning(
            problem,
            "Start it with `systemctl start lockbridge`, or look at `journalctl -u lockbridge`.",
        ),
        Daemon::Unknown(problem) => Verdict::skipped(problem),
    }
}
