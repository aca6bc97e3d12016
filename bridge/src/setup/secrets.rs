//! How the secrets of the answers are kept: sealed for the service by systemd where it can, in files of their own elsewhere.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use secrecy::{ExposeSecret as _, SecretString};

use super::Answers;
use super::files::{FileError, replace};

/// Where systemd looks for credentials sealed for this machine.
const STORE: &str = "/etc/credstore.encrypted";
const PROGRAM: &str = "systemd-creds";
/// An update of the firmware must not lock the site out of its own secrets.
const NO_PCRS: &str = "--tpm2-pcrs=";
/// Secrets by question: whose they are, and the credential's name in the packaged unit.
const SECRETS: [(&str, &str); 3] = [
    ("proxy_password", "lockbridge.proxy-password"),
    ("password", "lockbridge.space-password"),
    ("key", "lockbridge.space-key"),
];

/// A way to keep secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keeping {
    /// In this folder, each in a file that only the service's user reads.
    Files(PathBuf),
    /// As credentials of the unit, sealed with the key of this machine.
    Sealed(Sealing),
}

/// Who seals, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealing {
    program: PathBuf,
    store: PathBuf,
}

impl Sealing {
    /// The machine's own, when it can seal.
    pub fn of_machine() -> Option<Self> {
        let sealing = Self { program: PROGRAM.into(), store: STORE.into() };
        sealing.run(&["encrypt", "--name=lockbridge.trial", NO_PCRS, "-", "-"], b"trial").is_ok().then_some(sealing)
    }

    fn seal(&self, name: &str, secret: &SecretString) -> io::Result<PathBuf> {
        if !self.store.exists() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.store)?;
        }
        let path = self.store.join(name);
        let output = path.display().to_string();
        self.run(&["encrypt", &format!("--name={name}"), NO_PCRS, "-", &output], secret.expose_secret().as_bytes())?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(path)
    }

    fn run(&self, words: &[&str], input: &[u8]) -> io::Result<()> {
        let mut child = Command::new(&self.program)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input)?;
        }
        let output = child.wait_with_output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(io::Error::other(format!("{} ends with {}: {said}", self.program.display(), output.status)))
    }
}

impl Keeping {
    /// The line of the configuration that says where the secret of this question is.
    pub(super) fn key_and_value(&self, key: &str, of: &str) -> (String, String) {
        match self {
            Self::Files(folder) => (format!("{key}_file"), path_in(folder, of).display().to_string()),
            Self::Sealed(_) => (format!("{key}_credential"), credential(key).to_owned()),
        }
    }
}

fn path_in(folder: &Path, of: &str) -> PathBuf {
    folder.join(format!("{of}.secret"))
}

fn credential(key: &str) -> &'static str {
    SECRETS.iter().find(|(known, _)| *known == key).map_or("", |(_, name)| *name)
}

/// Keeps every secret of the answers; where each is now.
pub fn store_secrets(answers: &Answers, keeping: &Keeping) -> Result<Vec<PathBuf>, FileError> {
    let name = answers.text("lock_system").unwrap_or("main");
    let mut kept = Vec::new();
    for (key, credential) in SECRETS {
        let Some(secret) = answers.secret(key) else { continue };
        let of = if key == "proxy_password" { "proxy" } else { name };
        kept.push(match keeping {
            Keeping::Files(folder) => {
                let path = path_in(folder, of);
                replace(&path, secret.expose_secret().as_bytes(), 0o600, true)
                    .map_err(|source| FileError { path: path.clone(), source })?;
                path
            }
            Keeping::Sealed(sealing) => sealing
                .seal(credential, secret)
                .map_err(|source| FileError { path: sealing.store.join(credential), source })?,
        });
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_sealed_secret_is_told_to_the_sealing_program_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        // Stands in for systemd's: notes its words, and turns what it reads into what it was told to write.
        let program = folder.path().join("seal");
        let script = format!("#!/bin/sh\necho \"$@\" >> {}/words\ntr a-z b-za > \"$5\"\n", folder.path().display());
        std::fs::write(&program, script).expect("written");
        std::fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("set");
        let secret = folder.path().join("typed");
        std::fs::write(&secret, "canary").expect("written");
        let given: BTreeMap<String, String> = [
            ("time_zone", "Europe/Madrid"),
            ("transport", "http"),
            ("url", "http://192.0.2.20"),
            ("authentication", "custom"),
            ("key_file", secret.to_str().expect("text")),
            ("encoders", "none"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        let answers = Answers::unattended(&given, true).expect("holds");
        let keeping = Keeping::Sealed(Sealing { program, store: folder.path().join("store") });
        assert_eq!(keeping.key_and_value("key", "main"), ("key_credential".into(), "lockbridge.space-key".into()));
        let kept = store_secrets(&answers, &keeping).expect("sealed");
        assert_eq!(kept, [folder.path().join("store/lockbridge.space-key")]);
        assert_eq!(std::fs::read_to_string(&kept[0]).expect("there").trim(), "dbobsz");
        assert_eq!(std::fs::metadata(&kept[0]).expect("there").permissions().mode() & 0o777, 0o600);
        let words = std::fs::read_to_string(folder.path().join("words")).expect("noted");
        assert!(words.contains("--name=lockbridge.space-key") && !words.contains("canary"), "{words}");
    }

    #[test]
    fn a_machine_that_cannot_seal_is_noticed() {
        let sealing = Sealing { program: "/bin/false".into(), store: "/nonexistent".into() };
        assert!(sealing.run(&["encrypt"], b"x").is_err());
    }
}
