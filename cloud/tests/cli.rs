//! The cloud's command line as an operator meets it.
#![allow(clippy::expect_used, reason = "a test ends where its premise fails")]

use std::process::{Command, Output};

fn cloud(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lockbridge-cloud")).args(arguments).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_names_every_command() {
    let help = cloud(&["--help"]);
    assert!(help.status.success());
    for command in ["serve", "workspace", "api-key", "enrollment-token", "bridge"] {
        assert!(text(&help.stdout).contains(command), "{command} is not in:\n{}", text(&help.stdout));
    }
}

#[test]
fn a_workspace_gets_keys_and_unknown_ones_do_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().to_str().expect("text");
    let made = cloud(&["workspace", "create", "--data", data, "--name", "Example"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let workspace = text(&made.stdout).trim().to_owned();
    let key = cloud(&["api-key", "create", "--data", data, "--workspace", &workspace]);
    assert!(text(&key.stdout).starts_with("seam_"), "{}", text(&key.stderr));
    let unknown = cloud(&["api-key", "create", "--data", data, "--workspace", "nobody"]);
    assert!(!unknown.status.success());
    assert!(text(&unknown.stderr).contains("nobody"), "the error names what was asked: {}", text(&unknown.stderr));
    let early = cloud(&["enrollment-token", "create", "--data", data, "--workspace", &workspace]);
    assert!(!early.status.success(), "no token before the hub's address is known");
    assert!(text(&early.stderr).contains("serve"), "{}", text(&early.stderr));
}
