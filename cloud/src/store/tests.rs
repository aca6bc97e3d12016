use std::time::Duration;

use rusqlite::Connection;

use super::directory::{DataDirectory, DirectoryError};
use super::schema::{Part, migrate};
use super::*;

fn open() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(&directory.path().join("cloud.sqlite")).expect("opens");
    (directory, store)
}

async fn names(store: &Store) -> Vec<String> {
    let read = store.read(|connection| {
        let mut statement = connection.prepare("SELECT name FROM workspaces ORDER BY name")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok::<_, StoreError>(rows.collect::<Result<_, _>>()?)
    });
    read.await.expect("reads")
}

#[tokio::test]
async fn a_failed_write_leaves_nothing_and_its_neighbours_alone() {
    let (_directory, store) = open();
    let write = |name: &'static str, fail: bool| {
        let store = store.clone();
        tokio::spawn(async move {
            store
                .write(move |tx| {
                    workspaces::create(tx, 1, name)?;
                    if fail { Err(StoreError::Busy) } else { Ok(()) }
                })
                .await
        })
    };
    // The writer is held up so that the three share one commit.
    let (release, held) = std::sync::mpsc::channel::<()>();
    let holder = tokio::spawn({
        let store = store.clone();
        async move {
            let stall = move |_: &Transaction<'_>| {
                held.recv_timeout(Duration::from_secs(10)).expect("released");
                Ok::<_, StoreError>(())
            };
            store.write(stall).await
        }
    });
    let writes = [write("first", false), write("second", true), write("third", false)];
    release.send(()).expect("the writer waits");
    holder.await.expect("no panic").expect("commits");
    let outcomes = futures_util::future::join_all(writes).await;
    let ok: Vec<bool> = outcomes.into_iter().map(|outcome| outcome.expect("no panic").is_ok()).collect();
    assert_eq!(ok, [true, false, true]);
    assert_eq!(names(&store).await, ["first", "third"]);
}

#[tokio::test]
async fn what_write_returned_survives_reopening_and_readers_cannot_write() {
    let (directory, store) = open();
    store.write(|tx| workspaces::create(tx, 1, "kept")).await.expect("writes");
    let refused = store.read(|connection| workspaces::create(connection, 1, "smuggled")).await;
    assert!(matches!(refused, Err(StoreError::Statement(_))), "{refused:?}");
    drop(store);
    let store = Store::open(&directory.path().join("cloud.sqlite")).expect("opens again");
    assert_eq!(names(&store).await, ["kept"]);
}

#[test]
fn migrations_run_once_in_order_and_a_newer_file_is_refused_by_name() {
    const SCRIPTS: &[&str] = &["CREATE TABLE rooms (name TEXT)", "ALTER TABLE rooms ADD COLUMN floor INTEGER"];
    let mut connection = Connection::open_in_memory().expect("opens");
    let one = Part { name: "rooms", migrations: &SCRIPTS[..1] };
    let two = Part { name: "rooms", migrations: SCRIPTS };
    migrate(&mut connection, &[one]).expect("makes version 1");
    migrate(&mut connection, &[two]).expect("brings it to version 2");
    migrate(&mut connection, &[two]).expect("has nothing to do");
    connection.execute("INSERT INTO rooms (name, floor) VALUES ('101', 1)", []).expect("has both columns");
    let refused = migrate(&mut connection, &[one]).expect_err("is newer");
    assert!(matches!(&refused, StoreError::Newer { part, found: 2, known: 1 } if part == "rooms"), "{refused}");
}

#[test]
fn foreign_keys_hold() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("cloud.sqlite");
    drop(Store::open(&path).expect("migrates"));
    let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).expect("opens");
    workspaces::site(&connection, 1, "no such workspace", "lobby").expect_err("needs its workspace");
    let synchronous: i64 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).expect("tells");
    assert_eq!(synchronous, 2, "FULL");
}

#[test]
fn only_the_hash_of_an_api_key_is_kept() {
    use secrecy::ExposeSecret;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("cloud.sqlite");
    drop(Store::open(&path).expect("migrates"));
    let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).expect("opens");
    let workspace = workspaces::create(&connection, 1, "Hotel").expect("inserts");
    let key = workspaces::create_api_key(&connection, 1, &workspace, "desk").expect("inserts");
    assert!(key.expose_secret().starts_with(workspaces::API_KEY_PREFIX));
    assert_eq!(workspaces::of_api_key(&connection, key.expose_secret()).expect("reads"), Some(workspace));
    assert_eq!(workspaces::of_api_key(&connection, "seam_other").expect("reads"), None);
    drop(connection);
    let file = std::fs::read(&path).expect("reads");
    assert!(!file.windows(20).any(|bytes| key.expose_secret().as_bytes().starts_with(bytes)));
}

#[test]
fn secrets_are_private_files_and_one_server_claims_the_directory() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().expect("a directory");
    let directory = DataDirectory::open(&parent.path().join("data")).expect("is made");
    assert_eq!(directory.read_secret("key").expect("reads"), None);
    directory.write("key", b"secret", false).expect("writes");
    directory.write("key", b"newer", false).expect("replaces");
    assert_eq!(directory.read_secret("key").expect("reads").expect("is there").as_slice(), b"newer");
    let mode = std::fs::metadata(directory.path("key")).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    directory.write("key", b"newer", true).expect("writes");
    assert!(matches!(directory.read_secret("key"), Err(DirectoryError::Exposed(_))));

    let claim = directory.claim().expect("is free");
    assert!(matches!(directory.claim(), Err(DirectoryError::InUse(_))));
    drop(claim);
    directory.claim().expect("is free again");
}
