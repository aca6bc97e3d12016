//! What a check found.

use serde::Serialize;

use super::Check;

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// It works, and something needs a look.
    Warning,
    /// It could not be looked at, or there is nothing to look at; the evidence says why.
    Skipped,
    /// It does not work.
    Failed,
    /// It does not work, and nothing else can be looked at before it does.
    Fatal,
}

/// What a check says of one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Lock system, encoder or device; empty when there is only one.
    pub subject: String,
    /// How it is.
    pub outcome: Outcome,
    /// What was seen. No secrets, no names of guests.
    pub evidence: String,
    /// The next step; empty when there is none.
    pub remedy: String,
}

impl Verdict {
    /// As it should be.
    pub fn ok(evidence: impl Into<String>) -> Self {
        Self::new(Outcome::Ok, evidence, "")
    }

    /// Needs a look.
    pub fn warning(evidence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Outcome::Warning, evidence, remedy)
    }

    /// Not looked at.
    pub fn skipped(evidence: impl Into<String>) -> Self {
        Self::new(Outcome::Skipped, evidence, "")
    }

    /// Does not work.
    pub fn failed(evidence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Outcome::Failed, evidence, remedy)
    }

    fn new(outcome: Outcome, evidence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { subject: String::new(), outcome, evidence: evidence.into(), remedy: remedy.into() }
    }

    /// Says which subject it is about.
    #[must_use]
    pub fn about(self, subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), ..self }
    }

    pub(super) fn of_check(self, check: &Check) -> Finding {
        Finding {
            check: check.id,
            description: check.description,
            subject: self.subject,
            outcome: self.outcome,
            evidence: self.evidence,
            remedy: self.remedy,
        }
    }
}

/// A verdict and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Id of the check.
    pub check: &'static str,
    /// What holds when it is ok.
    pub description: &'static str,
    /// Lock system, encoder or device; empty when there is only one.
    pub subject: String,
    /// How it is.
    pub outcome: Outcome,
    /// What was seen.
    pub evidence: String,
    /// The next step; empty when there is none.
    pub remedy: String,
}
