//! The questions, in the order in which they are asked, with the rule for each answer.
//!
//! Two questions may have one key where they are never wanted together: `transport` is something else for every kind of lock
//! system. Promises: a refused answer says what would do; what is weakly known has no default. Never: asks for what the
//! answers before have settled.

mod cloud;
mod front_desk;
mod line;
mod lock_system;
mod port;
mod rules;
mod salto_space;

use super::Answers;

/// Questions whose answers are verified together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// The way to the cloud.
    Cloud,
    /// The lock server and its login, or the line to it with all that is on it.
    LockSystem,
    /// The encoders of a lock server.
    Encoders,
    /// The property software of the site.
    FrontDesk,
}

impl Group {
    /// In the order in which they are asked.
    pub const ALL: [Self; 4] = [Self::Cloud, Self::LockSystem, Self::Encoders, Self::FrontDesk];
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
    /// Answers that this machine suggests; none is taken unasked.
    pub suggestions: fn() -> Vec<String>,
}

impl Question {
    /// What most questions have in common.
    const PLAIN: Self = Self {
        key: "",
        source: "",
        flag: "",
        group: Group::Cloud,
        prompt: "",
        wanted: rules::always,
        default: no_default,
        check: |_, text| rules::one_line(text),
        is_secret: false,
        suggestions: Vec::new,
    };
}

const fn no_default(_: &Answers) -> Option<String> {
    None
}

/// All questions.
pub fn questions() -> impl Iterator<Item = &'static Question> + Clone {
    let all = [cloud::CLOUD, lock_system::LOCK_SYSTEM, salto_space::SALTO_SPACE, line::LINE, front_desk::FRONT_DESK];
    all.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key: &str, text: &str) -> bool {
        let question = questions().find(|question| question.key == key).expect("a question");
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
            ("kind", "salto_pms", "salto"),
            ("listen", "192.0.2.10:5003", "192.0.2.10"),
            ("listen", "[2001:db8::10]:5003", "192.0.2.10:0"),
            ("allow", "192.0.2.20, 2001:db8::20", "192.0.2.20:5003"),
            ("allow", "192.0.2.20", ","),
            ("checksum", "yes", "on"),
            ("front_desk", "none", "Reception"),
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
    fn every_question_has_a_name_of_its_own_or_is_never_wanted_beside_its_namesake() {
        let kinds = [
            ("salto_space", ["stp", "http"].as_slice()),
            ("salto_pms", &["serial", "tcp"]),
            ("fias", &["listen", "tcp", "serial"]),
        ];
        for (kind, transports) in kinds {
            for transport in transports {
                let mut answers = Answers::none(true);
                let mut keys = Vec::new();
                for question in questions() {
                    assert_eq!(question.flag, question.source.replace('_', "-"), "one name, two spellings");
                    assert!(question.source == question.key || question.is_secret);
                    if !(question.wanted)(&answers) {
                        continue;
                    }
                    assert!(!keys.contains(&question.key), "{} twice for {kind} over {transport}", question.key);
                    keys.push(question.key);
                    let text = if question.key == "kind" { kind } else { transport };
                    if ["kind", "transport"].contains(&question.key) {
                        answers.take(question, text).expect("an answer of this kind");
                    }
                }
                assert!(keys.contains(&"encoders") && keys.contains(&"front_desk"), "{kind}: {keys:?}");
            }
        }
    }
}
