//! What Cognito enforces.

use super::*;
use crate::domain::id::SecretId;
use crate::domain::scope::Scope;

fn settings(deletion_protection: bool) -> UserPoolSettings {
    UserPoolSettings { deletion_protection, ..UserPoolSettings::default() }
}

fn unknown_pool(pool: &MadePool) -> MadePool {
    let user_pool = crate::domain::id::UserPoolId::parse("pool", "local_unknown00").expect("valid");
    MadePool { user_pool, ..pool.clone() }
}

#[tokio::test]
async fn a_pool_has_the_form_of_cognitos() {
    let world = World::new().await;
    let pool = world.pool().await;
    let suffix = pool.user_pool.as_str().strip_prefix("local_").expect("the option's Region");
    assert!(suffix.len() == 9 && suffix.bytes().all(|b| b.is_ascii_alphanumeric()), "{suffix}");
    let issuer = format!("https://issuer.keyward.local/{}", pool.user_pool);
    assert_eq!(pool.issuer.as_str(), issuer);
    assert_eq!(pool.token_endpoint, format!("{issuer}/oauth2/token"));
    assert_eq!(pool.jwks_uri, format!("{issuer}/.well-known/jwks.json"));

    let elsewhere = UserPoolSettings { region: "eu-central-1".to_owned(), ..settings(false) };
    let pool = world.pools().ensure_pool(&pool_id("tenant-acme"), &elsewhere).await.expect("pool");
    assert!(pool.user_pool.as_str().starts_with("eu-central-1_"), "{}", pool.user_pool);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_make_the_same_pool_get_the_same_one() {
    let world = World::new().await;
    let make = |_| {
        let pools = world.pools();
        tokio::spawn(async move { pools.ensure_pool(&pool_id("shared-1"), &settings(false)).await })
    };
    let running: Vec<_> = (0..4).map(make).collect();
    let mut made = Vec::new();
    for ended in running {
        made.push(ended.await.expect("no panic").expect("pool"));
    }
    assert!(made.iter().all(|pool| *pool == made[0]), "{made:?}");
    assert_eq!(world.keys().keys(&made[0]).await.expect("keys").len(), 1);
    let other = world.pools().ensure_pool(&pool_id("shared-2"), &settings(false)).await.expect("pool");
    assert_ne!(other.user_pool, made[0].user_pool);
    assert_ne!(world.keys().keys(&other).await.expect("keys"), world.keys().keys(&made[0]).await.expect("keys"));
}

#[tokio::test]
async fn a_protected_pool_is_not_deleted_and_a_deleted_one_takes_all_with_it() {
    let world = World::new().await;
    let (pools, pool) = (world.pools(), world.pool().await);
    let client = world.client(&pool).await;
    world.tokens().fetch(&pool, &client, &secret(1), &scopes(&[])).await.expect("token");
    pools.update_pool(&pool, &settings(true)).await.expect("updated");
    assert_fault(pools.delete_pool(&pool_id("shared-1"), "", None).await, Fault::Refused);
    pools.list_resource_servers(&pool).await.expect("still there");
    pools.update_pool(&pool, &settings(false)).await.expect("updated");
    pools.delete_pool(&pool_id("shared-1"), "", None).await.expect("deleted");
    pools.delete_pool(&pool_id("shared-1"), "", None).await.expect("gone");

    let connection = rusqlite::Connection::open(world.file()).expect("opens");
    for table in ["user_pools", "signing_keys", "resource_servers", "scopes", "app_clients", "client_secrets"] {
        let sql = format!("SELECT count(*) FROM {table}");
        let count: i64 = connection.query_row(&sql, [], |row| row.get(0)).expect("counted");
        assert_eq!(count, 0, "{table}");
    }
    assert_fault(world.tokens().fetch(&pool, &client, &secret(1), &scopes(&[])).await, Fault::NotFound);
    assert_fault(world.keys().keys(&pool).await, Fault::NotFound);
    let again = world.pool().await;
    assert_ne!(again.user_pool, pool.user_pool, "the id of a deleted pool came back");
}

#[tokio::test]
async fn settings_are_checked_and_the_region_stays() {
    let world = World::new().await;
    let (pools, pool) = (world.pools(), world.pool().await);
    let moved = UserPoolSettings { region: "eu-west-1".to_owned(), ..settings(false) };
    assert_fault(pools.update_pool(&pool, &moved).await, Fault::Refused);
    let mut weak = settings(false);
    weak.password_policy.minimum_length = 5;
    assert_fault(pools.update_pool(&pool, &weak).await, Fault::Refused);
    assert_fault(pools.ensure_pool(&pool_id("shared-9"), &weak).await, Fault::Refused);
}

#[tokio::test]
async fn without_the_pool_nothing_works_but_deleting() {
    let world = World::new().await;
    let (pools, pool) = (world.pools(), world.pool().await);
    let client = world.client(&pool).await;
    let unknown = unknown_pool(&pool);
    assert_fault(pools.update_pool(&unknown, &settings(false)).await, Fault::NotFound);
    assert_fault(pools.put_resource_server(&unknown, &server("orders", &["read"])).await, Fault::NotFound);
    assert_fault(pools.list_resource_servers(&unknown).await, Fault::NotFound);
    assert_fault(pools.create_app_client(&unknown, &spec(&["orders/read"]), &secret(1)).await, Fault::NotFound);
    assert_fault(pools.find_app_client(&unknown, "marker").await, Fault::NotFound);
    assert_fault(pools.update_app_client(&unknown, &client, &spec(&["orders/read"])).await, Fault::NotFound);
    assert_fault(pools.add_secret(&unknown, &client, &secret(2)).await, Fault::NotFound);
    assert_fault(pools.list_secrets(&unknown, &client).await, Fault::NotFound);
    let id = pools.list_secrets(&pool, &client).await.expect("secrets").remove(0);
    pools.delete_secret(&unknown, &client, &id).await.expect("gone");
    pools.delete_app_client(&unknown, &client).await.expect("gone");
    pools.delete_resource_server(&unknown, &server("orders", &["read"]).identifier).await.expect("gone");
    assert_eq!(pools.list_secrets(&pool, &client).await.expect("secrets"), [id], "deleted across pools");
    assert_eq!(pools.list_resource_servers(&pool).await.expect("listed").len(), 1, "deleted across pools");
}

#[tokio::test]
async fn a_pool_has_300_resource_servers_and_each_100_scopes() {
    let world = World::new().await;
    let (pools, pool) = (world.pools(), world.pool().await);
    for i in 2..=300 {
        pools.put_resource_server(&pool, &server(&format!("server{i}"), &["read"])).await.expect("fits");
    }
    assert_fault(pools.put_resource_server(&pool, &server("server301", &["read"])).await, Fault::LimitExceeded);
    pools.put_resource_server(&pool, &server("server25", &["read", "list"])).await.expect("replaced");
    assert_eq!(pools.list_resource_servers(&pool).await.expect("listed").len(), 300);
    pools.delete_resource_server(&pool, &server("server25", &["read"]).identifier).await.expect("deleted");
    pools.delete_resource_server(&pool, &server("server25", &["read"]).identifier).await.expect("gone");

    let names: Vec<String> = (0..101).map(|i| format!("scope{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_fault(pools.put_resource_server(&pool, &server("many", &names)).await, Fault::Refused);
    pools.put_resource_server(&pool, &server("many", &names[..100])).await.expect("fits");
    assert_fault(pools.put_resource_server(&pool, &server("many", &["a", "a"])).await, Fault::Refused);
    assert_fault(pools.put_resource_server(&pool, &server("many", &[])).await, Fault::Refused);
    let kept = pools.create_app_client(&pool, &spec(&["many/scope99"]), &secret(1)).await;
    kept.expect("a refused change changed something");
}

#[tokio::test]
async fn an_app_client_keeps_cognitos_rules() {
    let world = World::new().await;
    let (pools, pool) = (world.pools(), world.pool().await);
    let names: Vec<String> = (0..51).map(|i| format!("scope{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let many = server("many", &names);
    pools.put_resource_server(&pool, &many).await.expect("resource server");
    let all: Vec<Scope> = many.full_scopes().collect();

    let right = spec(&["orders/read"]);
    let client = world.client(&pool).await;
    let lasting = |seconds| AppClientSpec { access_token_validity: Duration::from_secs(seconds), ..right.clone() };
    let wrong = [
        spec(&["orders/delete"]),
        spec(&["orders/read", "unknown/read"]),
        spec(&[]),
        AppClientSpec { scopes: all.iter().cloned().collect(), ..right.clone() },
        lasting(299),
        lasting(86_401),
        lasting(0),
        AppClientSpec { access_token_validity: Duration::from_millis(300_500), ..right.clone() },
        AppClientSpec { marker: String::new(), ..right.clone() },
        AppClientSpec { marker: "a/b".to_owned(), ..right.clone() },
        AppClientSpec { marker: "a".repeat(129), ..right.clone() },
    ];
    for wrong in wrong {
        assert_fault(pools.create_app_client(&pool, &wrong, &secret(1)).await, Fault::Refused);
        assert_fault(pools.update_app_client(&pool, &client, &wrong).await, Fault::Refused);
    }
    let right =
        [AppClientSpec { scopes: all[..50].iter().cloned().collect(), ..right.clone() }, lasting(300), lasting(86_400)];
    for right in right {
        pools.create_app_client(&pool, &right, &secret(1)).await.expect("created");
        pools.update_app_client(&pool, &client, &right).await.expect("updated");
    }
}

#[tokio::test]
async fn an_app_client_is_found_by_its_name_in_its_pool() {
    let world = World::new().await;
    let (pools, pool) = (world.pools(), world.pool().await);
    let marker = spec(&["orders/read"]).marker;
    assert_eq!(pools.find_app_client(&pool, &marker).await.expect("looked"), None);
    let client = world.client(&pool).await;
    assert!(client.as_str().len() == 26, "{client}");
    let twin = world.client(&pool).await;
    assert_ne!(client, twin);
    assert_eq!(pools.find_app_client(&pool, &marker).await.expect("looked"), Some(client.clone()));
    assert_eq!(pools.find_app_client(&pool, &marker[1..]).await.expect("looked"), None);
    let other = pools.ensure_pool(&pool_id("shared-2"), &settings(false)).await.expect("pool");
    assert_eq!(pools.find_app_client(&other, &marker).await.expect("looked"), None);
    pools.delete_app_client(&pool, &client).await.expect("deleted");
    pools.delete_app_client(&pool, &client).await.expect("gone");
    assert_eq!(pools.find_app_client(&pool, &marker).await.expect("looked"), Some(twin));
    assert_fault(pools.list_secrets(&pool, &client).await, Fault::NotFound);
    assert_fault(pools.update_app_client(&pool, &client, &spec(&["orders/read"])).await, Fault::NotFound);
}

#[tokio::test]
async fn an_app_client_has_two_secrets_at_most_and_one_at_least() {
    let world = World::new().await;
    let (pools, pool) = (world.pools(), world.pool().await);
    let client = world.client(&pool).await;
    let first = SecretId::parse("secret", &format!("{client}--{START}")).expect("valid");
    assert_eq!(pools.list_secrets(&pool, &client).await.expect("secrets"), std::slice::from_ref(&first));
    assert_fault(pools.delete_secret(&pool, &client, &first).await, Fault::Refused);
    world.clock.advance(DAY);
    let second = pools.add_secret(&pool, &client, &secret(2)).await.expect("added");
    assert_eq!(second.as_str(), format!("{client}--{}", START + 86_400));
    assert_fault(pools.add_secret(&pool, &client, &secret(3)).await, Fault::LimitExceeded);
    assert_eq!(pools.list_secrets(&pool, &client).await.expect("secrets"), [first.clone(), second.clone()]);
    pools.delete_secret(&pool, &client, &first).await.expect("deleted");
    pools.delete_secret(&pool, &client, &first).await.expect("gone");
    assert_fault(pools.delete_secret(&pool, &client, &second).await, Fault::Refused);
    assert_eq!(pools.list_secrets(&pool, &client).await.expect("secrets"), [second]);
}

#[tokio::test]
async fn a_secret_id_is_never_given_twice() {
    let world = World::new().await;
    let (pools, pool) = (world.pools(), world.pool().await);
    let client = world.client(&pool).await;
    let mut seen: Vec<_> = pools.list_secrets(&pool, &client).await.expect("secrets");
    for byte in 2..6 {
        // All in one second.
        let id = pools.add_secret(&pool, &client, &secret(byte)).await.expect("added");
        assert!(!seen.contains(&id), "{id} came twice");
        assert_eq!(pools.list_secrets(&pool, &client).await.expect("secrets").last(), Some(&id), "not the youngest");
        pools.delete_secret(&pool, &client, &id).await.expect("deleted");
        seen.push(id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_add_a_secret_at_once_one_succeeds() {
    let world = World::new().await;
    let pool = world.pool().await;
    let client = world.client(&pool).await;
    let add = |byte| {
        let (pools, pool, client) = (world.pools(), pool.clone(), client.clone());
        tokio::spawn(async move { pools.add_secret(&pool, &client, &secret(byte)).await })
    };
    let running: Vec<_> = (2..10).map(add).collect();
    let mut added = 0;
    for ended in running {
        match ended.await.expect("no panic") {
            Ok(_) => added += 1,
            Err(error) => assert_eq!(error.fault, Fault::LimitExceeded),
        }
    }
    assert_eq!(added, 1);
    assert_eq!(world.pools().list_secrets(&pool, &client).await.expect("secrets").len(), 2);
}
