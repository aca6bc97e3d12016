//! SALTO Space over SHIP.

use url::Url;

use super::rules::{host, one_line, one_of, port};
use super::{Group, Question};
use crate::setup::Answers;

/// In the order in which they are asked.
pub(super) const SALTO_SPACE: &[Question] = &[
    Question {
        key: "transport",
        source: "transport",
        flag: "transport",
        group: Group::LockSystem,
        prompt: "How SHIP is reached: stp (raw TCP) or http",
        wanted: is_space,
        default: |_| Some("stp".to_owned()),
        check: |_, text| one_of(text, &["stp", "http"]),
        ..Question::PLAIN
    },
    Question {
        key: "host",
        source: "host",
        flag: "host",
        group: Group::LockSystem,
        prompt: "Name or address of the SALTO Space server",
        wanted: |answers| is_space(answers) && answers.is("transport", "stp"),
        check: |_, text| host(text),
        ..Question::PLAIN
    },
    Question {
        key: "port",
        source: "port",
        flag: "port",
        group: Group::LockSystem,
        prompt: "Port of SHIP (System > General options > SHIP)",
        wanted: |answers| is_space(answers) && answers.is("transport", "stp"),
        check: |_, text| port(text),
        ..Question::PLAIN
    },
    Question {
        key: "url",
        source: "url",
        flag: "url",
        group: Group::LockSystem,
        prompt: "Address of the web server of Space, as https://192.0.2.20:8100",
        wanted: |answers| is_space(answers) && answers.is("transport", "http"),
        check: |_, text| web_address(text),
        ..Question::PLAIN
    },
    Question {
        key: "certificate_sha256",
        source: "certificate_sha256",
        flag: "certificate-sha256",
        group: Group::LockSystem,
        prompt: "SHA-256 of the web server's certificate (64 hexadecimal digits)",
        wanted: |answers| is_space(answers) && answers.text("url").is_some_and(|url| url.starts_with("https:")),
        check: |_, text| certificate_hash(text),
        ..Question::PLAIN
    },
    Question {
        key: "authentication",
        source: "authentication",
        flag: "authentication",
        group: Group::LockSystem,
        prompt: "Authentication of the SHIP tab: none, basic or custom",
        wanted: |answers| is_space(answers) && answers.is("transport", "http"),
        default: |_| Some("none".to_owned()),
        check: |_, text| one_of(text, &["none", "basic", "custom"]),
        ..Question::PLAIN
    },
    Question {
        key: "user",
        source: "user",
        flag: "user",
        group: Group::LockSystem,
        prompt: "User of the SHIP tab",
        wanted: |answers| is_space(answers) && answers.is("authentication", "basic"),
        check: |_, text| one_line(text),
        ..Question::PLAIN
    },
    Question {
        key: "password",
        source: "password_file",
        flag: "password-file",
        group: Group::LockSystem,
        prompt: "Password of the SHIP tab",
        wanted: |answers| is_space(answers) && answers.is("authentication", "basic"),
        check: |_, text| one_line(text),
        is_secret: true,
        ..Question::PLAIN
    },
    Question {
        key: "key",
        source: "key_file",
        flag: "key-file",
        group: Group::LockSystem,
        prompt: "Shared key of the SHIP tab",
        wanted: |answers| is_space(answers) && answers.is("authentication", "custom"),
        check: |_, text| one_line(text),
        is_secret: true,
        ..Question::PLAIN
    },
    Question {
        key: "encoders",
        source: "encoders",
        flag: "encoders",
        group: Group::Encoders,
        prompt: "Names of the encoders, spelled as in Space, with commas between them (`none` without)",
        wanted: is_space,
        check: |_, text| one_line(text),
        ..Question::PLAIN
    },
];

fn is_space(answers: &Answers) -> bool {
    answers.is("kind", "salto_space")
}

fn certificate_hash(text: &str) -> Result<(), String> {
    let digits = text.chars().filter(char::is_ascii_hexdigit).count();
    let rest = text.chars().all(|letter| letter.is_ascii_hexdigit() || letter == ':');
    if digits == 64 && rest { Ok(()) } else { Err("it is not 64 hexadecimal digits".to_owned()) }
}

fn web_address(text: &str) -> Result<(), String> {
    let good = |url: &Url| {
        matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty() && url.query().is_none()
    };
    match Url::parse(text) {
        Ok(url) if good(&url) => Ok(()),
        _ => Err(format!("{text:?} is not http://host:port or https://host:port without user and query")),
    }
}
