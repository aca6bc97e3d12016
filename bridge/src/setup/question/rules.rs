//! Rules that answers have to keep; a refusal says what would do.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::setup::Answers;
use crate::setup::answers::list;

pub(super) fn one_line(text: &str) -> Result<(), String> {
    match text.trim() {
        "" => Err("it is empty".to_owned()),
        line if line.chars().any(char::is_control) => Err("it holds control characters".to_owned()),
        _ => Ok(()),
    }
}

pub(super) fn one_of(text: &str, words: &[&str]) -> Result<(), String> {
    if words.contains(&text) { Ok(()) } else { Err(format!("{text:?} is not one of {}", words.join(", "))) }
}

pub(super) fn short_name(text: &str) -> Result<(), String> {
    let fits = (1..=32).contains(&text.len())
        && text.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-');
    if fits { Ok(()) } else { Err(format!("{text:?} is not 1 to 32 of a-z, 0-9 and '-'")) }
}

pub(super) fn host(text: &str) -> Result<(), String> {
    let named = text.parse::<Ipv6Addr>().is_ok() || url::Host::parse(text).is_ok();
    if named && !text.contains([' ', '/', ':']) || text.parse::<Ipv6Addr>().is_ok() {
        Ok(())
    } else {
        Err(format!("{text:?} is no host; give the name or the address alone, without port"))
    }
}

pub(super) fn port(text: &str) -> Result<(), String> {
    match text.parse::<u16>() {
        Ok(1..) => Ok(()),
        _ => Err(format!("{text:?} is no TCP port; it is a number from 1 to 65535")),
    }
}

/// Our own address and port. Port 0 would be another one at every start.
pub(super) fn own_address(text: &str) -> Result<(), String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() > 0 => Ok(()),
        _ => Err(format!("{text:?} is not an address of this machine with a port, as 192.0.2.10:5003")),
    }
}

/// Addresses with commas between them; at least one.
pub(super) fn addresses(text: &str) -> Result<(), String> {
    let addresses = list(text);
    match addresses.iter().find(|address| address.parse::<IpAddr>().is_err()) {
        Some(wrong) => Err(format!("{wrong:?} is no address; names and ports do not belong here")),
        None if addresses.is_empty() => Err("it names no address; without one nobody may connect".to_owned()),
        None => Ok(()),
    }
}

pub(super) fn yes_or_no(text: &str) -> Result<(), String> {
    one_of(text, &["yes", "no", "true", "false"])
}

/// Names with commas between them: at least one, each once, each good for the protocol.
pub(super) fn names(names: &[String], problem: impl Fn(&str) -> Option<String>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in names {
        if let Some(problem) = problem(name) {
            return Err(problem);
        }
        if !seen.insert(name) {
            return Err(format!("{name:?} is named twice"));
        }
    }
    if names.is_empty() { Err("at least one is needed".to_owned()) } else { Ok(()) }
}

pub(super) fn always(_: &Answers) -> bool {
    true
}
