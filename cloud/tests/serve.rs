//! A running server, and the commands that work beside it.
#![allow(clippy::expect_used, reason = "a test ends where its premise fails")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(30);

fn cloud(arguments: &[&str], data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockbridge-cloud"));
    command.args(arguments).arg("--data").arg(data);
    command
}

fn run(arguments: &[&str], data: &Path) -> Output {
    cloud(arguments, data).output().expect("starts")
}

/// The one line that a successful command prints.
fn line(arguments: &[&str], data: &Path) -> String {
    let output = run(arguments, data);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("is text").trim_end().to_owned()
}

fn failure(arguments: &[&str], data: &Path) -> String {
    let output = run(arguments, data);
    assert!(!output.status.success(), "{arguments:?} succeeded");
    assert!(output.stdout.is_empty(), "what fails prints no data");
    String::from_utf8(output.stderr).expect("is text")
}

/// A server that is killed if the test fails.
struct Server {
    child: Child,
    ready: serde_json::Value,
}

impl Server {
    fn start(data: &Path) -> Self {
        let listen = ["serve", "--hub-listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0", "--exit-with-stdin"];
        let mut child = cloud(&listen, data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("is piped")).read_line(&mut line).expect("is ready");
        Self { child, ready: serde_json::from_str(&line).expect("is one JSON object") }
    }

    /// Closes its stdin and waits for a clean end.
    fn end(mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.child.try_wait().expect("can be asked") {
                Some(status) => return assert!(status.success(), "{status}"),
                None => assert!(Instant::now() < deadline, "the server outlived its stdin"),
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails when it has ended already, which is as well.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn a_workspace_is_set_up_beside_a_running_server() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path();
    let server = Server::start(data);
    let text = |key: &str| server.ready[key].as_str().unwrap_or_default().to_owned();
    let port = text("hub_address").rsplit_once(':').expect("has a port").1.to_owned();
    assert_ne!(port, "0");
    assert_eq!(text("hub_url"), format!("https://localhost:{port}"));
    assert!(text("api_url").starts_with("https://localhost:"));
    assert!(Path::new(&text("ca_file")).is_file());

    let workspace = line(&["workspace", "create", "--name", "Hotel"], data);
    assert!(line(&["api-key", "create", "--workspace", &workspace], data).starts_with("seam_"));
    let token = line(&["enrollment-token", "create", "--workspace", &workspace, "--site", "Main"], data);
    let token = lockbridge_protocol::enrollment::EnrollmentToken::parse(&token).expect("is a token");
    assert_eq!(token.hub_url, text("hub_url"));
    assert_eq!(line(&["bridge", "list"], data), "");

    let second = failure(&["serve", "--hub-listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"], data);
    assert!(second.contains("another lockbridge-cloud serves"), "{second}");
    server.end();
}

#[test]
fn mistakes_are_named_with_the_next_step() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path();
    let unknown = failure(&["bridge", "revoke", "nope"], data);
    assert!(unknown.contains("there is no bridge nope"), "{unknown}");
    let workspace = line(&["workspace", "create", "--name", "Hotel"], data);
    let plain = ["enrollment-token", "create", "--workspace", &workspace, "--hub-url", "http://hub.example.com"];
    let plain = failure(&plain, data);
    assert!(plain.contains("https://"), "{plain}");
    let long = failure(&["enrollment-token", "create", "--workspace", &workspace, "--life", "25h"], data);
    assert!(long.contains("at most 24h"), "{long}");
}
