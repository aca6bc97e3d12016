//! Random traffic, random cuts: what both promise, checked at every step.

use super::*;

/// What outlives sessions at the bridge: a journal, in which appended is not yet durable.
#[derive(Default)]
struct BridgeWorld {
    decided: Vec<u64>,
    durable: usize,
    reports_made: u64,
    reports_kept_from: u64,
    epoch_seen: u64,
    inbox: u64,
}

/// What outlives sessions at the hub.
#[derive(Default)]
struct HubWorld {
    numbered: Vec<Priority>,
    acknowledged: u64,
    reports: Vec<u64>,
    epoch: u64,
    waiting: VecDeque<Priority>,
}

struct World {
    bridge: BridgeWorld,
    hub: HubWorld,
    pair: Option<Pair>,
    granted: [u64; 4],
    received: [u64; 4],
    /// What the hub had numbered when this session began.
    numbered_before: u64,
}

const PRIORITIES: [Priority; 4] = [Priority::Safety, Priority::Interactive, Priority::Convergent, Priority::Background];

impl World {
    fn new() -> Self {
        Self {
            bridge: BridgeWorld { reports_kept_from: 1, ..BridgeWorld::default() },
            hub: HubWorld::default(),
            pair: None,
            granted: [0; 4],
            received: [0; 4],
            numbered_before: 0,
        }
    }

    fn connect(&mut self) {
        let hello = Hello {
            commands_durable_through: self.bridge.durable as u64,
            reports_first_kept: self.bridge.reports_kept_from,
            reports_last: self.bridge.reports_made,
            highest_epoch_seen: self.bridge.epoch_seen,
            ..hello()
        };
        self.granted = [0; 4];
        self.received = [0; 4];
        self.pair = Some(Pair::new(hello, HubSettings { report_window: 5, ..HubSettings::default() }));
    }

    /// The link goes with all that was on it; a bridge killed with it also loses what was not durable.
    fn cut(&mut self, killed: bool) {
        self.pair = None;
        if killed {
            self.bridge.decided.truncate(self.bridge.durable);
        }
    }

    fn bridge_does(&mut self) {
        let Some(pair) = self.pair.as_mut() else { return };
        for action in std::mem::take(&mut pair.bridge_actions) {
            match action {
                BridgeAction::Welcomed(welcomed) => {
                    assert!(welcomed.epoch > self.bridge.epoch_seen);
                    self.bridge.epoch_seen = welcomed.epoch;
                    self.bridge.reports_kept_from =
                        self.bridge.reports_kept_from.max(welcomed.reports_durable_through + 1);
                    pair.bridge_event(BridgeEvent::EpochDurable);
                }
                BridgeAction::Deliver(deliveries) => {
                    for delivery in deliveries {
                        let place = slot(priority_of(&delivery));
                        self.received[place] += 1;
                        let resent = delivery.delivery_sequence <= self.numbered_before;
                        assert!(resent || self.received[place] <= self.granted[place], "credit was passed");
                        let next = self.bridge.decided.len() as u64 + 1;
                        assert!(delivery.delivery_sequence <= next, "a delivery was left out");
                        if delivery.delivery_sequence == next {
                            self.bridge.decided.push(next);
                            self.bridge.inbox += 1;
                        }
                    }
                }
                BridgeAction::ReportsDurable(through) => {
                    assert!(through <= self.hub.reports.len() as u64, "acknowledged before durable");
                    self.bridge.reports_kept_from = self.bridge.reports_kept_from.max(through + 1);
                }
                BridgeAction::Close(_, end) => panic!("the bridge ended the session: {end}"),
                _ => {}
            }
        }
        if let Some(wanted) = pair.bridge.reports_wanted() {
            assert!(wanted.from >= self.bridge.reports_kept_from, "asked for what is no longer kept");
            let through = self.bridge.reports_made.min(wanted.from + wanted.count as u64 - 1);
            pair.bridge_event(BridgeEvent::Reports((wanted.from..=through).map(report).collect()));
        }
    }

    fn hub_does(&mut self) {
        let Some(pair) = self.pair.as_mut() else { return };
        for action in std::mem::take(&mut pair.hub_actions) {
            match action {
                HubAction::Hello(_) => {
                    self.hub.epoch += 1;
                    self.numbered_before = self.hub.numbered.len() as u64;
                    pair.hub_event(HubEvent::Admit(Box::new(Admission {
                        deliveries_sent_through: self.hub.numbered.len() as u64,
                        deliveries_durable_through: self.hub.acknowledged,
                        reports_durable_through: self.hub.reports.len() as u64,
                        ..admission(self.hub.epoch)
                    })));
                }
                HubAction::CommandsDurable(through) => {
                    assert!(through <= self.bridge.durable as u64, "acknowledged before durable");
                    assert!(through > self.hub.acknowledged);
                    self.hub.acknowledged = through;
                }
                HubAction::Reports(reports) => {
                    for report in reports {
                        let next = self.hub.reports.len() as u64 + 1;
                        assert_eq!(report.sequence, next, "reports in order, each once");
                        self.hub.reports.push(next);
                    }
                    pair.hub_event(HubEvent::ReportsDurable(self.hub.reports.len() as u64));
                }
                HubAction::ReportsMissing(..) => panic!("no report was lost"),
                HubAction::Close(_, end) => panic!("the hub ended the session: {end}"),
                _ => {}
            }
        }
        match pair.hub.wanted() {
            Wanted::Nothing => {}
            Wanted::Resend { from, through } => {
                let offered: Vec<_> = (from..=through)
                    .take(3)
                    .map(|at| delivery(at, self.hub.numbered[usize::try_from(at).unwrap() - 1]))
                    .collect();
                pair.deliver(offered).unwrap();
            }
            Wanted::New { from, mut room } => {
                assert_eq!(from, self.hub.numbered.len() as u64 + 1);
                let mut offered = Vec::new();
                for priority in PRIORITIES {
                    while room[slot(priority)] > 0
                        && let Some(at) = self.hub.waiting.iter().position(|held| *held == priority)
                    {
                        room[slot(priority)] -= 1;
                        self.hub.waiting.remove(at);
                        self.hub.numbered.push(priority);
                        offered.push(delivery(self.hub.numbered.len() as u64, priority));
                    }
                }
                let count = offered.len();
                assert_eq!(pair.deliver(offered).unwrap(), count, "what has room is taken");
            }
        }
    }

