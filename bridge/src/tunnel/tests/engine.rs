//! An engine that remembers what it was given and makes it durable when told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use lockbridge_protocol::proto::tunnel::{Delivery, Quarantine, QuarantineReason};
use tokio::sync::{mpsc, watch};

use crate::dispatch::{EngineHandle, EngineRequest, OutboxReader, Resume, TunnelFeed};

#[derive(Debug, Default)]
pub(super) struct EngineState {
    pub(super) delivered: Vec<Delivery>,
    pub(super) durable_through: u64,
    pub(super) hold: bool,
    pub(super) epochs: Vec<u64>,
    pub(super) sessions_lost: usize,
    pub(super) reports_acknowledged: u64,
    pub(super) quarantined: Vec<Quarantine>,
    pub(super) suspected: Vec<QuarantineReason>,
    reports: BTreeMap<u64, Vec<u8>>,
}

/// Both sides of the engine as the tests need it.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    state: Arc<Mutex<EngineState>>,
    feed: Arc<watch::Sender<TunnelFeed>>,
    pub(super) handle: EngineHandle,
}

#[derive(Debug)]
struct Outbox(Arc<Mutex<EngineState>>);

impl OutboxReader for Outbox {
    fn read(&self, from: u64, count: usize, _bytes: usize) -> Vec<(u64, Vec<u8>)> {
        let state = self.0.lock().unwrap();
        state.reports.range(from..).take(count).map(|(sequence, report)| (*sequence, report.clone())).collect()
    }
}

impl Engine {
    /// Runs until every handle is gone.
    pub(super) fn start() -> Self {
        let (requests, mut receiver) = mpsc::channel(4);
        let state = Arc::new(Mutex::new(EngineState::default()));
        let feed = Arc::new(watch::Sender::new(TunnelFeed::default()));
        let handle = EngineHandle::new(requests, feed.subscribe(), Arc::new(Outbox(Arc::clone(&state))));
        let engine = Self { state, feed, handle };
        let (state, feed) = (Arc::clone(&engine.state), Arc::clone(&engine.feed));
        // The task ends with the last handle; no test outlives its engine.
        tokio::spawn(async move {
            while let Some(request) = receiver.recv().await {
                Self::take(&state, &feed, request);
            }
        });
        engine
    }

    fn take(state: &Mutex<EngineState>, feed: &watch::Sender<TunnelFeed>, request: EngineRequest) {
        let mut state = state.lock().unwrap();
        match request {
            EngineRequest::Resume(answer) => {
                let last = state.reports.keys().last().copied().unwrap_or_default();
                let resume = Resume {
                    store_id: [7; 16],
                    boot_counter: 1,
                    journal_sequence: 1,
                    commands_durable_through: state.durable_through,
                    reports_first_kept: state.reports_acknowledged + 1,
                    reports_last: last,
                    highest_epoch_seen: state.epochs.last().copied().unwrap_or_default(),
                    quarantine: None,
                    quarantine_left: 0,
                };
                answer.send(resume).ok();
            }
            EngineRequest::SessionOpened { epoch, reports_durable_through, quarantine, done } => {
                state.quarantined.extend(quarantine);
                state.epochs.push(epoch);
                state.reports_acknowledged = state.reports_acknowledged.max(reports_durable_through);
                feed.send_modify(|feed| feed.credits = [100; 4]);
                done.send(()).ok();
            }
            EngineRequest::SessionLost => state.sessions_lost += 1,
            EngineRequest::Deliver(deliveries) => {
                let last = deliveries.last().unwrap().delivery_sequence;
                state.delivered.extend(deliveries);
                if !state.hold {
                    state.durable_through = state.durable_through.max(last);
                    let through = state.durable_through;
                    feed.send_modify(|feed| feed.commands_durable_through = through);
                }
            }
            EngineRequest::Quarantined(told) => state.quarantined.push(told),
            EngineRequest::Suspect { reason, .. } => state.suspected.push(reason),
            EngineRequest::ReportsDurable(through) => state.reports_acknowledged = through,
            other => panic!("the tunnel does not ask this: {other:?}"),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, EngineState> {
        self.state.lock().unwrap()
    }

    /// Sequences delivered so far, with repeats.
    pub(super) fn delivered(&self) -> Vec<u64> {
        self.state().delivered.iter().map(|delivery| delivery.delivery_sequence).collect()
    }

    /// The journal's flush, held back until now, is done.
    pub(super) fn commit(&self, through: u64) {
        {
            let mut state = self.state();
            state.hold = false;
            state.durable_through = through;
        }
        self.feed.send_modify(|feed| feed.commands_durable_through = through);
    }

    /// The engine's own quarantine is durable.
    pub(super) fn quarantine(&self, holds: Quarantine) {
        self.feed.send_modify(|feed| feed.quarantine = Some(holds));
    }

    /// Makes the reports up to `last` durable in the outbox.
    pub(super) fn report(&self, last: u64) {
        {
            let mut state = self.state();
            for sequence in 1..=last {
                state.reports.entry(sequence).or_insert_with(|| sequence.to_be_bytes().to_vec());
            }
        }
        self.feed.send_modify(|feed| feed.reports_last = last);
    }
}
