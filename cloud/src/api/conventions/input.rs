//! The parameters of a request, from a JSON body or a query string, with every mistake collected.
//!
//! A query has only strings, so there `true`, `5` and `a,b` are read as what the parameter is; repeated keys and `key[]`
//! mean a list. A body has types, and they are insisted on. Unknown parameters are ignored.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::{Map, Value};
use url::form_urlencoded;

use super::ApiError;
use crate::model::time;

/// Longest text of one parameter, in bytes. Names, keys and ids are far shorter.
const TEXT_BYTES: usize = 1024;
/// Most entries of one list.
const LIST_ITEMS: usize = 1000;

/// The parameters of one request.
#[derive(Debug, Default)]
pub(crate) struct Input {
    fields: Map<String, Value>,
    from_query: bool,
    prefix: String,
    errors: RefCell<BTreeMap<String, Vec<String>>>,
    /// `scheme://host/path` of the request, for links to further pages.
    pub(crate) address: String,
}

impl Input {
    /// Reads a query string.
    pub(crate) fn from_query(query: &str) -> Self {
        let mut fields = Map::new();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let (key, is_list) = key.strip_suffix("[]").map_or((&*key, false), |key| (key, true));
            let value = Value::String(value.into_owned());
            match fields.get_mut(key) {
                None if is_list => drop(fields.insert(key.to_owned(), Value::Array(vec![value]))),
                None => drop(fields.insert(key.to_owned(), value)),
                Some(Value::Array(values)) => values.push(value),
                Some(first) => *first = Value::Array(vec![first.take(), value]),
            }
        }
        Self { fields, from_query: true, ..Self::default() }
    }

    /// Reads a JSON body; an empty one means no parameters.
    pub(crate) fn from_body(body: &[u8]) -> Result<Self, ApiError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self { fields, ..Self::default() }),
            Ok(_) => Err(ApiError::input("the body must be a JSON object")),
            Err(error) => Err(ApiError::input(format!("the body is not JSON: {error}"))),
        }
    }

    /// All mistakes found by the getters so far. Call it before the first change.
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        let errors = self.errors.borrow();
        if errors.is_empty() { Ok(()) } else { Err(ApiError::fields(errors.clone())) }
    }

    /// Notes a mistake.
    pub(crate) fn refuse(&self, field: &str, message: impl Into<String>) {
        let path = format!("{}{field}", self.prefix);
        self.errors.borrow_mut().entry(path).or_default().push(message.into());
    }

    /// Whether the parameter was given, be it null.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    fn value(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    /// A text, not empty.
    pub(crate) fn text(&self, field: &str) -> Option<String> {
        match self.value(field)? {
            Value::String(text) if text.trim().is_empty() => self.wrong(field, "must not be empty"),
            Value::String(text) if text.len() > TEXT_BYTES => {
                self.wrong(field, &format!("must not exceed {TEXT_BYTES} bytes"))
            }
            Value::String(text) if text.chars().any(char::is_control) => {
                self.wrong(field, "must not hold control characters")
            }
            Value::String(text) => Some(text.clone()),
            other => self.wrong(field, &format!("expected a string, got {}", kind(other))),
        }
    }

    /// A text that must be there; empty when it is not (then [`check`](Self::check) fails).
    pub(crate) fn required(&self, field: &str) -> String {
        if self.value(field).is_none() {
            self.refuse(field, "is required");
        }
        self.text(field).unwrap_or_default()
    }

    /// For updates: `None` when absent, `Some(None)` when null.
    #[expect(clippy::option_option, reason = "absent, null and a text are three different wishes")]
    pub(crate) fn change(&self, field: &str) -> Option<Option<String>> {
        self.has(field).then(|| self.text(field))
    }

    /// A truth value.
    pub(crate) fn flag(&self, field: &str) -> Option<bool> {
        match self.value(field)? {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) if self.from_query && text == "true" => Some(true),
            Value::String(text) if self.from_query && text == "false" => Some(false),
            other => self.wrong(field, &format!("expected true or false, got {}", kind(other))),
        }
    }

    /// A whole number in a range.
    pub(crate) fn number(&self, field: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let value = self.value(field)?;
        let number = match value {
            Value::Number(number) => number.as_i64(),
            Value::String(text) if self.from_query => text.parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if range.contains(&number) => Some(number),
            Some(_) => self.wrong(field, &format!("must be from {} to {}", range.start(), range.end())),
            None => self.wrong(field, &format!("expected a whole number, got {}", kind(value))),
        }
    }

    /// An instant, as milliseconds since the epoch.
    pub(crate) fn time(&self, field: &str) -> Option<i64> {
        let text = self.text(field)?;
        match time::parse(&text) {
            Some(milliseconds) => Some(milliseconds),
            None => self.wrong(field, "expected an ISO 8601 time with Z or an offset, e.g. 2026-12-01T15:00:00Z"),
        }
    }

    /// A list of texts; `None` when absent.
    pub(crate) fn list(&self, field: &str) -> Option<Vec<String>> {
        let items: Vec<String> = match self.value(field)? {
            Value::Array(values) if values.len() > LIST_ITEMS => {
                return self.wrong(field, &format!("must not have more than {LIST_ITEMS} entries"));
            }
            Value::Array(values) => {
                let texts: Option<Vec<String>> = values.iter().map(|value| value.as_str().map(str::to_owned)).collect();
                match texts {
                    Some(texts) => texts,
                    None => return self.wrong(field, "expected a list of strings"),
                }
            }
            Value::String(text) if self.from_query => vec![text.clone()],
            other => return self.wrong(field, &format!("expected a list of strings, got {}", kind(other))),
        };
        let mut items = if self.from_query {
            items.iter().flat_map(|item| item.split(',')).map(str::to_owned).filter(|item| !item.is_empty()).collect()
        } else {
            items
        };
        let mut seen = std::collections::BTreeSet::new();
        items.retain(|item| seen.insert(item.clone()));
        Some(items)
    }

    /// An object, as an input of its own; its mistakes must be [taken over](Self::adopt).
    pub(crate) fn object(&self, field: &str) -> Option<Self> {
        match self.value(field)? {
            Value::Object(fields) => Some(self.nested(field, fields.clone())),
            other => self.wrong(field, &format!("expected an object, got {}", kind(other))),
        }
    }

    /// A list of objects.
    pub(crate) fn objects(&self, field: &str) -> Option<Vec<Self>> {
        let Value::Array(values) = self.value(field)? else {
            return self.wrong(field, "expected a list of objects");
        };
        if values.len() > LIST_ITEMS {
            return self.wrong(field, &format!("must not have more than {LIST_ITEMS} entries"));
        }
        let mut objects = Vec::new();
        for (index, value) in values.iter().enumerate() {
            match value {
                Value::Object(fields) => objects.push(self.nested(&format!("{field}.{index}"), fields.clone())),
                other => {
                    self.refuse(&format!("{field}.{index}"), format!("expected an object, got {}", kind(other)));
                }
            }
        }
        Some(objects)
    }

    fn nested(&self, field: &str, fields: Map<String, Value>) -> Self {
        let prefix = format!("{}{field}.", self.prefix);
        Self { fields, prefix, from_query: self.from_query, ..Self::default() }
    }

    /// Takes over the mistakes of a part.
    pub(crate) fn adopt(&self, part: &Self) {
        let mut errors = self.errors.borrow_mut();
        for (path, wrong) in part.errors.borrow().iter() {
            errors.entry(path.clone()).or_default().extend(wrong.iter().cloned());
        }
    }

    /// The parameters as a query string, without the named one.
    pub(crate) fn query_without(&self, field: &str) -> form_urlencoded::Serializer<'static, String> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (key, value) in self.fields.iter().filter(|(key, _)| *key != field) {
            match value {
                Value::Array(values) => {
                    for value in values.iter().filter_map(Value::as_str) {
                        query.append_pair(key, value);
                    }
                }
                Value::String(text) => drop(query.append_pair(key, text)),
                Value::Number(_) | Value::Bool(_) => drop(query.append_pair(key, &value.to_string())),
                Value::Null | Value::Object(_) => {}
            }
        }
        query
    }

    fn wrong<T>(&self, field: &str, message: &str) -> Option<T> {
        self.refuse(field, message);
        None
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
