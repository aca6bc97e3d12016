//! Are program and daemon of the same version?

use futures_util::FutureExt as _;
use lockbridge_protocol::journal::FORMAT_VERSIONS;

use super::{Check, Context, Verdict};

pub(super) const CHECK: Check = Check {
    id: "version",
    description: "The running daemon is of the installed version.",
    look: |context| async move { vec![look(context)] }.boxed(),
};

fn look(context: &Context) -> Verdict {
    let own = env!("CARGO_PKG_VERSION");
    let kernel = nix::sys::utsname::uname();
    let kernel = kernel.as_ref().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
    let evidence = format!("lockbridge {own}, journal format {}, kernel {kernel}", FORMAT_VERSIONS.end());
    match context.daemon.snapshot().and_then(|snapshot| snapshot["bridge"]["version"].as_str()) {
        Some(running) if running != own => Verdict::warning(
            format!("{evidence}; the daemon that runs is {running}"),
            "Restart it with `systemctl restart lockbridge`: the upgrade takes effect then.",
        ),
        _ => Verdict::ok(evidence),
    }
}