    fn grant(&mut self, extra: [u64; 4]) {
        let Some(pair) = self.pair.as_mut().filter(|pair| pair.bridge.is_open()) else { return };
        for (total, more) in self.granted.iter_mut().zip(extra) {
            *total += more;
        }
        pair.bridge_event(BridgeEvent::Credit(self.granted, ""));
    }

    fn commit(&mut self) {
        self.bridge.durable = self.bridge.decided.len();
        if let Some(pair) = self.pair.as_mut() {
            pair.bridge_event(BridgeEvent::CommandsDurable(self.bridge.durable as u64));
        }
    }

    fn make_report(&mut self) {
        self.bridge.reports_made += 1;
        if let Some(pair) = self.pair.as_mut() {
            pair.bridge_event(BridgeEvent::ReportsMade(self.bridge.reports_made));
        }
    }

    fn move_one(&mut self, up: bool) {
        let Some(pair) = self.pair.as_mut() else { return };
        if up {
            if let Some(bytes) = pair.to_hub.pop_front() {
                pair.hub_event(HubEvent::Message(&bytes));
            }
        } else if let Some(bytes) = pair.to_bridge.pop_front() {
            pair.bridge_event(BridgeEvent::Message(&bytes));
        }
        self.bridge_does();
        self.hub_does();
    }

    /// Faults stop: everything must get through.
    fn settle(&mut self, commands: u64) {
        if self.pair.is_none() {
            self.connect();
        }
        for _ in 0..10_000 {
            self.grant([2; 4]);
            self.move_one(true);
            self.move_one(false);
            self.commit();
            if self.hub.acknowledged == commands && self.hub.reports.len() as u64 == self.bridge.reports_made {
                return;
            }
        }
        panic!("did not settle: {} of {commands} acknowledged", self.hub.acknowledged);
    }
}

#[derive(Debug, Clone)]
enum Act {
    Connect,
    Cut { killed: bool },
    Command(usize),
    Report,
    Grant([u64; 4]),
    Commit,
    Move { up: bool, times: usize },
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => Just(Act::Connect),
        1 => any::<bool>().prop_map(|killed| Act::Cut { killed }),
        4 => (0..4_usize).prop_map(Act::Command),
        4 => Just(Act::Report),
        3 => proptest::array::uniform4(0..4_u64).prop_map(Act::Grant),
        3 => Just(Act::Commit),
        12 => (any::<bool>(), 1..6_usize).prop_map(|(up, times)| Act::Move { up, times }),
        1 => (0..5_u64).prop_map(Act::Pass),
    ]
}

proptest! {
    #[test]
    fn everything_crosses_once_durable_and_in_order(acts in proptest::collection::vec(act(), 0..200)) {
        let mut world = World::new();
        let mut commands = 0;
        for act in acts {
            match act {
                Act::Connect if world.pair.is_none() => world.connect(),
                Act::Connect => {}
                Act::Cut { killed } => world.cut(killed),
                Act::Command(place) => {
                    commands += 1;
                    world.hub.waiting.push_back(PRIORITIES[place]);
                    world.hub_does();
                }
                Act::Report => world.make_report(),
                Act::Grant(extra) => world.grant(extra),
                Act::Commit => world.commit(),
                Act::Move { up, times } => (0..times).for_each(|_| world.move_one(up)),
                Act::Pass(seconds) => {
                    if let Some(pair) = world.pair.as_mut() {
                        pair.now += Duration::from_secs(seconds);
                        // Only what would end the session is left out; the link of this test is cut, never silent.
                        pair.bridge_event(BridgeEvent::Alive);
                        pair.hub_event(HubEvent::Alive);
                        if pair.bridge.epoch() != 0 {
                            pair.bridge_event(BridgeEvent::Timer);
                            pair.hub_event(HubEvent::Timer);
                        }
                    }
                }
            }
        }
        world.settle(commands);
        prop_assert_eq!(world.bridge.decided.len() as u64, commands);
        prop_assert_eq!(world.hub.numbered.len() as u64, commands);
    }
}
