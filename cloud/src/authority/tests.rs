use ed25519_dalek::SigningKey;
use lockbridge_protocol::proto::tunnel::command::Body;
use lockbridge_protocol::proto::tunnel::{
    CancelCommand, DeleteUser, EncodeCredential, KeyOperation, Priority, RefreshInventory, SuspendUser,
};
use lockbridge_protocol::signed::command::{Audience, AuthorityKeys};

use super::*;
use crate::store::Store;
use crate::store::workspaces;

const NOW: i64 = 1_800_000_000_000;

struct Bench {
    _directory: tempfile::TempDir,
    store: Store,
    authority: Authority,
    audience: Audience,
}

impl Bench {
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(&directory.path().join("cloud.sqlite")).expect("opens");
        let audience = store
            .write(|tx| {
                let workspace_id = workspaces::create(tx, NOW, "Hotel")?;
                let site_id = workspaces::site(tx, NOW, &workspace_id, "Main")?;
                let bridge_id = "11111111-1111-4111-8111-111111111111".to_owned();
                tx.execute(
                    "INSERT INTO bridges (bridge_id, workspace_id, site_id, display_name, software_version, audit_key,
                                          generation, created_at_ms)
                     VALUES (?1, ?2, ?3, 'host', '0.1.0', x'04', 1, ?4)",
                    (&bridge_id, &workspace_id, &site_id, NOW),
                )?;
                Ok::<_, StoreError>(Audience { workspace_id, site_id, bridge_id })
            })
            .await
            .expect("writes");
        Self { _directory: directory, store, authority: Authority::new(SigningKey::from_bytes(&[9; 32])), audience }
    }

    async fn issue(&self, change: impl FnOnce(&mut NewCommand)) -> Result<CommandId, IssueError> {
        let mut new = NewCommand {
            bridge_id: self.audience.bridge_id.clone(),
            lock_system: "space".into(),
            lane: "user:u1".into(),
            body: Body::SuspendUser(SuspendUser { user_id: "u1".into(), suspended: true }),
            not_before_ms: 0,
            expires_at_ms: NOW + 60_000,
            max_start_delay_ms: 0,
            cancels_below: false,
        };
        change(&mut new);
        let authority = self.authority.clone();
        self.store.write(move |tx| authority.issue(tx, NOW, new)).await
    }

    async fn waiting(&self, priority: Priority) -> Vec<commands::Waiting> {
        let bridge_id = self.audience.bridge_id.clone();
        let read = self.store.read(move |connection| commands::waiting(connection, &bridge_id, priority, 100));
        read.await.expect("reads")
    }
}

fn encode() -> Body {
    Body::EncodeCredential(EncodeCredential {
        credential_id: "c1".into(),
        user_id: "u1".into(),
        encoder_external_id: "desk".into(),
        operation: KeyOperation::AssignNew.into(),
    })
}

#[tokio::test]
async fn the_bridge_believes_what_was_issued() {
    let bench = Bench::new().await;
    let command_id = bench.issue(|new| new.cancels_below = true).await.expect("issues");
    let waiting = bench.waiting(Priority::Safety).await;
    let [waiting] = waiting.as_slice() else { panic!("one command waits: {waiting:?}") };
    let keys = AuthorityKeys::new([bench.authority.public().public_key.as_slice()]).expect("a key");
    let verified = signed::command::verify(&keys, &bench.audience, &waiting.signed).expect("verifies");
    assert_eq!(verified.command_id, command_id);
    assert_eq!((verified.command.lane_sequence, verified.command.cancels_below), (1, 1));
    let standing = bench.store.read(move |connection| commands::standing(connection, command_id)).await;
    let standing = standing.expect("reads").expect("is there");
    assert_eq!(standing.hash, verified.hash);
    assert!(!standing.delivered);
}

#[tokio::test]
async fn lanes_count_apart_and_a_rolled_back_issue_leaves_no_gap() {
    let bench = Bench::new().await;
    let lane_sequences = |waiting: Vec<commands::Waiting>| -> Vec<(String, u64)> {
        let parse = |signed: &Signed| signed::command::parse(&signed.payload).expect("parses").command;
        waiting
            .iter()
            .map(|waiting| parse(&waiting.signed))
            .map(|command| (command.lane, command.lane_sequence))
            .collect()
    };
    bench.issue(|_| ()).await.expect("issues");
    bench.issue(|new| new.body = Body::DeleteUser(DeleteUser::default())).await.expect_err("names no user");
    bench.issue(|new| new.lane = "user:u2".into()).await.expect("issues");
    bench.issue(|_| ()).await.expect("issues");
    let expected = [("user:u1", 1), ("user:u2", 1), ("user:u1", 2)].map(|(lane, sequence)| (lane.to_owned(), sequence));
    assert_eq!(lane_sequences(bench.waiting(Priority::Safety).await), expected);
}

