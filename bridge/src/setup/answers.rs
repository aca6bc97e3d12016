//! What was answered, from flags, a file or a person, and what is wrong with it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};
use thiserror::Error;
use url::Url;

use super::question::{Question, questions};
use crate::config::SecretSource;

/// Most rooms that one pair of numbers stands for: more is a slip of the finger.
const ROOMS: u32 = 2_000;

/// One answer that will not do, or none where one is needed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{key}: {problem}")]
pub struct Mistake {
    /// The question's key, or the one that nobody knows.
    pub key: String,
    /// What is wrong. Never the secret itself.
    pub problem: String,
}

/// Checked answers by key. Secrets are apart and never shown.
#[derive(Clone, Default)]
pub struct Answers {
    plain: BTreeMap<&'static str, String>,
    secret: BTreeMap<&'static str, SecretString>,
    /// There is an identity already.
    is_enrolled: bool,
}

impl fmt::Debug for Answers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Answers").field("plain", &self.plain).finish_non_exhaustive()
    }
}

impl Answers {
    /// Before anything is answered.
    pub fn none(is_enrolled: bool) -> Self {
        Self { is_enrolled, ..Self::default() }
    }

    /// Takes an answer if it will do.
    pub fn take(&mut self, question: &Question, text: &str) -> Result<(), Mistake> {
        let mistake = |problem| Mistake { key: question.key.to_owned(), problem };
        let text = text.trim();
        (question.check)(self, text).map_err(mistake)?;
        if question.is_secret {
            self.secret.insert(question.key, SecretString::from(text.to_owned()));
        } else {
            self.plain.insert(question.key, text.to_owned());
        }
        Ok(())
    }

    /// Takes an answer back.
    pub fn forget(&mut self, question: &Question) {
        self.plain.remove(question.key);
        self.secret.remove(question.key);
    }

    /// Takes an answer that was given by flag or file: for a secret, the path of the file that holds it.
    pub fn take_given(&mut self, question: &Question, text: &str) -> Result<(), Mistake> {
        if question.is_secret {
            let secret = secret_in(question, text)?;
            self.take(question, secret.expose_secret())
        } else {
            self.take(question, text)
        }
    }

    /// Takes what was given for every question that is wanted, defaults for the rest; all mistakes at once. Secrets are given
    /// as `<key>_file`.
    pub fn unattended(given: &BTreeMap<String, String>, is_enrolled: bool) -> Result<Self, Vec<Mistake>> {
        let mut answers = Self::none(is_enrolled);
        let mut mistakes = Vec::new();
        let mut read = Vec::new();
        for question in questions() {
            read.push(question.source);
            if !(question.wanted)(&answers) {
                continue;
            }
            let taken = match (given.get(question.source), (question.default)(&answers)) {
                (Some(text), _) => answers.take_given(question, text),
                (None, Some(default)) => answers.take(question, &default),
                (None, None) => {
                    let what = if question.is_secret { "missing, a file with: " } else { "missing: " };
                    Err(Mistake { key: question.source.to_owned(), problem: format!("{what}{}", question.prompt) })
                }
            };
            mistakes.extend(taken.err());
        }
        let strangers = given.keys().filter(|key| !read.contains(&key.as_str()));
        mistakes
            .extend(strangers.map(|key| Mistake { key: key.clone(), problem: "there is no such question".to_owned() }));
        if mistakes.is_empty() { Ok(answers) } else { Err(mistakes) }
    }

    /// An answer that is no secret.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.plain.get(key).map(String::as_str)
    }

    /// A secret.
    pub fn secret(&self, key: &str) -> Option<&SecretString> {
        self.secret.get(key)
    }

    pub(super) fn is(&self, key: &str, value: &str) -> bool {
        self.text(key) == Some(value)
    }

    pub(super) fn is_yes(&self, key: &str) -> bool {
        matches!(self.text(key), Some("yes" | "true"))
    }

    /// There is property software that asks for keys.
    pub fn has_front_desk(&self) -> bool {
        self.front_desk().is_some()
    }

    /// Its name, when there is one.
    pub fn front_desk(&self) -> Option<&str> {
        self.text("front_desk").filter(|name| *name != "none")
    }

    pub(super) fn wants_enrollment(&self) -> bool {
        !self.is_enrolled
    }

    /// The proxy, when there is one.
    pub fn proxy(&self) -> Option<Url> {
        self.text("proxy").filter(|proxy| *proxy != "none").and_then(|proxy| Url::parse(proxy).ok())
    }

    /// The encoders by name.
    pub fn encoders(&self) -> Vec<String> {
        Self::encoders_in(self.text("encoders").filter(|list| *list != "none").unwrap_or_default())
    }

    pub(super) fn encoders_in(text: &str) -> Vec<String> {
        list(text).into_iter().map(str::to_owned).collect()
    }

    /// The rooms by name, those between two numbers too.
    pub fn rooms(&self) -> Vec<String> {
        self.text("rooms").and_then(|text| Self::rooms_in(text).ok()).unwrap_or_default()
    }

    /// `101, 0201..0212, Suite`: two dots stand for all numbers between, written as long as the first.
    pub(super) fn rooms_in(text: &str) -> Result<Vec<String>, String> {
        let mut rooms = Vec::new();
        for item in list(text) {
            let Some((first, last)) = item.split_once("..") else {
                rooms.push(item.to_owned());
                continue;
            };
            let number = |end: &str| end.parse::<u32>().ok().filter(|_| end.bytes().all(|byte| byte.is_ascii_digit()));
            match (number(first), number(last)) {
                (Some(from), Some(to)) if first.len() == last.len() && from <= to => {
                    if to.saturating_sub(from) >= ROOMS {
                        return Err(format!("{item:?} is more than {ROOMS} rooms"));
                    }
                    rooms.extend((from..=to).map(|room| format!("{room:0width$}", width = first.len())));
                }
                _ => {
                    return Err(format!(
                        "{item:?} is not two numbers of one length, the lower one first, as 0101..0112"
                    ));
                }
            }
        }
        Ok(rooms)
    }
}

