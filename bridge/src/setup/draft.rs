//! From answers to files: `bridge.d/*.toml` for people to read. No secret stands in them, only where it is kept.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use super::answers::list;
use super::{Answers, Keeping};

/// A bare configuration for a place without one.
const HEAD: &str = "# Made by `lockbridge setup`. What it was told stands in bridge.d beside this file.\n";

/// Names that a person still reads in one line.
const NAMES_A_LINE: usize = 12;

/// A file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub text: String,
    /// It holds a lock system, or what needs one.
    pub is_lock_system: bool,
}

impl Draft {
    /// There is a file of that name with something else in it.
    pub fn would_replace(&self) -> bool {
        std::fs::read_to_string(&self.path)
            .map_or_else(|error| error.kind() != io::ErrorKind::NotFound, |text| body(&text) != body(&self.text))
    }
}

/// What counts in a file: all but comments, which hold the day.
fn body(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with('#')).collect()
}

/// The files for these answers, beside the configuration `file`. Where the secrets are kept is named in them, not what they
/// are.
pub fn drafts(answers: &Answers, file: &Path, keeping: &Keeping, day: &str) -> Vec<Draft> {
    let folder = file.with_extension("d");
    let mut drafts = Vec::new();
    if !file.exists() {
        drafts.push(Draft { path: file.to_owned(), text: HEAD.to_owned(), is_lock_system: false });
    }
    if let Some(proxy) = answers.text("proxy").filter(|proxy| *proxy != "none") {
        let mut text = head("the way to the cloud", day);
        text.push_str("[network]\n# Asked for a way to the cloud with CONNECT; nothing else leaves this site.\n");
        line(&mut text, "proxy", proxy);
        if answers.secret("proxy_password").is_some() {
            let (key, value) = keeping.key_and_value("proxy_password", "proxy");
            line(&mut text, &key, &value);
        }
        drafts.push(Draft { path: folder.join("10-network.toml"), text, is_lock_system: false });
    }
    let name = answers.text("lock_system").unwrap_or("main");
    let text = lock_system(answers, name, keeping, day);
    drafts.push(Draft { path: folder.join(format!("20-{name}.toml")), text, is_lock_system: true });
    if let Some(desk) = answers.front_desk().filter(|_| answers.text("front_desk_transport").is_some()) {
        let text = front_desk(answers, desk, name, day);
        drafts.push(Draft { path: folder.join(format!("30-{desk}.toml")), text, is_lock_system: true });
    }
    drafts
}

fn lock_system(answers: &Answers, name: &str, keeping: &Keeping, day: &str) -> String {
    let mut text = head("one lock system", day);
    let _infallible = writeln!(text, "[lock_system.{name}]");
    for key in ["kind", "time_zone"] {
        if let Some(value) = answers.text(key) {
            line(&mut text, key, value);
        }
    }
    wire(&mut text, answers, "");
    for key in ["url", "certificate_sha256", "authentication", "user"] {
        if let Some(value) = answers.text(key) {
            line(&mut text, key, value);
        }
    }
    for key in ["password", "key"] {
        if answers.secret(key).is_some() {
            text.push_str("# Where the secret itself is: for the service only.\n");
            let (key, value) = keeping.key_and_value(key, name);
            line(&mut text, &key, &value);
        }
    }
    text.push_str(match answers.text("kind") {
        Some("fias") => "# Numbers or names as at the key service.\n",
        Some("salto_pms") => "# Spelled exactly as at the Salto server.\n",
        _ => "# Spelled exactly as in SALTO Space.\n",
    });
    names(&mut text, "encoders", &answers.encoders());
    let rooms = answers.rooms();
    if !rooms.is_empty() {
        text.push_str(
            "# A room that the cloud knows by another name: { name = \"101\", entrance = \"...\" } in its place.\n",
        );
        names(&mut text, "rooms", &rooms);
    }
    text
}

fn front_desk(answers: &Answers, name: &str, lock_system: &str, day: &str) -> String {
    let mut text = head("property software that asks for keys", day);
    let _infallible = writeln!(text, "[front_desk.{name}]");
    line(&mut text, "lock_system", lock_system);
    wire(&mut text, answers, "front_desk_");
    text.push_str(
        "# Rooms and encoders that the property software calls otherwise than the lock system does are told in `rooms` and\n\
         # `encoders`, as rooms = { \"0101\" = \"DOOR101\" }.\n",
    );
    text
}

/// The keys of a line. `prefix`: of the answers that describe it.
fn wire(text: &mut String, answers: &Answers, prefix: &str) {
    let answered = |key: &str| answers.text(&format!("{prefix}{key}"));
    for key in ["transport", "host"] {
        if let Some(value) = answered(key) {
            line(text, key, value);
        }
    }
    if let Some(port) = answered("port") {
        let _infallible = writeln!(text, "port = {port}");
    }
    for key in ["listen", "device"] {
        if let Some(value) = answered(key) {
            line(text, key, value);
        }
    }
    if let Some(allow) = answered("allow") {
        text.push_str("# Nobody else may connect.\n");
        names(text, "allow", &list(allow));
    }
    if let Some(baud) = answered("baud") {
        text.push_str("# As set at the other end.\n");
        let _infallible = writeln!(text, "baud = {baud}");
    }
    if let Some([data, parity, stop]) = answered("format").map(str::as_bytes) {
        let parity = match parity {
            b'O' => "odd",
            b'E' => "even",
            _ => "none",
        };
        let (data, stop) = (char::from(*data), char::from(*stop));
        let _infallible = writeln!(text, "data_bits = {data}\nparity = \"{parity}\"\nstop_bits = {stop}");
    }
    for key in ["acknowledges", "checksum"] {
        if answered(key).is_some() {
            let _infallible = writeln!(text, "{key} = {}", answers.is_yes(&format!("{prefix}{key}")));
        }
    }
}

/// A list, some to a line.
fn names(text: &mut String, key: &str, names: &[impl AsRef<str>]) {
    let all: Vec<String> = names.iter().map(|name| quoted(name.as_ref())).collect();
    let lines: Vec<String> = all.chunks(NAMES_A_LINE).map(|names| names.join(", ")).collect();
    let _infallible = match lines.as_slice() {
        [] | [_] => writeln!(text, "{key} = [{}]", lines.concat()),
        lines => writeln!(text, "{key} = [\n    {},\n]", lines.join(",\n    ")),
    };
}

fn head(what: &str, day: &str) -> String {
    format!(
        "# Lockbridge: {what}. Written by `lockbridge setup` on {day}; edit it as you like.\n\
         # Every key is explained in the packaged bridge.toml. After a change: `lockbridge config check`, then restart.\n"
    )
}

fn line(text: &mut String, key: &str, value: &str) {
    let _infallible = writeln!(text, "{key} = {}", quoted(value));
}

/// A TOML basic string.
pub(super) fn quoted(value: &str) -> String {
    let mut text = String::from("\"");
    for letter in value.chars() {
        match letter {
            '"' | '\\' => text.extend(['\\', letter]),
            control if control.is_control() => {
                let _infallible = write!(text, "\\u{:04X}", u32::from(control));
            }
            plain => text.push(plain),
        }
    }
    text.push('"');
    text
}
