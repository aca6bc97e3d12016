//! What orders come to: answers when their commands end, and what follows from the end of a command.

use std::collections::{BTreeMap, BTreeSet};

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::{CommandState, DeskAct, DeskOrder, command::Body};

use super::super::begin::Loaded;
use super::super::engine::{Act, Engine, EngineError};
use super::super::finish::Detail;
use super::super::work::user_of;
use super::{DeskAnswer, DeskAnswers, DeskOrderRequest, Done};

/// When an order is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// At the end of this encode.
    Key(CommandId),
    /// At the end of all its commands.
    All,
    /// At the end of the read.
    Card,
}

/// An order that is being carried out.
#[derive(Debug)]
pub(super) struct Job {
    told: Told,
    /// In use; empty: none.
    encoder: String,
    lock_system: String,
    request: [u8; 32],
    pub(super) answers: DeskAnswers,
    open: BTreeSet<CommandId>,
    /// Code and sentence of the first command that failed.
    failed: Option<(String, String)>,
    cards_lag: bool,
    /// Told that it is in doubt; what comes of it is told too.
    pub(super) doubtful: bool,
}

impl Job {
    pub(super) fn new(told: Told, request: &DeskOrderRequest, answers: &DeskAnswers) -> Self {
        Self {
            told,
            encoder: if told == Told::All { String::new() } else { request.encoder.clone() },
            lock_system: request.lock_system.clone(),
            request: request.request,
            answers: answers.clone(),
            open: BTreeSet::new(),
            failed: None,
            cards_lag: false,
            doubtful: false,
        }
    }
}

/// Orders that are being carried out, by number. Bounded where orders are taken.
#[derive(Debug, Default)]
pub(in crate::dispatch) struct Jobs {
    jobs: BTreeMap<u64, Job>,
    next: u64,
}

impl Jobs {
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn put(&mut self, mut job: Job, commands: impl IntoIterator<Item = CommandId>) {
        job.open.extend(commands);
        self.next = self.next.wrapping_add(1);
        self.jobs.insert(self.next, job);
    }

    /// An encoder has an order that is not in doubt: that one has left it.
    pub(super) fn uses(&self, lock_system: &str, encoder: &str) -> bool {
        let mut at_work = self.jobs.values().filter(|job| !job.doubtful);
        at_work.any(|job| job.lock_system == lock_system && job.encoder == encoder)
    }

    pub(super) fn of_request(&mut self, request: &[u8; 32]) -> Option<&mut Job> {
        self.jobs.values_mut().find(|job| job.request == *request)
    }

    /// The orders of which a command is part.
    fn of_command(&self, id: &CommandId) -> Vec<u64> {
        self.jobs.iter().filter(|(_, job)| job.open.contains(id)).map(|(number, _)| *number).collect()
    }
}

fn certainly_not_done(state: CommandState) -> bool {
    matches!(
        state,
        CommandState::Failed
            | CommandState::Rejected
            | CommandState::Expired
            | CommandState::Superseded
            | CommandState::Cancelled
    )
}

impl Engine {
    /// Stays as the journal knows them, at the start.
    pub(in crate::dispatch) fn recover_stays(&mut self) -> Result<(), EngineError> {
        let names: Vec<String> = self.systems.keys().cloned().collect();
        for name in names {
            for (user_id, sealed) in self.view().facts("holder", &name)? {
                if let Some(stay) = self.open_holder(&sealed).and_then(|holder| holder.stay) {
                    self.stays.put(&name, &user_id, stay);
                }
            }
        }
        let waiting: Vec<CommandId> = self.queue.iter().filter(|(_, slot)| slot.local).map(|(id, _)| *id).collect();
        for id in waiting {
            let Some(loaded) = self.load(&id)? else { continue };
            if let (Body::PutGrant(_), Some(order), Some(user_id)) =
                (&loaded.body, &loaded.command.desk, user_of(&loaded.body))
            {
                self.stays.put(&loaded.record.lock_system, user_id, order.clone());
            }
        }
        Ok(())
    }

    /// The order of a stay that is over for good.
    pub(in crate::dispatch) fn stay_over(
        &self,
        lock_system: &str,
        user_id: &str,
    ) -> Result<Option<DeskOrder>, EngineError> {
        let holder = self.holder(lock_system, user_id)?;
        let over = holder.filter(|holder| holder.stay_is_over(self.clock.wall_ms())).and_then(|holder| holder.stay);
        Ok(over.map(|stay| DeskOrder { act: DeskAct::EndKeys as i32, ..stay }))
    }