/// What stands between commas.
pub(super) fn list(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()
}

fn secret_in(question: &Question, path: &str) -> Result<SecretString, Mistake> {
    let read = SecretSource::File(Path::new(path).to_owned()).read();
    read.map_err(|error| Mistake { key: question.source.to_owned(), problem: crate::net::chain_text(&error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let wrong = given(&[("time_zone", "Madrid"), ("port", "0"), ("weather", "fine"), ("encoders", "Front desk 1")]);
        let mistakes = Answers::unattended(&wrong, false).expect_err("wrong");
        let keys: Vec<&str> = mistakes.iter().map(|mistake| mistake.key.as_str()).collect();
        assert_eq!(keys, ["token_file", "time_zone", "host", "port", "weather"]);
    }

    #[test]
    fn only_what_is_wanted_is_asked_for() {
        let stp =
            given(&[("time_zone", "Europe/Madrid"), ("host", "192.0.2.20"), ("port", "8050"), ("encoders", "A, B ,")]);
        let answers = Answers::unattended(&stp, true).expect("holds");
        assert_eq!(answers.encoders(), ["A", "B"]);
        assert_eq!((answers.text("lock_system"), answers.proxy()), (Some("main"), None));
        let http = given(&[
            ("time_zone", "Europe/Madrid"),
            ("transport", "http"),
            ("url", "https://192.0.2.20"),
            ("authentication", "basic"),
            ("encoders", "none"),
        ]);
        let mistakes = Answers::unattended(&http, true).expect_err("more is wanted");
        let keys: Vec<&str> = mistakes.iter().map(|mistake| mistake.key.as_str()).collect();
        assert_eq!(keys, ["certificate_sha256", "user", "password_file"]);
    }

    #[test]
    fn each_kind_has_questions_of_its_own() {
        let pms = [
            ("kind", "salto_pms"),
            ("time_zone", "Europe/Madrid"),
            ("transport", "serial"),
            ("device", "/dev/ttyUSB0"),
            ("encoders", "1, 1"),
            ("rooms", "LM"),
        ];
        let mistakes = Answers::unattended(&given(&pms), true).expect_err("wrong");
        let keys: Vec<&str> = mistakes.iter().map(|mistake| mistake.key.as_str()).collect();
        assert_eq!(keys, ["device", "baud", "format", "encoders", "rooms"], "{mistakes:?}");

        let fias = [
            ("kind", "fias"),
            ("time_zone", "Europe/Madrid"),
            ("listen", "192.0.2.10:5003"),
            ("allow", "192.0.2.20, 192.0.2.21"),
            ("encoders", "1, 2"),
            ("rooms", "0101..0103, Suite"),
            ("front_desk", "reception"),
            ("front_desk_host", "192.0.2.30"),
            ("front_desk_port", "5003"),
        ];
        let answers = Answers::unattended(&given(&fias), true).expect("holds");
        assert_eq!(answers.rooms(), ["0101", "0102", "0103", "Suite"]);
        assert_eq!((answers.text("transport"), answers.text("front_desk_transport")), (Some("listen"), Some("tcp")));
        assert_eq!(answers.text("checksum"), None, "nothing is acknowledged over TCP");

        let stp =
            [("kind", "fias"), ("time_zone", "Europe/Madrid"), ("transport", "stp"), ("rooms", "1"), ("encoders", "1")];
        let mistakes = Answers::unattended(&given(&stp), true).expect_err("no such way");
        assert!(mistakes[0].problem.contains("listen, tcp, serial"), "{mistakes:?}");
    }

    #[test]
    fn rooms_between_two_numbers_are_named_one_by_one() {
        for (text, rooms) in
            [("9..11", None), ("12..9", None), ("1..", None), ("a..b", None), ("+1..+3", None), ("0000..2000", None)]
        {
            assert_eq!(Answers::rooms_in(text).ok(), rooms, "{text}");
        }
        assert_eq!(Answers::rooms_in("09..11,A-1").expect("rooms"), ["09", "10", "11", "A-1"]);
    }

    #[test]
    fn secrets_come_from_files_and_are_not_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("password");
        std::fs::write(&file, "canary\n").expect("written");
        let pairs = [
            ("time_zone", "Europe/Madrid"),
            ("transport", "http"),
            ("url", "http://192.0.2.20"),
            ("authentication", "basic"),
            ("user", "bridge"),
            ("password_file", file.to_str().expect("text")),
            ("encoders", "none"),
        ];
        let answers = Answers::unattended(&given(&pairs), true).expect("holds");
        assert_eq!(answers.secret("password").expect("read").expose_secret(), "canary");
        assert!(!format!("{answers:?}").contains("canary"));
    }
}
