//! Asking a person, until the answer will do.

use std::collections::BTreeMap;
use std::io;

use super::{Answers, Question, Terminal, questions};

/// Asks until the answer will do. What was given by flag or file is taken first, and asked for when it will not do; nothing
/// typed takes the default, or what was answered before.
pub fn answer(
    terminal: &mut impl Terminal,
    question: &Question,
    answers: &mut Answers,
    given: &mut BTreeMap<String, String>,
) -> io::Result<()> {
    if !(question.wanted)(answers) {
        // It may have been wanted before an earlier answer changed; not if another question of that key is wanted now.
        if !questions().any(|other| other.key == question.key && (other.wanted)(answers)) {
            answers.forget(question);
        }
        return Ok(());
    }
    if let Some(text) = given.remove(question.source) {
        match answers.take_given(question, &text) {
            Ok(()) => return Ok(()),
            Err(mistake) => terminal.say(&format!("  {mistake}")),
        }
    }
    // An answer to another question of that key may be none to this one.
    let earlier = answers.text(question.key).filter(|text| (question.check)(answers, text).is_ok()).map(str::to_owned);
    let default = earlier.or_else(|| (question.default)(answers));
    let prompt = match &default {
        _ if question.is_secret => format!("{} (not shown)", question.prompt),
        Some(default) => format!("{} [{default}]", question.prompt),
        None => question.prompt.to_owned(),
    };
    let suggestions = (question.suggestions)();
    if !suggestions.is_empty() {
        terminal.say(&format!("  On this machine: {}", suggestions.join(", ")));
    }
    loop {
        let line = terminal.ask(&prompt, question.is_secret)?;
        let text = match (&default, line.trim().is_empty()) {
            (Some(default), true) => default.as_str(),
            _ => line.as_str(),
        };
        match answers.take(question, text) {
            Ok(()) => return Ok(()),
            Err(mistake) => terminal.say(&format!("  {}", mistake.problem)),
        }
    }
}

/// A question to be answered with yes or no; anything but a clear yes is no.
pub fn yes(terminal: &mut impl Terminal, question: &str) -> io::Result<bool> {
    let answer = terminal.ask(&format!("{question} [y/N]"), false)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    /// Answers line by line, and notes what it is told and asked.
    #[derive(Default)]
    struct Script {
        lines: Vec<&'static str>,
        shown: Vec<String>,
    }

    impl Terminal for Script {
        fn say(&mut self, text: &str) {
            self.shown.push(text.to_owned());
        }

        fn ask(&mut self, prompt: &str, is_secret: bool) -> io::Result<Zeroizing<String>> {
            self.shown.push(format!("{prompt}{}", if is_secret { " *" } else { "" }));
            if self.lines.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(Zeroizing::new(self.lines.remove(0).to_owned()))
        }
    }

    fn asked(
        key: &str,
        answers: &mut Answers,
        given: &[(&str, &str)],
        lines: &[&'static str],
    ) -> (io::Result<()>, Script) {
        let of_key = || questions().filter(|question| question.key == key);
        let wanted = of_key().find(|question| (question.wanted)(answers));
        let question = wanted.or_else(|| of_key().next()).expect("a question");
        let mut given = given.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
        let mut script = Script { lines: lines.to_vec(), ..Script::default() };
        (answer(&mut script, question, answers, &mut given), script)
    }

    #[test]
    fn a_wrong_answer_is_explained_and_asked_again() {
        let mut answers = Answers::none(true);
        let (done, script) = asked("time_zone", &mut answers, &[("time_zone", "Madrid")], &["Spain", "Europe/Madrid"]);
        done.expect("answered");
        assert_eq!(answers.text("time_zone"), Some("Europe/Madrid"));
        let explained = script.shown.iter().filter(|line| line.contains("no IANA zone")).count();
        assert_eq!(explained, 2, "the given one and the typed one: {:?}", script.shown);
    }

    #[test]
    fn nothing_typed_takes_what_was_said_before_and_else_the_default() {
        let mut answers = Answers::none(true);
        asked("kind", &mut answers, &[], &[""]).0.expect("answered");
        asked("transport", &mut answers, &[], &[""]).0.expect("answered");
        assert_eq!(answers.text("transport"), Some("stp"));
        asked("transport", &mut answers, &[], &["http"]).0.expect("answered");
        let (_, script) = asked("transport", &mut answers, &[], &[""]);
        assert_eq!(answers.text("transport"), Some("http"));
        assert!(script.shown[0].ends_with("[http]"), "{:?}", script.shown);
    }

    #[test]
    fn what_is_no_longer_wanted_is_forgotten_and_an_end_is_no_answer() {
        let mut answers = Answers::none(true);
        for (key, line) in [("kind", ""), ("transport", "stp"), ("host", "192.0.2.20"), ("transport", "http")] {
            asked(key, &mut answers, &[], &[line]).0.expect("answered");
        }
        asked("host", &mut answers, &[], &[]).0.expect("not wanted");
        assert_eq!(answers.text("host"), None);
        let (ended, _) = asked("url", &mut answers, &[], &[]);
        assert_eq!(ended.expect_err("nobody answers").kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn an_answer_for_another_kind_is_no_proposal_and_is_not_lost_by_asking_for_the_other() {
        let mut answers = Answers::none(true);
        for (key, line) in [("kind", "salto_space"), ("transport", "stp"), ("kind", "fias")] {
            asked(key, &mut answers, &[], &[line]).0.expect("answered");
        }
        let (done, script) = asked("transport", &mut answers, &[], &["stp", ""]);
        done.expect("answered");
        assert!(script.shown[0].ends_with("[listen]") && script.shown[1].contains("not one of"), "{:?}", script.shown);
        // All questions of that key, as when the group is gone through: those of the other kinds change nothing.
        let mut given = BTreeMap::new();
        for question in questions().filter(|question| question.key == "transport") {
            let mut script = Script { lines: vec![""], ..Script::default() };
            answer(&mut script, question, &mut answers, &mut given).expect("answered");
        }
        assert_eq!(answers.text("transport"), Some("listen"));
    }

    #[test]
    fn only_a_clear_yes_is_one() {
        for (line, agreed) in [("y", true), ("yes", true), ("", false), ("n", false), ("maybe", false)] {
            let mut script = Script { lines: vec![line], ..Script::default() };
            assert_eq!(yes(&mut script, "Really?").expect("answered"), agreed, "{line}");
        }
    }
}
