//! The way to the cloud.

use lockbridge_protocol::enrollment::EnrollmentToken;
use url::Url;

use super::rules::{always, one_line};
use super::{Group, Question};

/// In the order in which they are asked.
pub(super) const CLOUD: &[Question] = &[
    Question {
        key: "token",
        source: "token_file",
        flag: "token-file",
        group: Group::Cloud,
        prompt: "Enrollment token from the cloud",
        wanted: |answers| answers.wants_enrollment(),
        check: |_, text| EnrollmentToken::parse(text).map(drop).map_err(|error| error.to_string()),
        is_secret: true,
        ..Question::PLAIN
    },
    Question {
        key: "name",
        source: "name",
        flag: "name",
        group: Group::Cloud,
        prompt: "Name of this machine in the cloud",
        wanted: |answers| answers.wants_enrollment(),
        default: |_| Some(crate::identity::machine::host_name()),
        check: |_, text| one_line(text),
        ..Question::PLAIN
    },
    Question {
        key: "proxy",
        source: "proxy",
        flag: "proxy",
        group: Group::Cloud,
        prompt: "HTTP proxy to the cloud, as http://proxy.example.com:3128 (`none` without)",
        wanted: always,
        default: |_| Some("none".to_owned()),
        check: |_, text| proxy(text),
        ..Question::PLAIN
    },
    Question {
        key: "proxy_password",
        source: "proxy_password_file",
        flag: "proxy-password-file",
        group: Group::Cloud,
        prompt: "Password of the proxy user",
        wanted: |answers| answers.proxy().is_some_and(|proxy| !proxy.username().is_empty()),
        check: |_, text| one_line(text),
        is_secret: true,
        ..Question::PLAIN
    },
];

fn proxy(text: &str) -> Result<(), String> {
    let good = |url: &Url| url.scheme() == "http" && url.password().is_none() && url.has_host() && url.path() == "/";
    match Url::parse(text) {
        _ if text == "none" => Ok(()),
        Ok(url) if good(&url) => Ok(()),
        _ => Err("it is not http://[user@]host:port without a password, nor `none`".to_owned()),
    }
}
