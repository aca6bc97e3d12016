//! The questions, in the order in which they are asked, with the rule for each answer.

use std::net::Ipv6Addr;
use std::path::Path;

use jiff::tz::TimeZone;
use lockbridge_protocol::enrollment::EnrollmentToken;
use url::Url;

use super::Answers;

/// Questions whose answers are verified together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// The way to the cloud.
    Cloud,
    /// The lock server and its login.
    LockSystem,
    /// The encoders.
    Encoders,
}

impl Group {
    /// In the order in which they are asked.
    pub const ALL: [Self; 3] = [Self::Cloud, Self::LockSystem, Self::Encoders];
}

/// One thing setup has to know.
#[derive(Debug)]
pub struct Question {
    /// Its name.
    pub key: &'static str,
    /// Key in an answers file: of the answer, or for a secret of the file that holds it.
    pub source: &'static str,
    /// The same as a flag, without its dashes.
    pub flag: &'static str,
    /// With which others it is verified.
    pub group: Group,
    /// As it is asked.
    pub prompt: &'static str,
    /// Whether it has to be known, after the answers before it.
    pub wanted: fn(&Answers) -> bool,
    /// What is taken when nothing is said.
    pub default: fn(&Answers) -> Option<String>,
    /// Why an answer will not do, with what would.
    pub check: fn(&Answers, &str) -> Result<(), String>,
    /// Not shown while it is typed, and read from a file (`<key>_file`) when nobody is asked.
    pub is_secret: bool,
}

const fn no_default(_: &Answers) -> Option<String> {
    None
}

fn always(_: &Answers) -> bool {
    true
}

/// All questions.
pub const QUESTIONS: &[Question] = &[
    Question {
        key: "token",
        source: "token_file",
        flag: "token-file",
        group: Group::Cloud,
        prompt: "Enrollment token from the cloud",
        wanted: |answers| answers.wants_enrollment(),
        default: no_default,
        check: |_, text| EnrollmentToken::parse(text).map(drop).map_err(|error| error.to_string()),
        is_secret: true,
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
        is_secret: false,
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
        is_secret: false,
    },
    Question {
        key: "proxy_password",
        source: "proxy_password_file",
        flag: "proxy-password-file",
        group: Group::Cloud,
        prompt: "Password of the proxy user",
        wanted: |answers| answers.proxy().is_some_and(|proxy| !proxy.username().is_empty()),
        default: no_default,
        check: |_, text| one_line(text),
        is_secret: true,
    },
    Question {
        key: "kind",
        source: "kind",
        flag: "kind",
        group: Group::LockSystem,
        prompt: "Kind of lock system",
        wanted: always,
        default: |_| Some("salto_space".to_owned()),
        check: |_, text| one_of(text, &["salto_space"]),
        is_secret: false,
    },
    Question {
        key: "lock_system",
        source: "lock_system",
        flag: "lock-system",
        group: Group::LockSystem,
        prompt: "Short name of the lock system (the cloud shows it)",
        wanted: always,
        default: |_| Some("main".to_owned()),
        check: |_, text| short_name(text),
        is_secret: false,
    },
    Question {
        key: "time_zone",
        source: "time_zone",
        flag: "time-zone",
        group: Group::LockSystem,
        prompt: "Time zone of the site (validity on cards is local time)",
        wanted: always,
        default: |_| machine_zone(Path::new("/etc/localtime")),
        check: |_, text| match TimeZone::get(text) {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("{text:?} is no IANA zone; it is written as Europe/Madrid")),
        },
        is_secret: false,
    },
    Question {
        key: "transport",
        source: "transport",
        flag: "transport",
        group: Group::LockSystem,
        prompt: "How SHIP is reached: stp (raw TCP) or http",
        wanted: always,
        default: |_| Some("stp".to_owned()),
        check: |_, text| one_of(text, &["stp", "http"]),
        is_secret: false,
    },
    Question {
        key: "host",
        source: "host",
        flag: "host",
        group: Group::LockSystem,
        prompt: "Name or address of the SALTO Space server",
        wanted: |answers| answers.is("transport", "stp"),
        default: no_default,
        check: |_, text| host(text),
        is_secret: false,
    },
    Question {
        key: "port",
        source: "port",
        flag: "port",
        group: Group::LockSystem,
        prompt: "Port of SHIP (System > General options > SHIP)",
        wanted: |answers| answers.is("transport", "stp"),
        default: no_default,
        check: |_, text| match text.parse::<u16>() {
            Ok(1..) => Ok(()),
            _ => Err(format!("{text:?} is no TCP port; it is a number from 1 to 65535")),
        },
        is_secret: false,
    },
    Question {
        key: "url",
        source: "url",
        flag: "url",
        group: Group::LockSystem,
        prompt: "Address of the web server of Space, as https://192.0.2.20:8100",
        wanted: |answers| answers.is("transport", "http"),
        default: no_default,
        check: |_, text| web_address(text),
        is_secret: false,
    },
    Question {
        key: "certificate_sha256",
        source: "certificate_sha256",
        flag: "certificate-sha256",
        group: Group::LockSystem,
        prompt: "SHA-256 of the web server's certificate (64 hexadecimal digits)",
        wanted: |answers| answers.text("url").is_some_and(|url| url.starts_with("https:")),
        default: no_default,
        check: |_, text| {
            let digits = text.chars().filter(char::is_ascii_hexdigit).count();
            let rest = text.chars().all(|letter| letter.is_ascii_hexdigit() || letter == ':');
            if digits == 64 && rest { Ok(()) } else { Err("it is not 64 hexadecimal digits".to_owned()) }
        },
        is_secret: false,
    },
    Question {
        key: "authentication",
        source: "authentication",
        flag: "authentication",
        group: Group::LockSystem,
        prompt: "Authentication of the SHIP tab: none, basic or custom",
        wanted: |answers| answers.is("transport", "http"),
        default: |_| Some("none".to_owned()),
        check: |_, text| one_of(text, &["none", "basic", "custom"]),
        is_secret: false,
    },
    Question {
        key: "user",
        source: "user",
        flag: "user",
        group: Group::LockSystem,
        prompt: "User of the SHIP tab",
        wanted: |answers| answers.is("authentication", "basic"),
        default: no_default,
        check: |_, text| one_line(text),
        is_secret: false,
    },
    Question {
        key: "password",
        source: "password_file",
        flag: "password-file",
        group: Group::LockSystem,
        prompt: "Password of the SHIP tab",
        wanted: |answers| answers.is("authentication", "basic"),
        default: no_default,
        check: |_, text| one_line(text),
        is_secret: true,
    },
    Question {
        key: "key",
        source: "key_file",
        flag: "key-file",
        group: Group::LockSystem,
        prompt: "Shared key of the SHIP tab",
        wanted: |answers| answers.is("authentication", "custom"),
        default: no_default,
        check: |_, text| one_line(text),
        is_secret: true,
    },
    Question {
        key: "encoders",
        source: "encoders",
        flag: "encoders",
        group: Group::Encoders,
        prompt: "Names of the encoders, spelled as in Space, with commas between them (`none` without)",
        wanted: always,
        default: no_default,
        check: |_, text| one_line(text),
        is_secret: false,
    },
];

