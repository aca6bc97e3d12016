//! `FilterExpression` of the audit trail: `(field op value)` joined by `AND` and `OR` (`AND` binds tighter), with parentheses.

use thiserror::Error;

use super::super::wire::time::LocalTime;

/// Deepest nesting of parentheses.
const MAX_DEPTH: usize = 32;

/// Why an expression is not understood; answered with code 12.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FilterError {
    #[error("the filter has {found} where {expected} was expected")]
    Unexpected { found: String, expected: &'static str },
    #[error("the filter compares the unknown field {0}")]
    UnknownField(String),
    #[error("the filter compares {field} with {value}, which is not a {expected}")]
    WrongValue { field: &'static str, value: String, expected: &'static str },
    #[error("the filter is nested too deep")]
    TooDeep,
}

/// An event as the filter sees it: the texts that the request will be shown.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    /// `DoorID` as asked for.
    pub door: &'a str,
    /// `SubjectID` as asked for.
    pub subject: &'a str,
    /// `SubjectType`.
    pub subject_type: i64,
    /// `Operation`.
    pub operation: i64,
    /// `EventDateTime` as asked for.
    pub time: LocalTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Operator {
    fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Comparison {
    Door(String),
    Subject(String),
    SubjectType(i64),
    Operation(i64),
    Time(LocalTime),
}

/// A parsed filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(Expression);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Expression {
    Compare(Comparison, Operator),
    All(Vec<Self>),
    Any(Vec<Self>),
}

impl Filter {
    /// Parses an expression.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let tokens = tokens(text)?;
        let mut parser = Parser { tokens: &tokens, next: 0 };
        let expression = parser.any(0)?;
        match parser.take() {
            None => Ok(Self(expression)),
            Some(token) => Err(token.instead_of("AND, OR or the end")),
        }
    }

    /// Whether an event passes.
    pub fn matches(&self, row: &Row<'_>) -> bool {
        self.0.matches(row)
    }
}

impl Expression {
    fn matches(&self, row: &Row<'_>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.matches(row)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(row)),
            Self::Compare(value, operator) => operator.holds(match value {
                Comparison::Door(value) => row.door.cmp(value.as_str()),
                Comparison::Subject(value) => row.subject.cmp(value.as_str()),
                Comparison::SubjectType(value) => row.subject_type.cmp(value),
                Comparison::Operation(value) => row.operation.cmp(value),
                Comparison::Time(value) => row.time.cmp(value),
            }),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Word(String),
    Quoted(String),
    Operator(Operator),
}

impl Token {
    fn instead_of(&self, expected: &'static str) -> FilterError {
        FilterError::Unexpected { found: format!("{self:?}"), expected }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, FilterError> {
    let mut found = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let token = match character {
            blank if blank.is_whitespace() => continue,
            '(' => Token::Open,
            ')' => Token::Close,
            '=' => Token::Operator(Operator::Equal),
            '<' if characters.next_if_eq(&'>').is_some() => Token::Operator(Operator::NotEqual),
            '<' if characters.next_if_eq(&'=').is_some() => Token::Operator(Operator::LessOrEqual),
            '<' => Token::Operator(Operator::Less),
            '>' if characters.next_if_eq(&'=').is_some() => Token::Operator(Operator::GreaterOrEqual),
            '>' => Token::Operator(Operator::Greater),
            '!' if characters.next_if_eq(&'=').is_some() => Token::Operator(Operator::NotEqual),
            quote @ ('"' | '\'') => {
                let mut value = String::new();
                loop {
                    match characters.next() {
                        Some(end) if end == quote => break,
                        Some(inside) => value.push(inside),
                        None => return Err(Token::Quoted(value).instead_of("a closing quote")),
                    }
                }
                Token::Quoted(value)
            }
            first if first.is_alphanumeric() || first == '-' => {
                let mut word = String::from(first);
                while let Some(next) = characters.next_if(|next| next.is_alphanumeric()) {
                    word.push(next);
                }
                Token::Word(word)
            }
            other => return Err(Token::Word(other.to_string()).instead_of("a comparison")),
        };
        found.push(token);
    }
    Ok(found)
}

struct Parser<'a> {
    tokens: &'a [Token],
    next: usize,
}

impl Parser<'_> {
    fn take(&mut self) -> Option<&Token> {
        let token = self.tokens.get(self.next);
        self.next += 1;
        token
    }

