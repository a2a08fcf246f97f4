//! What is in the table: nothing that can be read without the key, and nothing that counts in another place.

use std::time::Duration;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use keyward::domain::scope::ScopeSet;

use super::fleet::{BILLING, CHECKOUT, Fleet, stop, token};
use crate::harness::brokers::client_name;
use crate::peers::Peer;

const SEALED: &str = "sealed";
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn no_part_of_a_token_is_in_the_table_in_clear() {
    let fleet = Fleet::before(Peer::ministack().await).await;
    let [broker] = fleet.brokers().await;
    let tokens = [token(&broker, CHECKOUT).await, token(&broker, BILLING).await];
    broker.stop().await;
    let items = fleet.items().await;
    assert_eq!(items.len(), 2);
    for token in &tokens {
        for part in token.expose().split('.') {
            assert!(part.len() > 20);
            for item in &items {
                let AttributeValue::B(sealed) = &item[SEALED] else { panic!("not sealed: {item:?}") };
                let is_there = |bytes: &[u8]| bytes.windows(20).any(|window| window == &part.as_bytes()[..20]);
                assert!(!is_there(sealed.as_ref()) && !is_there(format!("{item:?}").as_bytes()));
            }
        }
    }
    // No later than the token is good, DynamoDB may forget it.
    let item = fleet.item_of(CHECKOUT).await;
    assert_eq!(item["ttl"], AttributeValue::N(tokens[0].expire_time.as_second().to_string()));
    let mut names: Vec<_> = item.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["fence", "holder", "key_id", "lease_expires", "pk", SEALED, "sk", "ttl", "version"],
        "what more is there must be looked at here"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_token_counts_nowhere_but_in_its_place_and_unchanged() {
    let fleet = Fleet::before(Peer::ministack().await).await;
    let [broker] = fleet.brokers().await;
    let mine = token(&broker, CHECKOUT).await;
    let foreign = token(&broker, BILLING).await;
    broker.stop().await;

    let (own, other) = (fleet.item_of(CHECKOUT).await, fleet.item_of(BILLING).await);
    let mut swapped = own.clone();
    swapped.insert(SEALED.to_owned(), other[SEALED].clone());
    fleet.put(swapped).await;
    let [broker] = fleet.brokers().await;
    let fetched = token(&broker, CHECKOUT).await;
    assert!(fetched.expose() != foreign.expose() && fetched.expose() != mine.expose());
    assert_eq!(fleet.fetches.count(), 3);
    broker.stop().await;

    // What came of it is put there in place of what does not open.
    let [broker] = fleet.brokers().await;
    assert_eq!(token(&broker, CHECKOUT).await.expose(), fetched.expose());
    assert_eq!(fleet.fetches.count(), 3);
    broker.stop().await;

    let mut changed = fleet.item_of(CHECKOUT).await;
    let AttributeValue::B(sealed) = &changed[SEALED] else { panic!("not sealed") };
    let mut bytes = sealed.clone().into_inner();
    bytes[40] ^= 1;
    changed.insert(SEALED.to_owned(), AttributeValue::B(Blob::new(bytes)));
    fleet.put(changed).await;
    let [broker] = fleet.brokers().await;
    token(&broker, CHECKOUT).await;
    assert_eq!(fleet.fetches.count(), 4);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scope_sets_have_places_of_their_own() {
    let fleet = Fleet::before(Peer::ministack().await).await;
    let [one, other] = fleet.brokers().await;
    let all = token(&one, CHECKOUT).await;
    let read = ScopeSet::parse("scopes", &["orders/read"]).expect("scopes");
    let narrow = other.tokens.get(&client_name(CHECKOUT), &read, Duration::ZERO).await.expect("a token");
    assert_eq!((&narrow.scopes, fleet.fetches.count()), (&read, 2));
    assert_ne!(narrow.expose(), all.expose());
    stop([one, other]).await;
    let [mut wide, mut narrow]: [_; 2] = fleet.items().await.try_into().expect("two items");
    // Nor does one count in the other's place.
    for item in [&mut wide, &mut narrow] {
        item.remove("version");
    }
    let (there, here) = (wide[SEALED].clone(), narrow[SEALED].clone());
    wide.insert(SEALED.to_owned(), here);
    narrow.insert(SEALED.to_owned(), there);
    for mut item in [wide, narrow] {
        item.insert("version".to_owned(), AttributeValue::N("1".to_owned()));
        fleet.put(item).await;
    }
    let [broker] = fleet.brokers().await;
    assert_eq!(broker.tokens.get(&client_name(CHECKOUT), &read, Duration::ZERO).await.expect("a token").scopes, read);
    assert_eq!(fleet.fetches.count(), 3);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_key_has_sealed_counts_as_absent_and_is_written_over() {
    let fleet = Fleet::before(Peer::ministack().await).await;
    let old = fleet.broker_with(1, FETCH_TIMEOUT).await;
    let first = token(&old, CHECKOUT).await;
    old.stop().await;
    let key_id = fleet.item_of(CHECKOUT).await["key_id"].clone();

    let new = fleet.broker_with(2, FETCH_TIMEOUT).await;
    let second = token(&new, CHECKOUT).await;
    assert_ne!(second.expose(), first.expose());
    new.stop().await;
    assert_ne!(fleet.item_of(CHECKOUT).await["key_id"], key_id);

    let next = fleet.broker_with(2, FETCH_TIMEOUT).await;
    assert_eq!(token(&next, CHECKOUT).await.expose(), second.expose());
    assert_eq!(fleet.fetches.count(), 2);
    next.stop().await;
}
