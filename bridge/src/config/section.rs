//! Reading one table of the merged tree: typed getters that note a problem and go on, and keys left over are unknown.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::str::FromStr;

use config::{Value, ValueKind};

use super::findings::{Effective, Findings, Problem};
use super::types::SecretSource;

/// A table, its place in the tree, and where findings go.
pub(super) struct Section {
    path: String,
    origin: String,
    values: BTreeMap<String, Value>,
    findings: Rc<RefCell<Findings>>,
}

impl Section {
    pub(super) fn new(
        path: impl Into<String>,
        origin: &str,
        values: impl IntoIterator<Item = (String, Value)>,
        findings: Rc<RefCell<Findings>>,
    ) -> Self {
        Self { path: path.into(), origin: origin.to_owned(), values: values.into_iter().collect(), findings }
    }

    /// Text, or `None` when the key is absent or not text (then noted).
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        self.parsed(key, "text", |text| (!text.trim().is_empty()).then(|| text.to_owned()))
    }

    /// Text that must be there.
    pub(super) fn required(&mut self, key: &str, expected: &str) -> Option<String> {
        self.required_parsed(key, expected, |text| (!text.trim().is_empty()).then(|| text.to_owned()))
    }

    /// Anything with a text form that must be there.
    pub(super) fn required_parsed<T>(
        &mut self,
        key: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        if !self.values.contains_key(key) {
            self.missing(key, expected);
        }
        self.parsed(key, expected, parse)
    }

    /// Anything with a text form; `expected` says what, for people.
    pub(super) fn parsed<T>(&mut self, key: &str, expected: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let value = self.values.remove(key)?;
        let parsed = match &value.kind {
            ValueKind::Table(_) | ValueKind::Array(_) | ValueKind::Nil => None,
            _ => value.clone().into_string().ok().and_then(|text| parse(&text)),
        };
        match &parsed {
            Some(_) => self.in_force(key, &show(&value), value.origin()),
            None => self.wrong(key, &value, expected),
        }
        parsed
    }

    /// As [`parsed`](Self::parsed), with a default.
    pub(super) fn parsed_or<T: ToString>(
        &mut self,
        key: &str,
        expected: &str,
        default: T,
        parse: impl Fn(&str) -> Option<T>,
    ) -> T {
        if self.values.contains_key(key) {
            return self.parsed(key, expected, parse).unwrap_or(default);
        }
        self.in_force(key, &default.to_string(), Some("default"));
        default
    }

    /// A whole number inside a range.
    pub(super) fn number(&mut self, key: &str, range: RangeInclusive<u64>, default: u64) -> u64 {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.parsed_or(key, &expected, default, |text| u64::from_str(text).ok().filter(|number| range.contains(number)))
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &str, default: bool) -> bool {
        self.parsed_or(key, "true or false", default, |text| bool::from_str(text).ok())
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, words: &[(&str, T)], default: &str) -> Option<T> {
        let expected = format!("one of {}", words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", "));
        let chosen = self.parsed_or(key, &expected, default.to_owned(), |text| {
            words.iter().any(|(word, _)| *word == text).then(|| text.to_owned())
        });
        words.iter().find(|(word, _)| *word == chosen).map(|(_, value)| *value)
    }

    /// Where a secret is: `<name>_file` or `<name>_credential`, not both, and never `<name>` itself.
    pub(super) fn secret(&mut self, name: &str) -> Option<SecretSource> {
        if let Some(value) = self.values.remove(name) {
            // The value is a secret that somebody wrote here: it must not appear in the message.
            let origin = value.origin().unwrap_or(&self.origin).to_owned();
            self.note(Problem {
                origin,
                key: self.key(name),
                found: Some("a secret in plain text (not shown)".to_owned()),
                expected: format!("`{name}_file` or `{name}_credential`, which say where the secret is"),
            });
        }
        let file = self.text(&format!("{name}_file"));
        let credential = self.text(&format!("{name}_credential"));
        if let (Some(_), Some(_)) = (&file, &credential) {
            self.problem(name, Some("both a file and a credential"), "one of the two");
        }
        file.map(|path| SecretSource::File(path.into())).or_else(|| credential.map(SecretSource::Credential))
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, key: &str) -> Vec<String> {
        self.list(key, "a list of texts")
            .into_iter()
            .filter_map(|value| match value.kind {
                ValueKind::String(text) if !text.trim().is_empty() => Some(text),
                _ => {
                    self.wrong(key, &value, "a list of texts");
                    None
                }
            })
            .collect()
    }

    /// A table of texts by name.
    pub(super) fn texts_by_name(&mut self, key: &str, expected: &str) -> BTreeMap<String, String> {
        let Some(value) = self.values.remove(key) else { return BTreeMap::new() };
        let ValueKind::Table(table) = value.kind.clone() else {
            self.wrong(key, &value, expected);
            return BTreeMap::new();
        };
        let mut texts = BTreeMap::new();
        for (name, value) in table {
            match value.kind.clone() {
                ValueKind::String(text) if !text.trim().is_empty() => {
                    self.in_force(&format!("{key}.{name}"), &show(&value), value.origin());
                    texts.insert(name, text);
                }
                _ => self.wrong(&format!("{key}.{name}"), &value, expected),
            }
        }
        texts
    }

    /// A list whose items are either a text (taken as the table `{ <short> = text }`) or a table.
    pub(super) fn items(&mut self, key: &str, short: &str, expected: &str) -> Vec<Self> {
        let mut sections = Vec::new();
        for (index, value) in self.list(key, expected).into_iter().enumerate() {
            let path = format!("{}[{index}]", self.key(key));
            let origin = value.origin().unwrap_or(&self.origin).to_owned();
            match value.kind.clone() {
                ValueKind::Table(table) => {
                    sections.push(Self::new(path, &origin, table, Rc::clone(&self.findings)));
                }
                ValueKind::String(_) if !short.is_empty() => {
                    sections.push(Self::new(path, &origin, [(short.to_owned(), value)], Rc::clone(&self.findings)));
                }
                _ => self.wrong(key, &value, expected),
            }
        }
        sections
    }

    fn list(&mut self, key: &str, expected: &str) -> Vec<Value> {
        let Some(value) = self.values.remove(key) else { return Vec::new() };
        if let ValueKind::Array(items) = value.kind.clone() {
            self.in_force(key, &show(&value), value.origin());
            items
        } else {
            self.wrong(key, &value, expected);
            Vec::new()
        }
    }

    /// A table inside this one; empty when absent.
    pub(super) fn section(&mut self, key: &str) -> Self {
        self.optional_section(key)
            .unwrap_or_else(|| Self::new(self.key(key), &self.origin, [], Rc::clone(&self.findings)))
    }

    /// A table inside this one.
    pub(super) fn optional_section(&mut self, key: &str) -> Option<Self> {
        let value = self.values.remove(key)?;
        let origin = value.origin().unwrap_or(&self.origin).to_owned();
        if let ValueKind::Table(table) = value.kind.clone() {
            Some(Self::new(self.key(key), &origin, table, Rc::clone(&self.findings)))
        } else {
            self.wrong(key, &value, "a table");
            None
        }
    }

    /// All tables inside this one, by name.
    pub(super) fn named_sections(&mut self) -> Vec<(String, Self)> {
        let names: Vec<String> = self.values.keys().cloned().collect();
        names.into_iter().filter_map(|name| Some((name.clone(), self.optional_section(&name)?))).collect()
    }

    /// Notes every key that nobody read.
    pub(super) fn finish(self, known: &str) {
        for (key, value) in &self.values {
            self.wrong(key, value, &format!("no such key here; known: {known}"));
        }
    }

    /// Notes a problem with what stands at `key`.
    pub(super) fn problem(&self, key: &str, found: Option<&str>, expected: &str) {
        self.note(Problem {
            origin: self.origin.clone(),
            key: self.key(key),
            found: found.map(str::to_owned),
            expected: expected.to_owned(),
        });
    }

    /// Notes that `key` is not there.
    pub(super) fn missing(&self, key: &str, expected: &str) {
        self.problem(key, None, expected);
    }

    fn wrong(&self, key: &str, value: &Value, expected: &str) {
        self.note(Problem {
            origin: value.origin().unwrap_or(&self.origin).to_owned(),
            key: self.key(key),
            found: Some(show(value)),
            expected: expected.to_owned(),
        });
    }

    fn note(&self, problem: Problem) {
        self.findings.borrow_mut().problems.push(problem);
    }

    fn in_force(&self, key: &str, value: &str, origin: Option<&str>) {
        self.findings.borrow_mut().effective.push(Effective {
            key: self.key(key),
            value: value.to_owned(),
            origin: origin.unwrap_or(&self.origin).to_owned(),
        });
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// A value for people, cut: what an admin pasted by mistake need not fill the screen.
fn show(value: &Value) -> String {
    let text = match &value.kind {
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Table(_) => "a table".to_owned(),
        ValueKind::Nil => "nothing".to_owned(),
        _ => value.to_string(),
    };
    if text.chars().count() > 120 { text.chars().take(117).chain("...".chars()).collect() } else { text }
}