fn one_line(text: &str) -> Result<(), String> {
    match text.trim() {
        "" => Err("it is empty".to_owned()),
        line if line.chars().any(char::is_control) => Err("it holds control characters".to_owned()),
        _ => Ok(()),
    }
}

fn one_of(text: &str, words: &[&str]) -> Result<(), String> {
    if words.contains(&text) { Ok(()) } else { Err(format!("{text:?} is not one of {}", words.join(", "))) }
}

fn short_name(text: &str) -> Result<(), String> {
    let fits = (1..=32).contains(&text.len())
        && text.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-');
    if fits { Ok(()) } else { Err(format!("{text:?} is not 1 to 32 of a-z, 0-9 and '-'")) }
}

fn host(text: &str) -> Result<(), String> {
    let named = text.parse::<Ipv6Addr>().is_ok() || url::Host::parse(text).is_ok();
    if named && !text.contains([' ', '/', ':']) || text.parse::<Ipv6Addr>().is_ok() {
        Ok(())
    } else {
        Err(format!("{text:?} is no host; give the name or the address alone, without port"))
    }
}

fn proxy(text: &str) -> Result<(), String> {
    let good = |url: &Url| url.scheme() == "http" && url.password().is_none() && url.has_host() && url.path() == "/";
    match Url::parse(text) {
        _ if text == "none" => Ok(()),
        Ok(url) if good(&url) => Ok(()),
        _ => Err("it is not http://[user@]host:port without a password, nor `none`".to_owned()),
    }
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

/// The zone this machine is set to, unless that is only UTC: few sites live by it.
fn machine_zone(link: &Path) -> Option<String> {
    let target = std::fs::read_link(link).ok()?;
    let target = target.to_str()?;
    let zone = target.split_once("zoneinfo/").map(|(_, zone)| zone.to_owned())?;
    let is_place = zone.contains('/') && !zone.starts_with("Etc/") && TimeZone::get(&zone).is_ok();
    is_place.then_some(zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key: &str, text: &str) -> bool {
        let question = QUESTIONS.iter().find(|question| question.key == key).expect("a question");
        (question.check)(&Answers::default(), text).is_ok()
    }

    #[test]
    fn wrong_answers_are_refused() {
        for (key, good, bad) in [
            ("time_zone", "Europe/Madrid", "Madrid"),
            ("host", "192.0.2.20", "192.0.2.20:8050"),
            ("host", "space.example.com", "http://space.example.com"),
            ("host", "2001:db8::20", "a b"),
            ("port", "8050", "0"),
            ("port", "65535", "65536"),
            ("url", "https://192.0.2.20:8100", "192.0.2.20:8100"),
            ("url", "http://space.example.com", "http://user@space.example.com"),
            ("proxy", "none", "https://proxy.example.com"),
            ("proxy", "http://user@proxy.example.com:3128", "http://user:secret@proxy.example.com:3128"),
            ("lock_system", "main-2", "Main"),
            ("transport", "stp", "tcp"),
            ("encoders", "Front desk 1", " "),
            ("certificate_sha256", &"ab:".repeat(32), "abc"),
        ] {
            assert!(check(key, good), "{key} {good}");
            assert!(!check(key, bad), "{key} {bad}");
        }
    }

    #[test]
    fn the_machines_zone_is_proposed_when_it_is_a_place() {
        let folder = tempfile::tempdir().expect("a folder");
        for (target, zone) in [
            ("/usr/share/zoneinfo/Europe/Madrid", Some("Europe/Madrid")),
            ("../usr/share/zoneinfo/America/Argentina/Ushuaia", Some("America/Argentina/Ushuaia")),
            ("/usr/share/zoneinfo/Etc/UTC", None),
            ("/usr/share/zoneinfo/UTC", None),
            ("/somewhere/else", None),
        ] {
            let link = folder.path().join(target.replace('/', "_"));
            std::os::unix::fs::symlink(target, &link).expect("links");
            assert_eq!(machine_zone(&link).as_deref(), zone, "{target}");
        }
        assert_eq!(machine_zone(&folder.path().join("missing")), None);
    }
}