#[tokio::test]
async fn an_interactive_command_pulls_its_lane_forward() {
    let bench = Bench::new().await;
    let put = |user: &str| {
        let user = lockbridge_protocol::proto::tunnel::User {
            user_id: user.into(),
            full_name: "Jane Doe".into(),
            ..Default::default()
        };
        Body::PutUser(lockbridge_protocol::proto::tunnel::PutUser { user: Some(user), revision: 1 })
    };
    for user in ["u2", "u3", "u1"] {
        let body = put(user);
        let lane = format!("user:{user}");
        bench.issue(move |new| (new.body, new.lane) = (body, lane)).await.expect("issues");
    }
    bench.issue(|new| new.body = encode()).await.expect("issues");
    let first = bench.waiting(Priority::Convergent).await.into_iter().next().expect("three wait");
    let command = signed::command::parse(&first.signed.payload).expect("parses").command;
    assert_eq!(command.lane, "user:u1");
}

#[tokio::test]
async fn interactive_commands_are_short_lived() {
    let bench = Bench::new().await;
    let long = bench.issue(|new| (new.body, new.expires_at_ms) = (encode(), NOW + INTERACTIVE_LIFE_MS + 1)).await;
    assert!(matches!(long, Err(IssueError::Expiry { kind: "encode_credential", .. })), "{long:?}");
    bench.issue(|new| (new.body, new.expires_at_ms) = (encode(), NOW + INTERACTIVE_LIFE_MS)).await.expect("issues");
    let waiting = bench.waiting(Priority::Interactive).await;
    let command = signed::command::parse(&waiting[0].signed.payload).expect("parses").command;
    assert_eq!((command.not_before_ms, command.max_start_delay_ms), (NOW, 30_000));
}

#[tokio::test]
async fn bad_wishes_are_refused_by_name() {
    let bench = Bench::new().await;
    let unknown = bench.issue(|new| new.bridge_id = "another".into()).await;
    assert!(matches!(unknown, Err(IssueError::UnknownBridge(_))), "{unknown:?}");
    let past = bench.issue(|new| new.expires_at_ms = NOW).await;
    assert!(matches!(past, Err(IssueError::Expiry { .. })), "{past:?}");
    let moot =
        bench.issue(|new| (new.body, new.cancels_below) = (Body::RefreshInventory(RefreshInventory {}), true)).await;
    assert!(matches!(moot, Err(IssueError::Invalid { .. })), "{moot:?}");
    let large = bench.issue(|new| {
        new.body = Body::SuspendUser(SuspendUser { user_id: "x".repeat(limits::COMMAND_BYTES), suspended: true });
    });
    let large = large.await;
    assert!(matches!(large, Err(IssueError::TooLarge { .. })), "{large:?}");
    let bridge_id = bench.audience.bridge_id.clone();
    bench.store.write(move |tx| bridges::revoke(tx, NOW, &bridge_id)).await.expect("writes");
    let revoked = bench.issue(|_| ()).await;
    assert!(matches!(revoked, Err(IssueError::RevokedBridge(_))), "{revoked:?}");
    assert!(bench.waiting(Priority::Safety).await.is_empty());
}

#[test]
fn the_key_is_made_once_and_kept() {
    let parent = tempfile::tempdir().expect("a directory");
    let directory = crate::store::DataDirectory::open(parent.path()).expect("opens");
    let first = Authority::open(&directory).expect("makes a key");
    assert_eq!(Authority::open(&directory).expect("reads it").public(), first.public());
    directory.write("authority.key", b"short", false).expect("writes");
    assert!(matches!(Authority::open(&directory), Err(KeyError::Damaged)));
}

#[test]
fn a_cancel_has_no_lane_of_its_own() {
    assert_eq!(lane_of(&encode()).as_deref(), Some("user:u1"));
    assert_eq!(lane_of(&Body::RefreshInventory(RefreshInventory {})).as_deref(), Some("system"));
    assert_eq!(lane_of(&Body::CancelCommand(CancelCommand { command_id: vec![0; 16] })), None);
}
