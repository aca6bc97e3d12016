use serde_json::json;

use super::{Answer, Filter, Input, show};
use crate::api::conventions::page::LIMIT_DEFAULT;
use crate::model::attempts::{self, Attempt, COLUMNS};
use crate::model::{Scope, Work};

pub(crate) fn get(scope: &Scope<'_>, input: &Input) -> Answer {
    let id = input.required("action_attempt_id");
    input.check()?;
    Ok(json!({"action_attempt": attempts::get(scope, &id)?.document(scope.now_ms)?}))
}

pub(crate) fn list(scope: &Scope<'_>, input: &Input) -> Answer {
    let mut filter = Filter::workspace(scope, "");
    filter.within("action_attempt_id", input.list("action_attempt_ids"));
    let select = format!("SELECT {COLUMNS}, position FROM action_attempt");
    let (rows, pagination) = filter.page(scope, input, (&select, "position", 13), LIMIT_DEFAULT, Attempt::read)?;
    let documents = show(scope, &rows, |scope, attempt| attempt.document(scope.now_ms))?;
    Ok(json!({"action_attempts": documents, "pagination": pagination}))
}

pub(crate) fn cancel(work: &Work<'_>, input: &Input) -> Answer {
    let id = input.required("action_attempt_id");
    input.check()?;
    Ok(json!({"action_attempt": attempts::cancel(work, &id)?.document(work.now_ms)?}))
}
