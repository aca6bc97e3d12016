//! Reading the elements of a request: types, lengths, repetitions, and what was not expected.

use super::super::refusal::{Refusal, code};
use super::super::site::user::{Field, Kind};
use super::super::wire::time::{LocalTime, Period};
use super::super::wire::xml::Node;
use super::Rules;

/// The child elements of one element, taken one by one; [`Fields::finish`] refuses what was left.
#[derive(Debug)]
pub struct Fields<'a> {
    parent: &'a Node,
    taken: Vec<bool>,
    rules: Rules,
}

impl<'a> Fields<'a> {
    /// All children of an element.
    pub fn new(parent: &'a Node, rules: Rules) -> Self {
        Self { parent, taken: vec![false; parent.children.len()], rules }
    }

    /// Takes an element. The same element twice is unexpected.
    pub fn take(&mut self, name: &str) -> Result<Option<&'a Node>, Refusal> {
        let mut found = None;
        for (child, taken) in self.parent.children.iter().zip(self.taken.iter_mut()) {
            if child.name != name {
                continue;
            }
            *taken = true;
            if found.is_some() {
                return Err(unexpected(name));
            }
            found = Some(child);
        }
        Ok(found)
    }

    /// Takes a scalar; an element with children is of the wrong type.
    pub fn scalar(&mut self, name: &str) -> Result<Option<&'a str>, Refusal> {
        match self.take(name)? {
            Some(node) if !node.children.is_empty() => Err(wrong_type(name)),
            other => Ok(other.map(|node| node.text.as_str())),
        }
    }

    /// A text that must be there and not be empty.
    pub fn required(&mut self, name: &str, longest: usize) -> Result<String, Refusal> {
        match self.scalar(name)? {
            Some(text) if !text.is_empty() => limited(name, text, longest),
            _ => Err(Refusal::new(code::INVALID, format!("{name} is missing"))),
        }
    }

    /// An optional `0` or `1`; absent is `0`.
    pub fn flag(&mut self, name: &str) -> Result<bool, Refusal> {
        match self.scalar(name)? {
            None | Some("0") => Ok(false),
            Some("1") => Ok(true),
            Some(_) => Err(wrong_type(name)),
        }
    }

    /// An optional number.
    pub fn number(&mut self, name: &str) -> Result<Option<i64>, Refusal> {
        self.scalar(name)?.map(|text| text.parse().map_err(|_| wrong_type(name))).transpose()
    }

    /// Takes a list: `None` when absent, otherwise its items.
    pub fn items(&mut self, list: &str, item: &str) -> Result<Option<Vec<&'a Node>>, Refusal> {
        let Some(node) = self.take(list)? else { return Ok(None) };
        let extra = node.children.iter().find(|child| child.name != item);
        match extra {
            Some(extra) if self.rules.strict => Err(unexpected(&extra.name)),
            _ if !node.text.is_empty() => Err(wrong_type(list)),
            _ => Ok(Some(node.children.iter().filter(|child| child.name == item).collect())),
        }
    }

    /// `UsePeriod` and `Period` of a permission or membership.
    pub fn period(&mut self) -> Result<Option<Period>, Refusal> {
        let used = self.flag("UsePeriod")?;
        let node = self.take("Period")?;
        let mut period = None;
        if let Some(node) = node {
            let mut inside = Self::new(node, self.rules);
            let start = inside.time("StartDate")?;
            let end = inside.time("EndDate")?;
            inside.finish()?;
            period = Some(Period { start, end });
        }
        match (used, period) {
            (false, _) => Ok(None),
            (true, None) => Err(Refusal::new(code::INVALID, "Period is missing")),
            (true, Some(period)) if period.start >= period.end => {
                Err(Refusal::new(code::INVALID, "The period ends before it starts"))
            }
            (true, period) => Ok(period),
        }
    }

    fn time(&mut self, name: &str) -> Result<LocalTime, Refusal> {
        let text = self.scalar(name)?.ok_or_else(|| Refusal::new(code::INVALID, format!("{name} is missing")))?;
        LocalTime::parse(text).ok_or_else(|| wrong_type(name))
    }

    /// Takes a scalar field of an entity and checks it; `None` when absent.
    pub fn field(&mut self, field: &Field) -> Result<Option<String>, Refusal> {
        if field.kind == Kind::ReadOnly {
            return match self.take(field.name)? {
                Some(_) if self.rules.strict => Err(unexpected(field.name)),
                _ => Ok(None),
            };
        }
        let Some(text) = self.scalar(field.name)? else { return Ok(None) };
        let value = match field.kind {
            Kind::Text(longest) => limited(field.name, text, longest)?,
            Kind::Bool if text == "0" || text == "1" => text.to_owned(),
            Kind::Int(low, high) => {
                let number: i64 = text.parse().map_err(|_| wrong_type(field.name))?;
                if number < low || number > high {
                    return Err(Refusal::new(code::INVALID, format!("{} is out of range", field.name)));
                }
                number.to_string()
            }
            Kind::Time => LocalTime::parse(text).ok_or_else(|| wrong_type(field.name))?.print(),
            Kind::Hex(longest) => {
                if text.len() % 2 != 0 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err(wrong_type(field.name));
                }
                limited(field.name, text, longest)?.to_ascii_uppercase()
            }
            Kind::Bool | Kind::ReadOnly => return Err(wrong_type(field.name)),
        };
        Ok(Some(value))
    }

    /// Refuses what nobody took (strict mode) and stray text.
    pub fn finish(&self) -> Result<(), Refusal> {
        if !self.rules.strict {
            return Ok(());
        }
        if !self.parent.text.is_empty() {
            return Err(Refusal::new(code::UNEXPECTED_NODES, format!("Unexpected text in {}", self.parent.name)));
        }
        match self.parent.children.iter().zip(&self.taken).find(|(_, taken)| !**taken) {
            Some((child, _)) => Err(unexpected(&child.name)),
            None => Ok(()),
        }
    }
}

/// Text within the length of the vendor's table.
pub fn limited(name: &str, text: &str, longest: usize) -> Result<String, Refusal> {
    if text.chars().count() > longest {
        return Err(Refusal::new(code::INVALID, format!("{name} is longer than {longest} characters")));
    }
    Ok(text.to_owned())
}

fn unexpected(name: &str) -> Refusal {
    Refusal::new(code::UNEXPECTED_NODES, format!("Unexpected node {name}"))
}

fn wrong_type(name: &str) -> Refusal {
    Refusal::new(code::WRONG_TYPE, format!("Wrong data type in {name}"))
}
