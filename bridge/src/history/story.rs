//! The last commands, each with its story step by step.

use lockbridge_protocol::ids::CommandId;
use serde::Serialize;

use super::note::{Command, Note, What};
use crate::limits::{HISTORY_COMMANDS, HISTORY_STEPS};

/// Steps at the beginning of a long story that are always kept.
const BEGINNING: usize = 3;

/// One step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Step {
    /// `received`, `sent`, `requeued`, `acknowledged` (the cloud has the report), or the state that was reached.
    pub what: &'static str,
    /// When it was decided, ms since the epoch.
    pub at_ms: i64,
    /// When it was on disk and acted upon; 0 when a former process did it.
    #[serde(skip_serializing_if = "is_zero")]
    pub durable_ms: i64,
    /// Error code.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// Lock system or encoder.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub device: String,
    /// Who or what settled a doubt: `device`, `lock_system`, `uid 1000`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Attempt it belongs to.
    #[serde(skip_serializing_if = "is_none")]
    pub attempt: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_none(attempt: &u32) -> bool {
    *attempt == 0
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Story {
    #[serde(skip)]
    id: CommandId,
    /// Text form of the id.
    pub command_id: String,
    /// `put_grant`, ...
    pub kind: String,
    /// Where.
    pub lock_system: String,
    /// 0..=3 as in P0..P3.
    pub priority: u8,
    /// Given at the site, not by the cloud.
    pub on_site: bool,
    /// ms since the epoch.
    pub received_ms: i64,
    /// `queued`, `executing`, `in_doubt`, or how it ended.
    pub state: &'static str,
    /// Oldest first.
    pub steps: Vec<Step>,
    /// Steps left out after the first ones.
    pub left_out: u32,
    /// Report that the cloud has not acknowledged; 0: none.
    #[serde(skip)]
    report: u64,
    #[serde(skip)]
    version: u64,
}

/// Stories for the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoriesView {
    /// To be given at the next question.
    pub version: u64,
    /// Changed since the version that was given.
    pub commands: Vec<Story>,
}

/// All stories, at most [`HISTORY_COMMANDS`]: who did not change for longest goes.
#[derive(Debug, Default)]
pub(super) struct Stories {
    list: Vec<Story>,
    version: u64,
}

/// Whether nothing comes after this state but an acknowledgement.
pub(super) fn is_final(state: &str) -> bool {
    matches!(state, "succeeded" | "failed" | "rejected" | "expired" | "superseded" | "cancelled" | "abandoned")
}

impl Stories {
    pub(super) fn take(&mut self, note: Note, durable_ms: i64) {
        match note.what {
            What::Step { id, command, step, report } => {
                self.version += 1;
                let version = self.version;
                let Some(story) = self.story(id, command) else { return };
                story.state = match step.what {
                    "received" | "requeued" => "queued",
                    "sent" => "executing",
                    state => state,
                };
                story.report = report.max(story.report);
                story.version = version;
                story.push(Step { durable_ms, ..step });
            }
            What::Acknowledged { through, at_ms } => {
                for story in &mut self.list {
                    let told = is_final(story.state) || story.state == "in_doubt";
                    if told && story.report > 0 && story.report <= through {
                        self.version += 1;
                        (story.report, story.version) = (0, self.version);
                        story.push(Step { what: "acknowledged", at_ms, durable_ms, ..Step::default() });
                    }
                }
            }
        }
    }

    fn story(&mut self, id: CommandId, command: Option<Command>) -> Option<&mut Story> {
        if let Some(at) = self.list.iter().position(|story| story.id == id) {
            return self.list.get_mut(at);
        }
        let command = command?;
        if self.list.len() >= HISTORY_COMMANDS {
            let oldest = self.list.iter().enumerate().min_by_key(|(_, story)| story.version).map(|(at, _)| at)?;
            self.list.swap_remove(oldest);
        }
        self.list.push(Story::new(command));
        self.list.last_mut()
    }

    /// Puts what a former process did before these: `older` knows the beginning of what this process ended.
    pub(super) fn prepend(&mut self, older: Self) {
        for old in older.list {
            if let Some(story) = self.list.iter_mut().find(|story| story.id == old.id) {
                let newer = std::mem::replace(&mut story.steps, old.steps);
                story.left_out += old.left_out;
                for step in newer {
                    story.push(step);
                }
                continue;
            }
            self.list.push(Story { version: 0, ..old });
        }
        // Those of this process have versions above 0 and go last.
        self.list.sort_by_key(|story| (story.version > 0, story.version, story.received_ms));
        let surplus = self.list.len().saturating_sub(HISTORY_COMMANDS);
        self.list.drain(..surplus);
        for story in &mut self.list {
            self.version += 1;
            story.version = self.version;
        }
    }

    pub(super) fn view(&self, after: u64) -> StoriesView {
        let mut commands: Vec<Story> = self.list.iter().filter(|story| story.version > after).cloned().collect();
        commands.sort_by_key(|story| story.version);
        StoriesView { version: self.version, commands }
    }
}

impl Story {
    fn new(command: Command) -> Self {
        Self {
            id: command.id,
            command_id: command.id.to_string(),
            kind: command.kind,
            lock_system: command.lock_system,
            priority: command.priority,
            on_site: command.on_site,
            received_ms: command.received_ms,
            state: "queued",
            steps: Vec::new(),
            left_out: 0,
            report: 0,
            version: 0,
        }
    }

    fn push(&mut self, step: Step) {
        if self.steps.len() >= HISTORY_STEPS {
            self.steps.remove(BEGINNING);
            self.left_out += 1;
        }
        self.steps.push(step);
    }
}
