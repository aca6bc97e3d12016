//! A running hub on a free port, and scripted bridges that speak to it over real TLS.

mod bridge;
mod client;
mod recorder;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::command::Body;
use lockbridge_protocol::proto::tunnel::{DeleteUser, PutUser, User};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use bridge::State;
pub(crate) use client::{Identity, Keys, token_request};
pub(crate) use recorder::Recorder;

use crate::authority::{Authority, IssueError, NewCommand};
use crate::clock::now_ms;
use crate::enroll::{Ca, Enroller};
use crate::hub::{AdmissionSettings, Hub, HubParts};
use crate::net;
use crate::store::{DataDirectory, Store, StoreError, bridges, tokens, workspaces};

/// Longest wait for anything in these tests.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
const HOUR_MS: i64 = 3_600_000;

pub(crate) struct Bench {
    _directory: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) authority: Authority,
    pub(crate) ca: Arc<Ca>,
    pub(crate) hub: Hub,
    pub(crate) address: SocketAddr,
    pub(crate) recorder: Recorder,
    pub(crate) stop: CancellationToken,
    pub(crate) serving: JoinHandle<()>,
    pub(crate) workspace_id: String,
    pub(crate) site_id: String,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::with(AdmissionSettings::default()).await
    }

    pub(crate) async fn with(admission: AdmissionSettings) -> Self {
        let temporary = tempfile::tempdir().expect("a directory");
        let directory = DataDirectory::open(temporary.path()).expect("opens");
        let store = Store::open(&directory.database()).expect("opens");
        let authority = Authority::open(&directory).expect("makes a key");
        let ca = Arc::new(Ca::open(&directory).expect("makes a CA"));
        let (workspace_id, site_id) = store
            .write(|tx| {
                let workspace_id = workspaces::create(tx, now_ms(), "Hotel")?;
                let site_id = workspaces::site(tx, now_ms(), &workspace_id, "Main")?;
                Ok::<_, StoreError>((workspace_id, site_id))
            })
            .await
            .expect("writes");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("is bound");
        let identity = ca.server_identity(&["localhost".to_owned()]).expect("issues");
        let tls = net::hub_config(ca.certificate(), identity.chain, identity.key).expect("is a server");
        let recorder = Recorder::default();
        let tunnel_url = format!("wss://localhost:{}/v1/tunnel", address.port());
        let hub = Hub::start(HubParts {
            store: store.clone(),
            authority: authority.clone(),
            ingest: Arc::new(recorder.clone()),
            enroller: Enroller::new(store.clone(), Arc::clone(&ca), authority.public(), &tunnel_url),
            admission,
            drain_window: Duration::from_secs(1),
        })
        .await
        .expect("starts");
        let stop = CancellationToken::new();
        let serving = tokio::spawn({
            let (hub, stop) = (hub.clone(), stop.clone());
            async move { hub.serve(listener, tls, stop).await }
        });
        Self {
            _directory: temporary,
            store,
            authority,
            ca,
            hub,
            address,
            recorder,
            stop,
            serving,
            workspace_id,
            site_id,
        }
    }

    /// A token that lives until an hour from now, or ended an hour ago.
    pub(crate) async fn token(&self, alive: bool) -> SigningKey {
        let key = SigningKey::from_bytes(&rand::random());
        let public = key.verifying_key().to_bytes();
        let (workspace, site) = (self.workspace_id.clone(), self.site_id.clone());
        let expires = if alive { now_ms() + HOUR_MS } else { now_ms() - HOUR_MS };
        let write = self.store.write(move |tx| tokens::create(tx, now_ms(), &public, &workspace, &site, expires));
        write.await.expect("writes");
        key
    }

    /// A bridge that has just enrolled.
    pub(crate) async fn enrolled(&self) -> Identity {
        let token = self.token(true).await;
        let keys = Keys::new();
        let response = self.enroll(&token, &keys).await.expect("enrolls");
        keys.identity(response)
    }

    /// Issues a command in a lane of its own user, without waking the hub.
    pub(crate) async fn issue(&self, bridge_id: &str, body: Body) -> Result<CommandId, IssueError> {
        let new = NewCommand {
            bridge_id: bridge_id.to_owned(),
            lock_system: "space".into(),
            lane: crate::authority::lane_of(&body).expect("has a lane"),
            body,
            not_before_ms: 0,
            expires_at_ms: now_ms() + 60_000,
            max_start_delay_ms: 0,
            cancels_below: false,
        };
        let authority = self.authority.clone();
        self.store.write(move |tx| authority.issue(tx, now_ms(), new)).await
    }

    pub(crate) async fn bridge(&self, bridge_id: &str) -> bridges::Bridge {
        let id = bridge_id.to_owned();
        let read = self.store.read(move |connection| bridges::find(connection, &id));
        read.await.expect("reads").expect("is there")
    }

    /// Codes of the alarms so far.
    pub(crate) async fn alarms(&self) -> Vec<String> {
        let read = self.store.read(|connection| {
            let mut statement = connection.prepare("SELECT code FROM alarms ORDER BY alarm_id")?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok::<_, StoreError>(rows.collect::<Result<_, _>>()?)
        });
        read.await.expect("reads")
    }

    /// Waits until the database says so.
    pub(crate) async fn eventually(&self, bridge_id: &str, holds: impl Fn(&bridges::Bridge) -> bool) {
        let waiting = async {
            while !holds(&self.bridge(bridge_id).await) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(DEADLINE, waiting).await.expect("holds in time");
    }
}

pub(crate) fn put_user(user_id: &str) -> Body {
    let user = User { user_id: user_id.into(), full_name: "Jane Doe".into(), ..User::default() };
    Body::PutUser(PutUser { user: Some(user), revision: 1 })
}

pub(crate) fn delete_user(user_id: &str) -> Body {
    Body::DeleteUser(DeleteUser { user_id: user_id.into() })
}
