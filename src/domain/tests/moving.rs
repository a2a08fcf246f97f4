use super::*;
use crate::domain::client::{Client, ReplacedAppClient};
use crate::domain::credential::{AppClient, Candidate, HeldSecret, Replacement};
use crate::domain::id::{AppClientId, ClientName, Issuer, RotationId, SecretId, SecretName, VersionId};
use crate::domain::interactive::InteractiveSettings;

const HOUR: Duration = Duration::from_secs(3_600);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).expect("in range")
}

fn pool(id: &str) -> PoolId {
    PoolId::parse("pool", id).expect("valid")
}

fn app_client(pool_id: &str, id: &str) -> AppClient {
    AppClient { pool: pool(pool_id), id: AppClientId::parse("app_client", id).expect("valid") }
}

fn version(digit: char) -> VersionId {
    VersionId::parse("version", &digit.to_string().repeat(64)).expect("valid")
}

fn held(app_client: &AppClient, digit: char) -> HeldSecret {
    let secret = SecretId::parse("secret", &format!("{}--{digit}", app_client.id)).expect("valid");
    HeldSecret { app_client: Some(app_client.clone()), secret, version: version(digit) }
}

fn moved(target: Isolation) -> TenantMove {
    let (from, to, from_isolation) = match target {
        Isolation::UserPool => ("shared-1", "tenant-1", Isolation::AppClient),
        Isolation::AppClient => ("tenant-1", "shared-1", Isolation::UserPool),
    };
    TenantMove {
        state: MoveState::Running,
        target,
        to: pool(to),
        user_pool: None,
        from: pool(from),
        from_isolation,
        client_count: 1,
        moved_client_count: 0,
        overlap: HOUR,
        create_time: at(0),
        retire_time: None,
        end_time: None,
        last_error_reason: String::new(),
    }
}

fn client(pool_id: &str) -> Client {
    let name = ClientName::parse("name", "tenants/acme/clients/orders").expect("valid");
    Client {
        secret_name: SecretName::parse("secret_name", &format!("keyward/{name}")).expect("valid"),
        name,
        uid: "0123456789abcdef".to_owned(),
        display_name: String::new(),
        state: ClientState::Active,
        labels: Default::default(),
        scopes: Default::default(),
        scopes_version: 0,
        access_token_validity: HOUR,
        rotation: Default::default(),
        pool: pool(pool_id),
        secret_readers: Vec::new(),
        app_client: None,
        replaced: Vec::new(),
        token_epoch: 0,
        imported: false,
        applied: true,
        interactive: None,
        revoked_before: None,
        rotate_time: None,
        next_rotate_time: None,
        create_time: at(0),
        update_time: at(0),
    }
}

fn credential(current: &AppClient) -> Credential {
    Credential::new(client("shared-1").name, held(current, 'a'))
}

fn candidate() -> Candidate {
    Candidate {
        rotation: RotationId::parse("rotation", "r20260101t000000-0a1b").expect("valid"),
        version: version('b'),
        secret: None,
        proved: false,
        overlap: HELD,
        give_up_time: None,
        replacement: Some(Replacement::new(version('c'), false)),
    }
}

fn previous(app_client: &AppClient, retire_time: Timestamp) -> PreviousSecret {
    let rotation = RotationId::parse("rotation", "r20260101t000000-0a1b").expect("valid");
    PreviousSecret { rotation, held: held(app_client, 'd'), retire_time, removed: false }
}

#[test]
fn a_client_is_there_when_its_current_app_client_is_and_only_then() {
    for (target, places) in [
        (Isolation::UserPool, [("tenant-1", true), ("shared-1", false), ("shared-2", false)]),
        (Isolation::AppClient, [("tenant-1", false), ("shared-1", true), ("shared-2", true)]),
    ] {
        for (place, is_there) in places {
            let way = moved(target).way_of(&client(place), Some(&credential(&app_client(place, "one"))), at(1));
            assert_eq!(way, if is_there { Way::There } else { Way::Replace }, "{target:?} {place}");
        }
    }
}