    /// What has to be written before the end of a command of the front desk.
    pub(in crate::dispatch) async fn desk_follows(
        &mut self,
        id: &CommandId,
        loaded: &Loaded,
        state: CommandState,
    ) -> Result<(), EngineError> {
        let (Body::EncodeCredential(encode), Some(order)) = (&loaded.body, &loaded.command.desk) else {
            return Ok(());
        };
        let lock_system = loaded.record.lock_system.clone();
        if certainly_not_done(state) {
            let lane = (lock_system.clone(), loaded.record.lane.clone());
            if self.queue.safety_in(&lane).is_some() {
                return Ok(()); // its end is what brought this about
            }
            // Nobody has a card: the holder goes again, rights and all.
            let end = DeskOrder { act: DeskAct::EndKeys as i32, ..order.clone() };
            Box::pin(self.end_stay(&lock_system, &encode.user_id, end, Some(*id))).await?;
        } else if state == CommandState::Succeeded && order.act() == DeskAct::NewKey {
            let room = order.entrance_external_ids.first().map(String::as_str).unwrap_or_default();
            for (user_id, earlier) in self.stays.of_room(&lock_system, room) {
                if user_id != encode.user_id && earlier.order < order.order {
                    let end = DeskOrder { act: DeskAct::EndKeys as i32, desk: order.desk.clone(), ..earlier };
                    Box::pin(self.end_stay(&lock_system, &user_id, end, None)).await?;
                }
            }
        }
        Ok(())
    }

    /// The end of a command, or its doubt, is written.
    pub(in crate::dispatch) fn desk_ended(
        &mut self,
        id: &CommandId,
        loaded: &Loaded,
        state: CommandState,
        detail: &Detail,
    ) {
        if let (Body::DeleteUser(delete), CommandState::Succeeded) = (&loaded.body, state) {
            self.stays.forget(&loaded.record.lock_system, &delete.user_id);
        } else if let (Body::PutGrant(_), Some(order), CommandState::Succeeded, Some(user_id)) =
            (&loaded.body, &loaded.command.desk, state, user_of(&loaded.body))
        {
            self.stays.put(&loaded.record.lock_system, user_id, order.clone());
        }
        for number in self.jobs.of_command(id) {
            let answer = self.jobs.jobs.get_mut(&number).and_then(|job| ended(job, id, state, detail));
            let Some((answer, is_over)) = answer else { continue };
            let answer = match answer {
                Answer::Told(answer) => answer,
                Answer::Card => self.card_answer(&loaded.record.lock_system, detail),
            };
            let Some(job) = self.jobs.jobs.get(&number) else { continue };
            let answers = job.answers.clone();
            if is_over {
                self.jobs.jobs.remove(&number);
            }
            // Who asked may have gone.
            self.when_durable(Act::Answer(Box::new(move || answers.tell(answer))));
        }
    }

    /// A card that was read, if it is of a stay.
    fn card_answer(&self, lock_system: &str, detail: &Detail) -> DeskAnswer {
        let card = detail.evidence.card_on_encoder.clone().unwrap_or_default();
        match self.stays.get(lock_system, &card.user_id) {
            Some(stay) => DeskAnswer::Card {
                room: stay.room.clone(),
                reservation: stay.reservation.clone(),
                ends_at_ms: stay.ends_at_ms,
            },
            None if card.blank || card.card_number.is_empty() => {
                DeskAnswer::Refused { code: "card_blank".to_owned(), message: "the card is blank".to_owned() }
            }
            None => DeskAnswer::Refused {
                code: "card_unknown".to_owned(),
                message: "the card is not a guest key of this bridge".to_owned(),
            },
        }
    }
}

enum Answer {
    Told(DeskAnswer),
    /// To be made from what was read.
    Card,
}

/// What is told at the end of a command, and whether the order is over.
fn ended(job: &mut Job, id: &CommandId, state: CommandState, detail: &Detail) -> Option<(Answer, bool)> {
    if state == CommandState::InDoubt {
        let news = !std::mem::replace(&mut job.doubtful, true);
        return news.then_some((Answer::Told(DeskAnswer::Asking), false));
    }
    job.open.remove(id);
    job.cards_lag |= detail.evidence.card_update_needed;
    if state == CommandState::Abandoned {
        return Some((Answer::Told(DeskAnswer::InDoubt), true));
    }
    if state != CommandState::Succeeded && job.failed.is_none() {
        let error = detail.error.clone().unwrap_or_default();
        let code = if error.code.is_empty() { "uncategorized_error".to_owned() } else { error.code };
        job.failed = Some((code, error.message));
    }
    let is_over = match job.told {
        Told::Key(encode) => *id == encode,
        Told::All | Told::Card => job.open.is_empty(),
    };
    if !is_over {
        return None;
    }
    let done = state == CommandState::Succeeded;
    let answer = match (job.failed.take(), job.told) {
        // Rights that were not confirmed do not matter once the card is written.
        (_, Told::Key(_)) if done => DeskAnswer::Done(Done::AsAsked),
        (Some((code, message)), _) => DeskAnswer::Refused { code, message },
        (None, Told::Card) => return Some((Answer::Card, true)),
        (None, _) if job.cards_lag => DeskAnswer::Done(Done::CardsLag),
        (None, _) => DeskAnswer::Done(Done::AsAsked),
    };
    Some((Answer::Told(answer), true))
}
