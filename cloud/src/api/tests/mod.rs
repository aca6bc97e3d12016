//! The API through its router, with a real store and authority, and bridge reports written by hand.

mod attempts;
mod bad_input;
mod conventions;
mod grants;
mod people;
mod site;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::body::Body;
use axum::http::{Method, Request, Response};
use ed25519_dalek::SigningKey;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use lockbridge_protocol::proto::tunnel as proto;
use lockbridge_protocol::signed::command::{Audience, AuthorityKeys, verify};
use prost::Message as _;
use proto::command::Body as Command;
use proto::report::Body as Told;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{ApiState, BridgeLink, router};
use crate::authority::Authority;
use crate::hub::Ingest as _;
use crate::model::ingest::ModelIngest;
use crate::store::{Store, StoreError, workspaces};

const BRIDGE: &str = "11111111-1111-4111-8111-111111111111";
const START: i64 = 1_795_314_600_000; // 2026-11-22T02:30:00Z
const HOUR: i64 = 3_600_000;

#[derive(Default)]
struct Wakes(AtomicI64);

impl BridgeLink for Wakes {
    fn wake(&self, bridge_id: &str) {
        assert_eq!(bridge_id, BRIDGE);
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// One signed command, as the bridge would read it.
struct Given {
    id: Vec<u8>,
    expires_at_ms: i64,
    cancels_below: u64,
    lane: String,
    lane_sequence: u64,
    body: Command,
}

struct Hotel {
    _directory: tempfile::TempDir,
    store: Store,
    authority: Authority,
    audience: Audience,
    ingest: ModelIngest,
    service: TowerToHyperService<axum::Router>,
    key: String,
    clock: Arc<AtomicI64>,
    wakes: Arc<Wakes>,
    reports: AtomicI64,
    seen: AtomicI64,
}

impl Hotel {
    /// A workspace with one bridge and nothing else.
    async fn empty() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(&directory.path().join("cloud.sqlite")).expect("opens");
        let made = store.write(|tx| {
            let workspace_id = workspaces::create(tx, START, "Hotel")?;
            let site_id = workspaces::site(tx, START, &workspace_id, "Main")?;
            tx.execute(
                "INSERT INTO bridges (bridge_id, workspace_id, site_id, display_name, software_version, audit_key,
                                      generation, created_at_ms) VALUES (?1, ?2, ?3, 'host', '0.1.0', x'04', 1, ?4)",
                (BRIDGE, &workspace_id, &site_id, START),
            )?;
            let key = workspaces::create_api_key(tx, START, &workspace_id, "test")?;
            Ok::<_, StoreError>((workspace_id, site_id, key.expose_secret().to_owned()))
        });
        let (workspace_id, site_id, key) = made.await.expect("writes");
        let authority = Authority::new(SigningKey::from_bytes(&[9; 32]));
        let clock = Arc::new(AtomicI64::new(START));
        let wakes = Arc::new(Wakes::default());
        let now = Arc::clone(&clock);
        let state = ApiState {
            store: store.clone(),
            authority: authority.clone(),
            link: Arc::<Wakes>::clone(&wakes),
            origin: "https://api.example.com".to_owned(),
            clock: Arc::new(move || now.load(Ordering::SeqCst)),
        };
        Self {
            _directory: directory,
            store,
            ingest: ModelIngest::new(authority.clone()),
            authority,
            audience: Audience { workspace_id, site_id, bridge_id: BRIDGE.to_owned() },
            service: TowerToHyperService::new(router(state)),
            key,
            clock,
            wakes,
            reports: AtomicI64::new(0),
            seen: AtomicI64::new(0),
        }
    }

    /// A connected SALTO Space with three doors, an encoder and two access groups.
    async fn open() -> Self {
        let hotel = Self::empty().await;
        hotel.hello().await;
        hotel.link(true).await;
        hotel.health(true, true).await;
        let door = |external_id: &str, remote: bool| {
            item(external_id, false, proto::inventory_item::Kind::Entrance(entrance(remote)))
        };
        hotel
            .told(Told::InventoryDelta(proto::InventoryDelta {
                lock_system: "space".to_owned(),
                items: vec![
                    door("101", false),
                    door("102", false),
                    door("Gate", true),
                    item("Desk", false, proto::inventory_item::Kind::Encoder(proto::ObservedEncoder {})),
                    item(
                        "Pool",
                        false,
                        proto::inventory_item::Kind::Group(proto::ObservedGroup {
                            entrance_external_ids: vec!["Gate".to_owned()],
                        }),
                    ),
                ],
                scan_complete: true,
            }))
            .await;
        hotel
    }

    fn now(&self) -> i64 {
        self.clock.load(Ordering::SeqCst)
    }

    fn pass(&self, milliseconds: i64) {
        self.clock.fetch_add(milliseconds, Ordering::SeqCst);
    }

