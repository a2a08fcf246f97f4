//! The two secrets of an app client.

use std::time::Duration;

use keyward::broker::ports::Fault;
use keyward::domain::id::AppClientId;

use super::{Backend, Ledger, secret};

/// Of a backend that has no second secrets.
pub async fn play_the_only_one(backend: &Backend, ledger: &mut Ledger) {
    let pools = &backend.pools;
    let pool = backend.pool("contract-one-secret").await;
    let (client, _) = backend.client(&pool, "acme.one-secret").await;
    let (other, _) = backend.client(&pool, "acme.other").await;
    let Some(only) = ledger.goes("list the only secret", pools.list_secrets(&pool, &client).await) else { return };
    ledger.is("there is one", only.len(), 1);
    ledger.holds("list the only secret again", pools.list_secrets(&pool, &client).await, &only);
    let others = pools.list_secrets(&pool, &other).await.map(|others| others == only);
    ledger.holds("another app client has another", others, &false);
    ledger.fails("delete the only one", pools.delete_secret(&pool, &client, &only[0]).await, Fault::Refused);
    ledger.fails("add a second", pools.add_secret(&pool, &client, &secret(2)).await, Fault::Unsupported);
    ledger.holds("it is the only one yet", pools.list_secrets(&pool, &client).await, &only);
    let stranger = AppClientId::parse("client", "0123456789abcdefghijklmnop").expect("an id");
    ledger.fails("list a stranger's", pools.list_secrets(&pool, &stranger).await, Fault::NotFound);
}

pub async fn play(backend: &Backend, ledger: &mut Ledger) {
    let pools = &backend.pools;
    let pool = backend.pool("contract-secrets").await;
    let (client, _) = backend.client(&pool, "acme.secrets").await;
    let Some(first) = ledger.goes("list the secrets", pools.list_secrets(&pool, &client).await) else { return };
    ledger.is("there is one", first.len(), 1);
    let Some(first) = first.into_iter().next() else { return };
    ledger.fails("delete the only one", pools.delete_secret(&pool, &client, &first).await, Fault::Refused);

    backend.advance(Duration::from_secs(60));
    let added = pools.add_secret(&pool, &client, &secret(2)).await;
    let Some(second) = ledger.goes("add a second secret", added) else { return };
    let both = [first.clone(), second.clone()];
    ledger.holds("the oldest first", pools.list_secrets(&pool, &client).await, &both);
    ledger.fails("add a third", pools.add_secret(&pool, &client, &secret(3)).await, Fault::LimitExceeded);
    ledger.holds("there are still two", pools.list_secrets(&pool, &client).await, &both);
    ledger.holds("delete the first", pools.delete_secret(&pool, &client, &first).await, &());
    ledger.holds("delete the first again", pools.delete_secret(&pool, &client, &first).await, &());
    ledger.fails("delete the last", pools.delete_secret(&pool, &client, &second).await, Fault::Refused);
    ledger.holds("the second is left", pools.list_secrets(&pool, &client).await, &[second]);

    let stranger = AppClientId::parse("client", "0123456789abcdefghijklmnop").expect("an id");
    ledger.fails("add to a stranger", pools.add_secret(&pool, &stranger, &secret(2)).await, Fault::NotFound);
    ledger.fails("list a stranger's", pools.list_secrets(&pool, &stranger).await, Fault::NotFound);
    ledger.holds("delete a stranger's", pools.delete_secret(&pool, &stranger, &first).await, &());
}