#[test]
fn what_is_under_way_for_a_client_comes_first() {
    let (moved, old) = (moved(Isolation::UserPool), app_client("shared-1", "one"));
    let name = client("shared-1").name;
    let way = |client: &Client, credential: &Credential| moved.way_of(client, Some(credential), at(10));
    let mut rotating = credential(&old);
    rotating.candidate = Some(candidate());
    assert_eq!(way(&client("shared-1"), &rotating), Way::Carry(Task::RotateSecret(name.clone())));
    let mut overlapping = credential(&old);
    overlapping.previous = Some(previous(&old, at(11)));
    assert_eq!(way(&client("shared-1"), &overlapping), Way::Wait(at(11)));
    overlapping.previous = Some(previous(&old, at(10)));
    assert_eq!(way(&client("shared-1"), &overlapping), Way::Carry(Task::RotateSecret(name.clone())));

    let creating = Client { state: ClientState::Creating, ..client("shared-1") };
    assert_eq!(moved.way_of(&creating, None, at(10)), Way::Carry(Task::IssueClient(name.clone())));
    let creating = Client { state: ClientState::Creating, ..client("tenant-1") };
    assert_eq!(moved.way_of(&creating, None, at(10)), Way::There);
    // One that is taken over has a credential before it is in use.
    let creating = Client { state: ClientState::Creating, ..client("shared-1") };
    assert_eq!(way(&creating, &credential(&old)), Way::Carry(Task::IssueClient(name.clone())));
    let deleting = Client { state: ClientState::Deleting, ..client("tenant-1") };
    assert_eq!(way(&deleting, &credential(&old)), Way::Carry(Task::RetireClient(name.clone())));
    assert_eq!(moved.rest_of(&deleting, Some(&credential(&old)), at(10)), Rest::Carry(Task::RetireClient(name)));
}

#[test]
fn a_client_of_people_is_not_moved() {
    let moved = moved(Isolation::UserPool);
    let people = |place| Client { interactive: Some(sign_in()), ..client(place) };
    assert_eq!(moved.way_of(&people("shared-1"), None, at(1)), Way::Closed);
    assert_eq!(moved.way_of(&people("tenant-1"), None, at(1)), Way::There);
}

fn sign_in() -> InteractiveSettings {
    InteractiveSettings {
        callback_urls: vec!["https://acme.example/callback".to_owned()],
        sign_out_urls: Vec::new(),
        standard_scopes: Default::default(),
        identity_providers: Default::default(),
        allow_native_accounts: true,
        id_token_validity: HOUR,
        refresh_token_validity: HOUR,
        default_sign_in: false,
    }
}

#[test]
fn the_old_app_client_goes_when_the_move_says_or_when_whoever_else_replaced_it_said() {
    let mut moved = moved(Isolation::UserPool);
    (moved.state, moved.retire_time) = (MoveState::Overlap, Some(at(100)));
    let (old, new) = (app_client("shared-1", "one"), app_client("tenant-1", "two"));
    let mut replaced = credential(&new);
    let rest = |credential: &Credential, now| moved.rest_of(&client("tenant-1"), Some(credential), now);
    replaced.previous = Some(previous(&old, at(5) + HELD));
    assert_eq!(rest(&replaced, at(10)), Rest::Release);
    // The longest overlap that an operator can ask for.
    let longest = at(5) + HELD / 2;
    replaced.previous = Some(previous(&old, longest));
    assert_eq!(rest(&replaced, at(10)), Rest::Wait(longest));
    replaced.previous = Some(previous(&old, at(100)));
    assert_eq!(rest(&replaced, at(99)), Rest::Wait(at(100)));
    assert_eq!(rest(&replaced, at(100)), Rest::Carry(Task::RotateSecret(client("tenant-1").name)));
    let removed = PreviousSecret { removed: true, ..previous(&old, at(100)) };
    replaced.previous = Some(removed);
    assert_eq!(rest(&replaced, at(100)), Rest::Nothing);
    replaced.previous = None;
    replaced.condemned_app_clients.insert(app_client("shared-1", "three"));
    assert_eq!(rest(&replaced, at(100)), Rest::Carry(Task::RotateSecret(client("tenant-1").name)));
}

#[test]
fn a_pool_of_its_own_is_needed_until_its_last_token_has_expired_and_a_shared_one_is_not() {
    let issuer = Issuer::parse("issuer", "https://issuer.example/1").expect("valid");
    for (target, old, new, is_needed) in
        [(Isolation::AppClient, "tenant-1", "shared-1", true), (Isolation::UserPool, "shared-1", "tenant-1", false)]
    {
        let mut moved = moved(target);
        (moved.state, moved.retire_time) = (MoveState::Overlap, Some(at(100)));
        let current = app_client(new, "two");
        let replaced = ReplacedAppClient::new(&app_client(old, "one"), &issuer, at(100));
        let forget_time = replaced.forget_time;
        let client = Client { replaced: vec![replaced], ..client(new) };
        let rest = |now| moved.rest_of(&client, Some(&credential(&current)), now);
        assert_eq!(rest(at(101)), if is_needed { Rest::Outlast(forget_time) } else { Rest::Nothing });
        assert_eq!(rest(forget_time), Rest::Nothing);
    }
}