    async fn hello(&self) {
        let (ingest, now) = (self.ingest.clone(), self.now());
        let systems = vec![proto::LockSystemDescription {
            lock_system: "space".to_owned(),
            kind: "salto_space".to_owned(),
            display_name: "Main building".to_owned(),
            time_zone: "Europe/Madrid".to_owned(),
        }];
        self.store.write(move |tx| ingest.hello(tx, now, BRIDGE, &systems)).await.expect("hello");
    }

    async fn link(&self, up: bool) {
        let (ingest, now) = (self.ingest.clone(), self.now());
        self.store.write(move |tx| ingest.link(tx, now, BRIDGE, up)).await.expect("link");
    }

    async fn health(&self, reachable: bool, logged_in: bool) {
        let (ingest, now) = (self.ingest.clone(), self.now());
        let health = proto::HealthReport {
            lock_systems: vec![proto::LockSystemHealth {
                lock_system: "space".to_owned(),
                reachable,
                logged_in,
                reason: None,
                inventory_at_ms: 0,
            }],
            reasons: vec![],
            ..proto::HealthReport::default()
        };
        self.store.write(move |tx| ingest.health(tx, now, BRIDGE, &health)).await.expect("health");
    }

    /// A bridge tells how far a command has come at its encoder.
    async fn at_encoder(&self, bridge_id: &'static str, given: &Given, stage: proto::EncoderStage, position: u32) {
        let (ingest, now, audience) = (self.ingest.clone(), self.now(), self.audience.clone());
        let job = proto::EncoderJob {
            command_id: given.id.clone(),
            stage: stage.into(),
            position,
            ..proto::EncoderJob::default()
        };
        let health = proto::HealthReport { encoder_jobs: vec![job], ..proto::HealthReport::default() };
        let told = self.store.write(move |tx| {
            tx.execute(
                "INSERT OR IGNORE INTO bridges (bridge_id, workspace_id, site_id, display_name, software_version, audit_key,
                                                generation, created_at_ms) VALUES (?1, ?2, ?3, 'host', '0.1.0', x'05', 1, ?4)",
                (bridge_id, &audience.workspace_id, &audience.site_id, START),
            )?;
            ingest.health(tx, now, bridge_id, &health)
        });
        told.await.expect("health");
    }

    /// A report from the site, a second before now.
    async fn told(&self, body: Told) {
        let (ingest, now) = (self.ingest.clone(), self.now());
        let sequence = self.reports.fetch_add(1, Ordering::SeqCst).unsigned_abs() + 1;
        let report = proto::Report {
            version: 1,
            bridge_id: BRIDGE.to_owned(),
            store_id: vec![],
            sequence,
            occurred_at_ms: now - 1_000,
            body: Some(body),
        };
        self.store.write(move |tx| ingest.report(tx, now, BRIDGE, &report)).await.expect("report");
    }

    /// The bridge tells how a command stands.
    async fn update(&self, given: &Given, state: proto::CommandState, evidence: proto::Evidence, error: &str) {
        let error = (!error.is_empty()).then(|| proto::CommandError {
            code: error.to_owned(),
            message: "It failed.".to_owned(),
            ..Default::default()
        });
        self.told(Told::CommandUpdate(proto::CommandUpdate {
            command_id: given.id.clone(),
            state: state.into(),
            error,
            evidence: Some(evidence),
            ..proto::CommandUpdate::default()
        }))
        .await;
    }

    async fn succeed(&self, given: &Given) {
        let evidence = proto::Evidence {
            truth: proto::TruthLevel::Medium.into(),
            card_number: "04A1B2C3".to_owned(),
            ..proto::Evidence::default()
        };
        self.update(given, proto::CommandState::Succeeded, evidence, "").await;
    }

    /// Commands signed since the last call, verified as a bridge does.
    async fn commands(&self) -> Vec<Given> {
        let after = self.seen.load(Ordering::SeqCst);
        let rows: Vec<(i64, Vec<u8>)> = self
            .store
            .read(move |connection| {
                let mut statement = connection
                    .prepare("SELECT command_row, signed FROM commands WHERE command_row > ?1 ORDER BY command_row")?;
                let rows =
                    statement.query_map([after], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
                Ok::<_, StoreError>(rows)
            })
            .await
            .expect("reads");
        let public = self.authority.public();
        let keys = AuthorityKeys::new([public.public_key.as_slice()]).expect("keys");
        let given = rows.iter().map(|(row, bytes)| {
            self.seen.store(*row, Ordering::SeqCst);
            let signed = proto::Signed::decode(bytes.as_slice()).expect("signed");
            let command = verify(&keys, &self.audience, &signed).expect("verifies").command;
            Given {
                id: command.command_id,
                expires_at_ms: command.expires_at_ms,
                cancels_below: command.cancels_below,
                lane: command.lane,
                lane_sequence: command.lane_sequence,
                body: command.body.expect("a body"),
            }
        });
        given.collect()
    }

    /// Answers every new command with success.
    async fn carry_out(&self) -> usize {
        let given = self.commands().await;
        for command in &given {
            self.succeed(command).await;
        }
        given.len()
    }

    async fn request(&self, request: Request<Body>) -> (u16, Value, Response<()>) {
        let response = self.service.call(request).await.expect("answers");
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 10 << 20).await.expect("a body");
        let value = serde_json::from_slice(&bytes).expect("JSON");
        (parts.status.as_u16(), value, Response::from_parts(parts, ()))
    }

    fn build(&self, method: Method, target: &str, body: Body) -> Request<Body> {
        Request::builder()
            .method(method)
            .uri(target)
            .header("authorization", format!("Bearer {}", self.key))
            .body(body)
            .expect("a request")
    }

    async fn try_post(&self, path: &str, body: Value) -> (u16, Value) {
        let (status, body, _) = self.request(self.build(Method::POST, path, Body::from(body.to_string()))).await;
        (status, body)
    }

    /// A POST that must be answered with success.
    async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.try_post(path, body).await;
        assert_eq!((status, &answer["ok"]), (200, &json!(true)), "{path}: {answer}");
        answer
    }

    /// A POST that must be refused; answers `error`.
    async fn refused(&self, path: &str, body: Value) -> (u16, Value) {
        let (status, answer) = self.try_post(path, body).await;
        assert_eq!(answer["ok"], json!(false), "{path}: {answer}");
        (status, answer["error"].clone())
    }

    async fn get(&self, target: &str) -> Value {
        let (status, body, _) = self.request(self.build(Method::GET, target, Body::empty())).await;
        assert_eq!(status, 200, "{target}: {body}");
        body
    }

    async fn door(&self, name: &str) -> String {
        let doors = self.get("/acs/entrances/list").await;
        let doors = doors["acs_entrances"].as_array().expect("doors");
        let door = doors.iter().find(|door| door["display_name"] == name).expect("the door");
        text(&door["acs_entrance_id"])
    }

    async fn encoder(&self) -> String {
        text(&self.get("/acs/encoders/list").await["acs_encoders"][0]["acs_encoder_id"])
    }

    async fn system(&self) -> String {
        text(&self.get("/acs/systems/list").await["acs_systems"][0]["acs_system_id"])
    }

    async fn person(&self, name: &str) -> String {
        let body = json!({"full_name": name, "email_address": format!("{name}@example.com")});
        text(&self.post("/user_identities/create", body).await["user_identity"]["user_identity_id"])
    }

    /// A card grant of the person over doors by name; not yet carried out.
    async fn grant(&self, person: &str, doors: &[&str]) -> Value {
        let mut ids = Vec::new();
        for door in doors {
            ids.push(self.door(door).await);
        }
        let body = json!({
            "user_identity_id": person,
            "acs_entrance_ids": ids,
            "requested_access_methods": [{"mode": "card"}],
            "ends_at": crate::model::time::text(self.now() + 48 * HOUR),
        });
        self.post("/access_grants/create", body).await["access_grant"].clone()
    }

    async fn method(&self, grant: &Value) -> Value {
        let target = format!("/access_methods/list?access_grant_id={}", text(&grant["access_grant_id"]));
        self.get(&target).await["access_methods"][0].clone()
    }

    async fn encode(&self, method: &Value) -> Value {
        let body = json!({"access_method_id": method["access_method_id"], "acs_encoder_id": self.encoder().await});
        self.post("/access_methods/encode", body).await["action_attempt"].clone()
    }

    async fn attempt(&self, attempt: &Value) -> Value {
        let target = format!("/action_attempts/get?action_attempt_id={}", text(&attempt["action_attempt_id"]));
        self.get(&target).await["action_attempt"].clone()
    }

    async fn credential(&self, method: &Value) -> Value {
        let target = format!("/acs/credentials/get?acs_credential_id={}", text(&method["acs_credential_id"]));
        self.get(&target).await["acs_credential"].clone()
    }

    async fn event_types(&self) -> Vec<String> {
        let events = self.get("/events/list?since=2026-01-01T00:00:00Z&limit=1000").await;
        events["events"].as_array().expect("events").iter().map(|event| text(&event["event_type"])).collect()
    }
}

fn entrance(can_unlock_remotely: bool) -> proto::ObservedEntrance {
    proto::ObservedEntrance { can_unlock_with_card: true, can_unlock_remotely, ..proto::ObservedEntrance::default() }
}

fn item(external_id: &str, removed: bool, kind: proto::inventory_item::Kind) -> proto::InventoryItem {
    proto::InventoryItem {
        external_id: external_id.to_owned(),
        removed,
        display_name: external_id.to_owned(),
        description: String::new(),
        kind: Some(kind),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("expected a string, got {value}")).to_owned()
}

fn codes(list: &Value, field: &str) -> Vec<String> {
    list.as_array().expect("a list").iter().map(|entry| text(&entry[field])).collect()
}
