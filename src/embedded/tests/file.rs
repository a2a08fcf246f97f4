//! The file: what opens, what does not, what it holds, what it survives.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};

use super::*;
use crate::broker::ports::{Action, ChangeSet, Shelf, Wanted, Write};
use crate::domain::audit::{Event, Outcome};
use crate::domain::form::Form;

/// `AlgorithmIdentifier` of an RSA key (RFC 8017, A.1), which every PKCS#8 private key starts with.
const RSA_ENCRYPTION: [u8; 15] = [0x30, 0x0D, 6, 9, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 1, 5, 0];

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// All that is in the folder: the file, its write-ahead log, its shared memory.
fn raw(world: &World) -> Vec<u8> {
    let entries = std::fs::read_dir(world.folder.path()).expect("folder");
    entries.flat_map(|entry| std::fs::read(entry.expect("entry").path()).expect("read")).collect()
}

async fn refusal(path: &Path, master: u8) -> String {
    let clock = Arc::new(ManualClock { now: Mutex::new(at(START)), slept_until: Mutex::default() });
    match open(path, master, Options::default(), &clock).await {
        Ok(_) => panic!("opened"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn no_secret_no_private_key_and_no_token_is_ever_on_the_disk() {
    let world = World::new().await;
    let pool = world.pool().await;
    let client = world.client(&pool).await;
    world.pools().add_secret(&pool, &client, &secret(2)).await.expect("added");
    world.vault().stage(&name("findable-name"), &version("v1"), &document(3)).await.expect("staged");
    let token = world.tokens().fetch(&pool, &client, &secret(1), &scopes(&[])).await.expect("token");

    let example: Pkcs8V1Der<'_> = KeyPair::generate(KeySize::Rsa2048).expect("key").as_der().expect("DER");
    assert!(contains(example.as_ref(), &RSA_ENCRYPTION), "the test would not find a private key");
    for _ in 0..2 {
        let raw = raw(&world);
        assert!(contains(&raw, b"findable-name"), "the test would find nothing");
        assert!(contains(&raw, client.as_str().as_bytes()), "the test would find nothing");
        for byte in [1, 2, 3] {
            assert!(!contains(&raw, secret(byte).expose().as_bytes()), "secret {byte} is there in clear");
        }
        assert!(!contains(&raw, &RSA_ENCRYPTION), "a private key is there in clear");
        assert!(!contains(&raw, token.expose().as_bytes()), "a token is there");
        assert!(!contains(&raw, &[1; 32]), "the master key is there");
        // Once more with everything moved from the log into the file.
        let connection = rusqlite::Connection::open(world.file()).expect("opens");
        connection.pragma_update_and_check(None, "wal_checkpoint", "TRUNCATE", |_| Ok(())).expect("checkpoint");
    }
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let world = World::new().await;
    let pool = world.pool().await;
    let client = world.client(&pool).await;
    let keys = world.keys().keys(&pool).await.expect("keys");
    world.vault().stage(&name("a"), &version("v1"), &document(3)).await.expect("staged");
    let event = Event {
        time: at(START),
        principal: "operator:test".to_owned(),
        method: "test".to_owned(),
        resource: "tenants/acme".to_owned(),
        outcome: Outcome::Succeeded,
        reason: String::new(),
        detail: String::new(),
        request_id: String::new(),
        call_id: String::new(),
    };
    let put = Action::Put { body: b"{}".to_vec(), form: Form::FIRST, due_time: Some(at(START)) };
    let write = Write { shelf: Shelf::Tenant, key: "acme".to_owned(), expected: None, action: put };
    let changes = ChangeSet { writes: vec![write], events: vec![event.clone()] };
    world.registry().commit(changes).await.expect("committed");

    let world = world.reopened().await;
    assert_eq!(world.pool().await, pool);
    assert_eq!(world.keys().keys(&pool).await.expect("keys"), keys);
    world.tokens().fetch(&pool, &client, &secret(1), &scopes(&["orders/read"])).await.expect("token");
    let read = world.vault().read(&name("a"), Wanted::Current).await.expect("read");
    assert_eq!(read, Some(document(3)));
    let record = world.registry().get(Shelf::Tenant, "acme").await.expect("get").expect("there");
    assert_eq!((record.version, record.due_time), (1, Some(at(START))));
    assert_eq!(world.registry().events(0, 10).await.expect("events")[0].event, event);
}

#[tokio::test]
async fn another_master_key_is_refused_and_changes_nothing() {
    let world = World::new().await;
    world.vault().stage(&name("a"), &version("v1"), &document(3)).await.expect("staged");
    let kept =
        || ["keyward.db", "keyward.db-wal"].map(|file| std::fs::read(world.folder.path().join(file)).expect(file));
    let before = kept();
    let message = refusal(world.folder.path(), 2).await;
    assert!(message.contains("keyward.db") && message.contains("another master key"), "{message}");
    assert!(kept() == before, "something was written");
    let world = world.reopened().await;
    assert_eq!(world.vault().read(&name("a"), Wanted::Current).await.expect("read"), Some(document(3)));
}

#[tokio::test]
async fn a_file_of_a_newer_keyward_is_refused_and_left_as_it_is() {
    let world = World::new().await;
    let connection = rusqlite::Connection::open(world.file()).expect("opens");
    connection.pragma_update(None, "user_version", 99).expect("set");
    let message = refusal(world.folder.path(), 1).await;
    assert!(message.contains("keyward.db") && message.contains("schema 99 is newer"), "{message}");
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).expect("read");
    assert_eq!(version, 99);
}

#[tokio::test]
async fn a_file_that_is_not_ours_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("notes.db");
    let connection = rusqlite::Connection::open(&path).expect("opens");
    connection.execute_batch("CREATE TABLE notes (text TEXT)").expect("created");
    drop(connection);
    let before = std::fs::read(&path).expect("read");
    let message = refusal(&path, 1).await;
    assert!(message.contains("notes.db") && message.contains("not one of Keyward's"), "{message}");
    assert_eq!(std::fs::read(&path).expect("read"), before);

    let path = folder.path().join("letter.db");
    std::fs::write(&path, "Dear Sir or Madam, ".repeat(100)).expect("written");
    let message = refusal(&path, 1).await;
    assert!(message.contains("letter.db") && message.contains("not one of Keyward's"), "{message}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("file");
    std::fs::write(&path, "").expect("written");
    let message = refusal(&path.join("below"), 1).await;
    assert!(message.contains("file/below/keyward.db"), "{message}");
}

#[cfg(unix)]
#[tokio::test]
async fn what_is_made_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new().await;
    let folder = world.folder.path().join("a/b");
    open(&folder, 1, Options::default(), &world.clock).await.expect("opens");
    let mode = |path: &Path| path.metadata().expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("keyward.db")), 0o600);
    world.pool().await;
    for entry in std::fs::read_dir(world.folder.path()).expect("folder") {
        let path = entry.expect("entry").path();
        assert!(path.is_dir() || mode(&path) == 0o600, "{} is {:o}", path.display(), mode(&path));
    }
}

