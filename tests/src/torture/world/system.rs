//! The lock system of the world: follows its draws, and has its effects on the site that no crash of the daemon touches.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use lockbridge::system::{
    Description, Effect, EffectClass, Intake, LockSystem, Operation, OperationError, Performed, Probe, Retry,
    UserObservation,
};
use lockbridge_protocol::proto::tunnel::{InventoryItem, ObservedEncoder, ObservedEntrance, inventory_item::Kind};
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::authority::LOCK_SYSTEM;
use super::live::{Live, What};
use super::site::lane_of;

/// Encoders of the site.
pub(crate) const ENCODERS: [&str; 2] = ["desk-1", "desk-2"];
/// Doors of the site.
pub(crate) const DOORS: u32 = 24;

/// External id of a door.
pub(crate) fn door(number: u32) -> String {
    format!("door-{:02}", number % DOORS)
}

/// What a request meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done(Duration),
    Refused(Retry),
    /// Has the effect, and the answer is lost.
    LostAfter,
    /// Has no effect, and no answer comes.
    LostBefore,
}

/// The adapter.
#[derive(Debug)]
pub(crate) struct WorldSystem {
    live: Arc<Live>,
    description: Description,
    calls: AtomicU64,
    /// `None`: everything goes well.
    faults: Option<Mutex<StdRng>>,
}

impl WorldSystem {
    /// An adapter to the site of `live`.
    pub(crate) fn new(live: Arc<Live>, faults: Option<StdRng>) -> Arc<Self> {
        let description = Description {
            lock_system: LOCK_SYSTEM.into(),
            kind: "salto_space",
            display_name: "Tower".into(),
            time_zone: "UTC".into(),
            keeps_people: true,
            keys: None,
        };
        Arc::new(Self { live, description, calls: AtomicU64::new(0), faults: faults.map(Mutex::new) })
    }

    fn fate(&self) -> Fate {
        let Some(faults) = &self.faults else { return Fate::Done(Duration::from_millis(3)) };
        let mut random = faults.lock().unwrap_or_else(PoisonError::into_inner);
        match random.random_range(0..100) {
            0..72 => Fate::Done(Duration::from_millis(random.random_range(1..20))),
            72..82 => Fate::Done(Duration::from_millis(random.random_range(20..800))),
            82..89 => Fate::Refused(Retry::Later),
            89..91 => Fate::Refused(Retry::Never),
            91..96 => Fate::LostAfter,
            _ => Fate::LostBefore,
        }
    }

    fn effect(&self, call: u64, operation: &Arc<Operation>) -> Performed {
        // The copy tells what the effect says; the site itself is changed by the mark.
        let performed = self.live.world().site.clone().apply(operation);
        self.live.happen(What::Effect { call, operation: Arc::clone(operation) });
        performed
    }
}

fn failure(code: &'static str, effect: Effect, retry: Retry) -> OperationError {
    OperationError {
        code,
        message: format!("drawn: {code}"),
        vendor_code: String::new(),
        vendor_text: String::new(),
        effect,
        retry,
    }
}

impl LockSystem for WorldSystem {
    fn description(&self) -> &Description {
        &self.description
    }

    fn effect_class(&self, operation: &Operation) -> EffectClass {
        match operation {
            Operation::Encode { .. } | Operation::Unlock { .. } => EffectClass::Blind,
            Operation::AssignCard { .. } => EffectClass::Queryable,
            _ => EffectClass::Repeatable,
        }
    }

    fn probe(&self) -> BoxFuture<'_, Result<Probe, OperationError>> {
        Box::pin(async { Ok(Probe::default()) })
    }

    fn scan(&self, intake: mpsc::Sender<Intake>) -> BoxFuture<'_, Result<(), OperationError>> {
        Box::pin(async move {
            let item =
                |id: String, kind| InventoryItem { external_id: id, kind: Some(kind), ..InventoryItem::default() };
            let entrance = ObservedEntrance { can_unlock_with_card: true, ..ObservedEntrance::default() };
            let mut items: Vec<InventoryItem> =
                (0..DOORS).map(|number| item(door(number), Kind::Entrance(entrance))).collect();
            items.extend(ENCODERS.map(|encoder| item(encoder.to_owned(), Kind::Encoder(ObservedEncoder {}))));
            // A closed channel is the engine's end; nobody waits for the scan then.
            for piece in [Intake::Observed(items), Intake::ScanComplete] {
                if intake.send(piece).await.is_err() {
                    break;
                }
            }
            Ok(())
        })
    }

    fn events(&self, _: String, intake: mpsc::Sender<Intake>) -> BoxFuture<'_, Result<(), OperationError>> {
        Box::pin(async move {
            intake.closed().await;
            Ok(())
        })
    }

    fn perform(&self, operation: Operation, deadline: Duration) -> BoxFuture<'_, Result<Performed, OperationError>> {
        Box::pin(async move {
            let call = self.calls.fetch_add(1, Ordering::SeqCst);
            let operation = Arc::new(operation);
            let intent = self.live.truth().open_intent(&lane_of(&operation));
            self.live.happen(What::Began { call, operation: Arc::clone(&operation), intent });
            let result = match self.fate() {
                Fate::Done(pause) => {
                    sleep(pause).await;
                    let performed = self.effect(call, &operation);
                    // The answer is on its way for a moment: a cut may fall between it and the effect.
                    sleep(Duration::from_millis(1)).await;
                    Ok(performed)
                }
                Fate::Refused(retry) => {
                    sleep(Duration::from_millis(2)).await;
                    Err(failure("uncategorized_error", Effect::None, retry))
                }
                Fate::LostAfter => {
                    self.effect(call, &operation);
                    sleep(deadline).await;
                    Err(failure("encoder_communication_timeout", Effect::Unknown, Retry::Later))
                }
                Fate::LostBefore => {
                    sleep(deadline).await;
                    Err(failure("encoder_communication_timeout", Effect::Unknown, Retry::Later))
                }
            };
            self.live.happen(What::Answered { call });
            result
        })
    }

    fn observe_user(&self, user_id: &str) -> BoxFuture<'_, Result<UserObservation, OperationError>> {
        let user_id = user_id.to_owned();
        Box::pin(async move { Ok(self.live.world().site.observe(&user_id)) })
    }

    fn user_external_id(&self, user_id: &str) -> String {
        format!("LB-{user_id}")
    }
}
