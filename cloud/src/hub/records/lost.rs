//! Commands that a bridge acknowledged and lost with a part of its journal.

use std::sync::Arc;

use lockbridge_protocol::limits::{BATCH_BYTES, BATCH_ITEMS};
use lockbridge_protocol::proto::tunnel::{CommandState, Delivery, DeliveryRange, LostCommand, LostCommands};
use lockbridge_protocol::signed::command::parse;
use prost::Message;
use rusqlite::Transaction;

use super::{RecordError, Session, fence};
use crate::hub::Ingest;
use crate::store::lost::{self, Lost};
use crate::store::{Store, StoreError, bridges, commands};

/// Ids named in one alarm; the list has them all.
const ALARM_IDS: usize = 20;

/// Deals with the first part of the first range: the answer for the bridge, or none when nothing of it was ever sent. The
/// bridge asks for the rest when it has this part. Asked again, the same commands get the same answer.
pub(in crate::hub) async fn lost(
    store: &Store,
    ingest: &Arc<dyn Ingest>,
    now_ms: i64,
    session: Session,
    ranges: Vec<DeliveryRange>,
) -> Result<Option<LostCommands>, RecordError> {
    let Some(asked) = ranges.first().copied() else { return Ok(None) };
    let ingest = Arc::clone(ingest);
    store
        .write(move |tx| {
            fence(tx, &session)?;
            let bridge_id = session.bridge_id.as_str();
            let bridge = bridges::find(tx, bridge_id)?.ok_or(RecordError::Superseded)?;
            // What was not yet decided comes again by itself.
            let range =
                DeliveryRange { first: asked.first.max(1), last: asked.last.min(bridge.commands_durable_through) };
            if range.first > range.last {
                return Ok(None);
            }
            let (deliveries, last) = part(tx, bridge_id, range)?;
            let mut named = Vec::with_capacity(deliveries.len());
            let mut news = Vec::new();
            for delivery in deliveries {
                let (answer, new) = record(tx, &ingest, now_ms, bridge_id, delivery)?;
                news.extend(new);
                named.push(answer);
            }
            alarm(tx, now_ms, bridge_id, &news)?;
            Ok(Some(LostCommands { deliveries: Some(DeliveryRange { first: asked.first, last }), commands: named }))
        })
        .await
}

/// As many commands from the front of the range as fit one answer, and how far they reach.
fn part(tx: &Transaction<'_>, bridge_id: &str, range: DeliveryRange) -> Result<(Vec<Delivery>, u64), StoreError> {
    let limit = u64::try_from(BATCH_ITEMS).unwrap_or(u64::MAX);
    let found = commands::numbered(tx, bridge_id, range.first.saturating_sub(1), limit)?;
    let all = found.len() < BATCH_ITEMS;
    let mut taken: Vec<Delivery> = Vec::new();
    let mut bytes = 0_usize;
    for delivery in found {
        if delivery.delivery_sequence > range.last {
            return Ok((taken, range.last));
        }
        bytes = bytes.saturating_add(delivery.encoded_len());
        if bytes > BATCH_BYTES && !taken.is_empty() {
            return Ok((taken, delivery.delivery_sequence.saturating_sub(1)));
        }
        taken.push(delivery);
    }
    let reached = taken.last().map_or(range.last, |last| last.delivery_sequence);
    Ok((taken, if all { range.last } else { reached }))
}

/// Writes one command down as lost, unless it is already. The answer, and what was written.
fn record(
    tx: &Transaction<'_>,
    ingest: &Arc<dyn Ingest>,
    now_ms: i64,
    bridge_id: &str,
    delivery: Delivery,
) -> Result<(LostCommand, Option<Lost>), StoreError> {
    let signed = delivery.command.unwrap_or_default();
    let command = parse(&signed.payload).map_err(|_| StoreError::Damaged("signed command"))?;
    let answer = |lost: &Lost| LostCommand {
        command: Some(signed.clone()),
        state: lost.state.into(),
        successor_id: lost.successor_id.map(|id| id.0.to_vec()).unwrap_or_default(),
    };
    if let Some(before) = lost::find(tx, command.command_id)? {
        return Ok((answer(&before), None));
    }
    let standing = commands::standing(tx, command.command_id)?.ok_or(StoreError::Damaged("command"))?;
    let open = matches!(standing.state, CommandState::Unspecified | CommandState::Executing | CommandState::InDoubt);
    let successor_id = ingest.lost(tx, now_ms, &command, standing.state)?;
    if open {
        commands::set_state(tx, now_ms, bridge_id, command.command_id, &command.hash, CommandState::Abandoned)?;
    }
    let lost = Lost {
        command_id: command.command_id,
        bridge_id: bridge_id.to_owned(),
        delivery_sequence: delivery.delivery_sequence,
        kind: command.kind.to_owned(),
        lock_system: command.command.lock_system.clone(),
        lane: command.command.lane.clone(),
        state: if open { CommandState::Abandoned } else { standing.state },
        successor_id,
        lost_at_ms: now_ms,
    };
    lost::insert(tx, &lost)?;
    Ok((answer(&lost), Some(lost)))
}

fn alarm(tx: &Transaction<'_>, now_ms: i64, bridge_id: &str, news: &[Lost]) -> Result<(), StoreError> {
    if news.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = news.iter().take(ALARM_IDS).map(|lost| lost.command_id.to_string()).collect();
    let unknown =
        news.iter().filter(|lost| lost.state == CommandState::Abandoned && lost.successor_id.is_none()).count();
    let message = format!(
        "{} commands were lost with a damaged part of the bridge's journal, of {unknown} it is not known whether they were \
         carried out; see `lockbridge-cloud bridge lost`: {}",
        news.len(),
        ids.join(", ")
    );
    tracing::warn!(bridge_id, message, "Commands were lost.");
    bridges::alarm(tx, now_ms, Some(bridge_id), "commands_lost", &message)
}
