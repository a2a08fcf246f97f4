//! Tokens, and the keys that they verify under.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward::broker::ports::Fault;
use keyward::domain::id::AppClientId;
use keyward::domain::secret::ClientSecret;
use keyward::domain::tenant::UserPoolSettings;
use serde_json::Value;

use super::{Backend, Ledger, pool_id, scopes, secret, server};

pub async fn play(backend: &Backend, ledger: &mut Ledger) {
    let (pools, tokens) = (&backend.pools, &backend.tokens);
    let pool = backend.pool("contract-tokens").await;
    let (client, own) = backend.client(&pool, "acme.tokens").await;
    let fetch =
        async |secret: &ClientSecret, texts: &[&str]| tokens.fetch(&pool, &client, secret, &scopes(texts)).await;
    let granted = async |texts: &[&str]| fetch(&own, texts).await.map(|token| token.scopes.to_string());
    let Some(token) = ledger.goes("a token", fetch(&own, &["orders/read"]).await) else { return };
    ledger.is("it lives for an hour", token.expire_time.duration_since(token.issue_time).as_secs(), 3600);
    let claims = part(token.expose(), 1);
    let said = ["iss", "client_id", "token_use", "scope"].map(|name| claims[name].as_str().unwrap_or_default());
    ledger.is("it says so", said, [pool.issuer.as_str(), client.as_str(), "access", "orders/read"]);
    let published = backend.keys.keys(&pool).await.expect("keys");
    let kid = part(token.expose(), 0)["kid"].as_str().unwrap_or_default().to_owned();
    ledger.is("its key is published", published.iter().any(|key| key.kid == kid), true);

    ledger.holds("all scopes for none", granted(&[]).await, "orders/read orders/write");
    ledger.holds("one scope", granted(&["orders/write"]).await, "orders/write");
    ledger.fails("a scope that it lacks", granted(&["orders/list"]).await, Fault::Refused);
    ledger.fails("a wrong secret", fetch(&secret(2), &[]).await.map(drop), Fault::InvalidClient);
    let stranger = AppClientId::parse("client", "0123456789abcdefghijklmnop").expect("an id");
    let strangers = tokens.fetch(&pool, &stranger, &own, &scopes(&[])).await;
    ledger.fails("an unknown client", strangers.map(drop), Fault::InvalidClient);

    ledger.goes("a scope goes", pools.put_resource_server(&pool, &server("orders", &["read"])).await);
    ledger.holds("it is left out", granted(&["orders/read", "orders/write"]).await, "orders/read");
    ledger.fails("nothing is left", granted(&["orders/write"]).await, Fault::Refused);
    ledger.goes("the app client goes", pools.delete_app_client(&pool, &client).await);
    ledger.fails("a token for one that is gone", granted(&[]).await, Fault::InvalidClient);
}

pub async fn play_two_secrets(backend: &Backend, ledger: &mut Ledger) {
    let (pools, tokens) = (&backend.pools, &backend.tokens);
    let pool = backend.pool("contract-two-secrets").await;
    let (client, _) = backend.client(&pool, "acme.two-secrets").await;
    let fetch = async |byte: u8| tokens.fetch(&pool, &client, &secret(byte), &scopes(&[])).await;
    let first = pools.list_secrets(&pool, &client).await.expect("secrets").remove(0);
    ledger.goes("a second secret for tokens", pools.add_secret(&pool, &client, &secret(2)).await);
    ledger.goes("a token with the first", fetch(1).await);
    ledger.goes("a token with the second", fetch(2).await);
    ledger.goes("the first secret goes", pools.delete_secret(&pool, &client, &first).await);
    ledger.fails("a token with the first again", fetch(1).await.map(drop), Fault::InvalidClient);
    ledger.goes("a token with the second yet", fetch(2).await);
}

pub async fn play_keys(backend: &Backend, ledger: &mut Ledger) {
    let (pools, keys) = (&backend.pools, &backend.keys);
    let (id, settings) = (pool_id("contract-keys-1"), UserPoolSettings::default());
    let one = pools.ensure_pool(&id, &settings).await.expect("a pool");
    let other = pools.ensure_pool(&pool_id("contract-keys-2"), &settings).await.expect("a pool");
    let Some(published) = ledger.goes("the keys", keys.keys(&one).await) else { return };
    ledger.is("there are some", published.is_empty(), false);
    for key in &published {
        let bits = URL_SAFE_NO_PAD.decode(&key.modulus).map(|modulus| modulus.len() * 8);
        ledger.is("they are of 2048 bits", bits.unwrap_or_default(), 2048);
    }
    ledger.holds("the keys again", keys.keys(&one).await, &published);
    let Some(others) = ledger.goes("another pool's keys", keys.keys(&other).await) else { return };
    let kids: BTreeSet<_> = published.iter().chain(&others).map(|key| &key.kid).collect();
    ledger.is("no pool has another's", kids.len(), published.len() + others.len());
    ledger.goes("the pool goes", pools.delete_pool(&id, "", Some(&one)).await);
    ledger.fails("the keys of one that is gone", keys.keys(&one).await, Fault::NotFound);
}

/// The header (0) or the claims (1) of a token.
fn part(token: &str, number: usize) -> Value {
    let text = token.split('.').nth(number).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).expect("base64url")).expect("JSON")
}