    fn take_word(&mut self, word: &str) -> bool {
        let there = matches!(self.tokens.get(self.next), Some(Token::Word(found)) if found.eq_ignore_ascii_case(word));
        self.next += usize::from(there);
        there
    }

    fn any(&mut self, depth: usize) -> Result<Expression, FilterError> {
        let mut parts = vec![self.all(depth)?];
        while self.take_word("OR") {
            parts.push(self.all(depth)?);
        }
        Ok(Expression::Any(parts))
    }

    fn all(&mut self, depth: usize) -> Result<Expression, FilterError> {
        let mut parts = vec![self.one(depth)?];
        while self.take_word("AND") {
            parts.push(self.one(depth)?);
        }
        Ok(Expression::All(parts))
    }

    fn one(&mut self, depth: usize) -> Result<Expression, FilterError> {
        if depth > MAX_DEPTH {
            return Err(FilterError::TooDeep);
        }
        if self.tokens.get(self.next) == Some(&Token::Open) {
            self.next += 1;
            let inside = self.any(depth + 1)?;
            return match self.take() {
                Some(Token::Close) => Ok(inside),
                other => Err(other.unwrap_or(&Token::Close).instead_of("a closing parenthesis")),
            };
        }
        let field = match self.take() {
            Some(Token::Word(field)) => field.clone(),
            other => return Err(other.unwrap_or(&Token::Close).instead_of("a field")),
        };
        let operator = match self.take() {
            Some(Token::Operator(operator)) => *operator,
            other => return Err(other.unwrap_or(&Token::Close).instead_of("an operator")),
        };
        let value = match self.take() {
            Some(Token::Word(value) | Token::Quoted(value)) => value.clone(),
            other => return Err(other.unwrap_or(&Token::Close).instead_of("a value")),
        };
        compare(&field, value).map(|comparison| Expression::Compare(comparison, operator))
    }
}

fn compare(field: &str, value: String) -> Result<Comparison, FilterError> {
    let number =
        |field, value: String| value.parse().map_err(|_| FilterError::WrongValue { field, value, expected: "number" });
    match field {
        "DoorID" => Ok(Comparison::Door(value)),
        "SubjectID" => Ok(Comparison::Subject(value)),
        "SubjectType" => number("SubjectType", value).map(Comparison::SubjectType),
        "Operation" => number("Operation", value).map(Comparison::Operation),
        "EventDateTime" => match LocalTime::parse(&value) {
            Some(time) => Ok(Comparison::Time(time)),
            None => Err(FilterError::WrongValue { field: "EventDateTime", value, expected: "date" }),
        },
        other => Err(FilterError::UnknownField(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(filter: &str) -> bool {
        let time = LocalTime::parse("2026-11-22T15:00:00").unwrap();
        let row = Row { door: "R+D Department", subject: "U1", subject_type: 0, operation: 17, time };
        Filter::parse(filter).unwrap().matches(&row)
    }

    #[test]
    fn understands_the_published_examples() {
        assert!(passes("(Operation = 17)"));
        assert!(passes("(DoorID = \"MainEntrance\") OR (DoorID = 'R+D Department')"));
        assert!(passes("(Operation <> 115) AND (Operation != 114)"));
        assert!(passes("(EventDateTime >= '2008-1-1')"));
        assert!(!passes("(EventDateTime < '2026-11-22T15:00:00')"));
    }

    #[test]
    fn and_binds_tighter_and_parentheses_win() {
        assert!(passes("Operation = 17 OR Operation = 1 AND Operation = 2"));
        assert!(!passes("(Operation = 17 OR Operation = 1) AND Operation = 2"));
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for wrong in [
            "",
            "(",
            "Operation",
            "Operation =",
            "Colour = 1",
            "Operation = x",
            "EventDateTime > 'soon'",
            "(Operation = 1",
        ] {
            assert!(Filter::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Filter::parse("Operation = 1 Operation = 2").is_err());
        let deep = format!("{}Operation = 1{}", "(".repeat(500), ")".repeat(500));
        assert_eq!(Filter::parse(&deep), Err(FilterError::TooDeep));
    }
}
