//! Where is the key that seals names and private keys in the state directory?

use std::io;
use std::os::unix::fs::PermissionsExt as _;

use futures_util::FutureExt as _;

use super::{Check, Context, Verdict, cloud_proxy};
use crate::config::SecretSource;

pub(super) const CHECK: Check = Check {
    id: "state_key",
    description: "The key that seals the state directory is there and is private.",
    look: |context| async move { vec![look(context)] }.boxed(),
};

fn look(context: &Context) -> Verdict {
    let folder = &context.config.state_directory;
    match &context.config.state_key {
        // It is not read: that it is there is enough, and the daemon says at its start whether it fits.
        Some(SecretSource::Credential(name)) => Verdict::ok(format!("it comes as the systemd credential {name}")),
        Some(source @ SecretSource::File(path)) => match source.read() {
            Ok(_) => judge(path, ""),
            Err(error) if cloud_proxy::is_hidden(&error) => Verdict::skipped(error.to_string()),
            Err(error) => Verdict::failed(error.to_string(), "Check `bridge.state_key_file`."),
        },
        None => judge(&folder.join("state.key"), "; it does not stop somebody who copies the whole disk"),
    }
}

fn judge(path: &std::path::Path, note: &str) -> Verdict {
    let shown = path.display();
    match std::fs::metadata(path).map(|metadata| metadata.permissions().mode() & 0o777) {
        Ok(mode) if mode & 0o077 != 0 => Verdict::failed(
            format!("{shown} has mode {mode:03o}: others can read it"),
            format!("Run `chmod 600 {shown}`."),
        ),
        Ok(_) => Verdict::ok(format!("it lies in {shown}{note}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Verdict::skipped("it is made at the first start"),
        Err(error) => Verdict::skipped(format!("{shown}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[test]
    fn a_key_that_others_read_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.key");
        assert_eq!(judge(&path, "").outcome, Outcome::Skipped);
        std::fs::write(&path, "key").expect("written");
        for (mode, outcome) in [(0o600, Outcome::Ok), (0o640, Outcome::Failed), (0o604, Outcome::Failed)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
            assert_eq!(judge(&path, "").outcome, outcome, "{mode:o}");
        }
    }
}
