//! Both machines in one test: a fake clock, a link that is cut at random, and a world on each side that remembers only what
//! it made durable.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::limits::FRAME_BYTES;
use crate::proto::tunnel::{
    BridgeFrame, BridgeHeartbeat, Command, DeleteUser, HealthReport, Hello, HubFrame, LaneGap, NumberedReport,
    Priority, PutUser, Quarantine, RefreshInventory, RefuseCode, Signed, UnlockEntrance, bridge_frame, command,
    hub_frame,
};
use crate::tunnel::frame::{self, FrameError};

const BOOT: Duration = Duration::from_secs(1000);

fn body_of(priority: Priority) -> command::Body {
    match priority {
        Priority::Safety => command::Body::DeleteUser(DeleteUser::default()),
        Priority::Interactive => command::Body::UnlockEntrance(UnlockEntrance::default()),
        Priority::Background => command::Body::RefreshInventory(RefreshInventory {}),
        _ => command::Body::PutUser(PutUser::default()),
    }
}

fn signed(priority: Priority) -> Signed {
    let command = Command { version: 1, body: Some(body_of(priority)), ..Command::default() };
    Signed { payload_type: "t".into(), payload: command.encode_to_vec(), signatures: Vec::new() }
}

fn delivery(sequence: u64, priority: Priority) -> Delivery {
    Delivery { delivery_sequence: sequence, command: Some(signed(priority)) }
}

fn report(sequence: u64) -> NumberedReport {
    let report = Signed { payload_type: "r".into(), payload: sequence.to_be_bytes().to_vec(), signatures: Vec::new() };
    NumberedReport { sequence, report: Some(report) }
}

fn hello() -> Hello {
    Hello {
        version_minimum: 1,
        version_maximum: 1,
        bridge_id: "bridge".into(),
        store_id: vec![1; 16],
        boot_nonce: vec![2; 16],
        reports_first_kept: 1,
        ..Hello::default()
    }
}

fn admission(epoch: u64) -> Admission {
    Admission { epoch, workspace_name: "Example".into(), ..Admission::default() }
}

/// Both machines on a perfect link, with what is on its way.
struct Pair {
    now: Duration,
    bridge: BridgeSession,
    hub: HubSession,
    to_hub: VecDeque<Bytes>,
    to_bridge: VecDeque<Bytes>,
    bridge_actions: Vec<BridgeAction>,
    hub_actions: Vec<HubAction>,
}

impl Pair {
    fn new(hello: Hello, settings: HubSettings) -> Self {
        let (bridge, first) = BridgeSession::open(hello, 1, BOOT).unwrap();
        let hub = HubSession::new(settings, "bridge", 2, BOOT);
        let mut pair = Self {
            now: BOOT,
            bridge,
            hub,
            to_hub: VecDeque::new(),
            to_bridge: VecDeque::new(),
            bridge_actions: Vec::new(),
            hub_actions: Vec::new(),
        };
        pair.keep_bridge(vec![first]);
        pair
    }

    /// Open on both sides, with this much credit.
    fn open(credits: [u64; 4]) -> Self {
        let mut pair = Self::new(hello(), HubSettings::default());
        pair.carry();
        pair.hub_event(HubEvent::Admit(Box::new(admission(1))));
        pair.carry();
        pair.bridge_event(BridgeEvent::EpochDurable);
        pair.bridge_event(BridgeEvent::Credit(credits, ""));
        pair.carry();
        pair.bridge_actions.clear();
        pair.hub_actions.clear();
        pair
    }

    fn keep_bridge(&mut self, actions: Vec<BridgeAction>) {
        for action in actions {
            match action {
                BridgeAction::Send(bytes) => self.to_hub.push_back(bytes),
                other => self.bridge_actions.push(other),
            }
        }
    }

    fn keep_hub(&mut self, actions: Vec<HubAction>) {
        for action in actions {
            match action {
                HubAction::Send(bytes) => self.to_bridge.push_back(bytes),
                other => self.hub_actions.push(other),
            }
        }
    }

    fn bridge_event(&mut self, event: BridgeEvent<'_>) {
        let actions = self.bridge.handle(event, self.now);
        self.keep_bridge(actions);
    }

    fn hub_event(&mut self, event: HubEvent<'_>) {
        let actions = self.hub.handle(event, self.now);
        self.keep_hub(actions);
    }

    /// Moves all that is on its way, until nothing is.
    fn carry(&mut self) {
        loop {
            if let Some(bytes) = self.to_hub.pop_front() {
                self.hub_event(HubEvent::Message(&bytes));
            } else if let Some(bytes) = self.to_bridge.pop_front() {
                self.bridge_event(BridgeEvent::Message(&bytes));
            } else {
                return;
            }
        }
    }

    fn deliver(&mut self, deliveries: Vec<Delivery>) -> Result<usize, DeliverError> {
        let (taken, actions) = self.hub.deliver(deliveries)?;
        self.keep_hub(actions);
        Ok(taken)
    }

    fn hub_sends(&mut self, epoch: u64, body: hub_frame::Body) {
        let bytes = HubFrame { epoch, body: Some(body) }.encode_to_vec();
        self.bridge_event(BridgeEvent::Message(&bytes));
    }

    fn bridge_sends(&mut self, epoch: u64, body: bridge_frame::Body) {
        let bytes = BridgeFrame { epoch, body: Some(body) }.encode_to_vec();
        self.hub_event(HubEvent::Message(&bytes));
    }

    fn bridge_end(&self) -> &BridgeEnd {
        match self.bridge_actions.last() {
            Some(BridgeAction::Close(_, end)) => end,
            other => panic!("the bridge did not close: {other:?}"),
        }
    }

    fn hub_end(&self) -> &HubEnd {
        match self.hub_actions.last() {
            Some(HubAction::Close(_, end)) => end,
            other => panic!("the hub did not close: {other:?}"),
        }
    }
}

mod breaches;
mod life;
mod simulation;
