//! What came of each step, as a table for people and as JSON.

use std::time::{Duration, Instant};

use serde::Serialize;

/// One step that was told.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// What it claims.
    pub name: String,
    /// Whether it held.
    pub held: bool,
    /// What was seen.
    pub seen: String,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// All steps and the figures of the end.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    /// In order.
    pub steps: Vec<Step>,
    /// Figures that the last step compares.
    pub figures: Vec<(String, String)>,
}

impl Summary {
    /// Runs one step, prints it as it goes, and keeps what came of it.
    pub async fn step<T>(
        &mut self,
        name: &str,
        work: impl Future<Output = anyhow::Result<(T, String)>>,
    ) -> anyhow::Result<T> {
        super::story::say(&format!("   {name} ..."));
        let begun = now();
        let result = work.await;
        let seconds = now().duration_since(begun).as_secs_f64();
        let (held, seen) = match &result {
            Ok((_, seen)) => (true, seen.clone()),
            Err(error) => (false, format!("{error:#}")),
        };
        let mark = if held { "ok " } else { "NO " };
        super::story::say(&format!("{mark}{name}: {seen} ({seconds:.1} s)"));
        self.steps.push(Step { name: name.to_owned(), held, seen, seconds });
        result.map(|(value, _)| value)
    }

    /// Whether every step held, and there was one.
    pub fn held(&self) -> bool {
        !self.steps.is_empty() && self.steps.iter().all(|step| step.held)
    }

    /// The table.
    pub fn table(&self) -> String {
        let width = self.steps.iter().map(|step| step.name.chars().count()).max().unwrap_or(0);
        let mut lines = vec![String::new(), "Summary".to_owned()];
        for step in &self.steps {
            let held = if step.held { "held" } else { "FAILED" };
            lines.push(format!(
                "  {:<width$}  {held:<6}  {:>6.1} s  {}",
                step.name,
                step.seconds,
                first_line(&step.seen)
            ));
        }
        let width = self.figures.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        lines.push(String::new());
        lines.extend(self.figures.iter().map(|(name, value)| format!("  {name:<width$}  {value}")));
        let total: f64 = self.steps.iter().map(|step| step.seconds).sum();
        let held = if self.held() { "Every step held" } else { "NOT every step held" };
        lines.push(String::new());
        lines.push(format!("{held}; the story took {:.1} s.", Duration::from_secs_f64(total).as_secs_f64()));
        lines.join("\n")
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn now() -> Instant {
    Instant::now()
}
