//! The command line as an admin meets it, without a daemon.
#![allow(clippy::expect_used, reason = "a test ends where its premise fails")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const SMALL: &str = r#"
[lock_system.main]
kind = "salto_space"
time_zone = "Europe/Madrid"
host = "192.0.2.20"
port = 8050
encoders = ["Front desk 1"]
"#;

struct Site(tempfile::TempDir);

impl Site {
    fn new(lock_system: &str) -> Self {
        let site = Self(tempfile::tempdir().expect("a temporary folder"));
        let folder = site.0.path().display();
        let head = format!(
            "[bridge]\nstate_directory = \"{folder}/state\"\ncontrol_socket = \"{folder}/control.sock\"\n\
             policy_file = \"{folder}/policy.toml\"\n[health]\naddress = \"127.0.0.1:0\"\n"
        );
        std::fs::write(site.file(), format!("{head}{lock_system}")).expect("written");
        std::fs::write(site.0.path().join("policy.toml"), "version = 1\n[systems.\"*\"]\nallow = [\"*\"]\n")
            .expect("written");
        site
    }

    fn file(&self) -> std::path::PathBuf {
        self.0.path().join("bridge.toml")
    }

    fn lockbridge(&self, arguments: &[&str], input: &str) -> Output {
        run(&self.file(), arguments, input)
    }
}

fn run(file: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lockbridge"))
        .arg("--config")
        .arg(file)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // A command that reads no input may be gone already.
    let _closed = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn help_names_every_command_and_usage_errors_end_with_2() {
    let help = Command::new(env!("CARGO_BIN_EXE_lockbridge")).arg("--help").output().expect("runs");
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(help.status.success());
    for command in ["enroll", "run", "config", "status", "queue", "doubt", "encode", "brake"] {
        assert!(text.contains(&format!("  {command} ")), "{command} is not in:\n{text}");
    }
    let unknown = Command::new(env!("CARGO_BIN_EXE_lockbridge")).arg("unlock").output().expect("runs");
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn a_good_configuration_is_confirmed_and_shown_with_origins() {
    let site = Site::new(SMALL);
    let check = site.lockbridge(&["config", "check"], "");
    assert!(check.status.success(), "{}", stderr(&check));
    let show = site.lockbridge(&["config", "show", "--json"], "");
    let values: serde_json::Value = serde_json::from_slice(&show.stdout).expect("JSON");
    let port =
        values.as_array().expect("rows").iter().find(|row| row["key"] == "lock_system.main.port").expect("shown");
    assert_eq!(port["value"], "8050");
    assert!(port["origin"].as_str().expect("text").ends_with("bridge.toml"));
}

#[test]
fn a_bad_configuration_ends_with_78_and_names_every_mistake() {
    let site = Site::new(&SMALL.replace("8050", "\"eighty\"").replace("time_zone", "timezone"));
    for command in [&["config", "check"][..], &["run"], &["status"], &["enroll"]] {
        let output = site.lockbridge(command, "");
        assert_eq!(output.status.code(), Some(78), "{command:?}: {}", stderr(&output));
        let text = stderr(&output);
        for part in ["lock_system.main.port", "lock_system.main.timezone", "lock_system.main.time_zone"] {
            assert!(text.contains(part), "{command:?} does not name {part}:\n{text}");
        }
    }
}

#[test]
fn without_a_daemon_the_answer_says_so_with_69() {
    let site = Site::new(SMALL);
    for command in [&["status"][..], &["queue"], &["doubt"], &["encode", "grant"], &["brake", "on"]] {
        let output = site.lockbridge(command, "");
        assert_eq!(output.status.code(), Some(69), "{command:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("control.sock"), "{}", stderr(&output));
    }
    let json = site.lockbridge(&["status", "--json"], "");
    let value: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON also for failures");
    assert_eq!(value["error"]["code"], "not_running");
}

#[test]
fn an_identity_that_cannot_be_used_ends_with_77() {
    let site = Site::new(SMALL);
    std::fs::create_dir_all(site.0.path().join("state/identity")).expect("made");
    std::fs::write(site.0.path().join("state/identity/identity.json"), "{").expect("written");
    let output = site.lockbridge(&["run"], "");
    assert_eq!(output.status.code(), Some(77), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("identity.json") && stderr(&output).contains("enroll again"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_wrong_token_is_refused_by_the_part_that_is_wrong() {
    let site = Site::new(SMALL);
    let hash = "ab".repeat(32);
    for (token, part) in [
        ("", "empty"),
        ("hello", "3"),
        (&format!("http://cloud.example.com#{hash}#{}", "A".repeat(43)), "hub address"),
        (&format!("https://cloud.example.com#{}#{}", "zz", "A".repeat(43)), "CA key hash"),
        (&format!("https://cloud.example.com#{hash}#short"), "secret"),
    ] {
        let output = site.lockbridge(&["enroll"], token);
        assert_eq!(output.status.code(), Some(1), "{token}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{token} should name {part:?}: {}", stderr(&output));
        assert!(!stderr(&output).contains(&"A".repeat(43)), "the secret is not repeated");
    }
}

#[test]
fn enrollment_is_refused_where_the_disk_is_too_small() {
    let site = Site::new(&format!("[storage]\naudit_retention_mib = 1048576\ndisk_reserve_mib = 65536\n{SMALL}"));
    let output = site.lockbridge(&["enroll"], "a token that is never read");
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(74), "this test needs a disk with less than 1.1 TiB free: {text}");
    assert!(text.contains("MiB free") && text.contains("audit_retention_mib"), "{text}");
    assert!(!site.0.path().join("state/identity").exists(), "nothing was begun");
}