#[tokio::test]
async fn bad_options_are_named_and_no_file_is_made() {
    let folder = tempfile::tempdir().expect("folder");
    let clock = Arc::new(ManualClock { now: Mutex::new(at(START)), slept_until: Mutex::default() });
    let base = |base: &str| Options { issuer_base: base.to_owned(), ..Options::default() };
    let region = |region: &str| Options { region: region.to_owned(), ..Options::default() };
    let cases = [
        (base("issuer.example.com"), "issuer_base"),
        (base("https://issuer.example.com/"), "issuer_base"),
        (base("https://issuer.example.com?a=b"), "issuer_base"),
        (region(""), "region"),
        (region("eu central"), "region"),
    ];
    for (options, option) in cases {
        let error = open(folder.path(), 1, options, &clock).await.err().expect("refused");
        assert!(error.to_string().starts_with(option), "{error}");
    }
    assert!(!folder.path().join("keyward.db").exists());
}

#[tokio::test]
async fn latency_is_waited_out_by_the_clock_at_cognito_and_the_vault_but_not_at_the_registry() {
    let latency = Duration::from_millis(40);
    let world = World::with(Options { latency, ..Options::default() }).await;
    world.registry().last_event().await.expect("read");
    assert!(world.clock.slept_until.lock().expect("lock").is_empty());
    let pool = world.pool().await;
    let client = world.client(&pool).await;
    world.tokens().fetch(&pool, &client, &secret(1), &scopes(&[])).await.expect("token");
    world.vault().labels(&name("a")).await.expect("read");
    let start = at(START).as_millisecond();
    let slept: Vec<i64> =
        world.clock.slept_until.lock().expect("lock").iter().map(|time| time.as_millisecond() - start).collect();
    assert_eq!(slept, [40, 80, 120, 160, 200]);
}
