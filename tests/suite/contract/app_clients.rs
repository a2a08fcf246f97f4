//! App clients.

use std::collections::BTreeSet;
use std::time::Duration;

use keyward::broker::ports::{AppClientSeen, AppClientSpec, Fault};
use keyward::domain::id::AppClientId;

use super::{Backend, Ledger, scopes, secret, spec};

/// More than a page of Cognito's.
const MANY: usize = 61;

pub async fn play(backend: &Backend, ledger: &mut Ledger) {
    let pools = &backend.pools;
    let (pool, other) = (backend.pool("contract-clients").await, backend.pool("contract-no-clients").await);
    let right = spec("acme.orders-1", &["orders/read"]);
    let took = async |client: &AppClientId, byte: u8| pools.took_secret(&pool, client, &secret(byte)).await;
    ledger.holds("find none", pools.find_app_client(&pool, &right.marker).await, &None::<()>);
    for (step, wrong) in [
        ("an unknown scope", spec("wrong", &["orders/delete"])),
        ("an unknown API", spec("wrong", &["orders/read", "unknown/read"])),
        ("no scopes", spec("wrong", &[])),
        ("too short a life", AppClientSpec { access_token_validity: Duration::from_secs(299), ..right.clone() }),
        ("too long a life", AppClientSpec { access_token_validity: Duration::from_secs(86_401), ..right.clone() }),
    ] {
        let made = pools.create_app_client(&pool, &wrong, &secret(1)).await;
        ledger.fails(step, made.map(drop), Fault::Refused);
    }
    ledger.holds("find none after that", pools.find_app_client(&pool, &right.marker).await, &None::<()>);
    let made = pools.create_app_client(&pool, &right, &secret(1)).await;
    let Some(made) = ledger.goes("make an app client", made) else { return };
    let (client, is_told) = (made.id, made.assigned.is_none());
    ledger.holds("it took its secret, or was given one", took(&client, 1).await, &is_told);
    ledger.holds("it took no other", took(&client, 2).await, &false);
    ledger.holds("find it", pools.find_app_client(&pool, &right.marker).await, &Some(client.clone()));
    ledger.holds("not by part of its name", pools.find_app_client(&pool, "acme.orders").await, &None::<()>);
    ledger.holds("not in another pool", pools.find_app_client(&other, &right.marker).await, &None::<()>);
    let seen = AppClientSeen {
        name: right.marker.clone(),
        scopes: right.scopes.clone(),
        access_token_validity: right.access_token_validity,
        is_machine: true,
    };
    ledger.holds("describe the app client", pools.describe_app_client(&pool, &client).await, &Some(seen.clone()));
    let stranger = AppClientId::parse("client", "0123456789abcdefghijklmnop").expect("an id");
    ledger.fails("a stranger's secret", took(&stranger, 1).await, Fault::NotFound);
    ledger.holds("describe a stranger", pools.describe_app_client(&pool, &stranger).await, &None::<()>);

    let changed = AppClientSpec {
        marker: "another-name".to_owned(),
        scopes: scopes(&["orders/read", "orders/write"]),
        access_token_validity: Duration::from_secs(301),
    };
    ledger.holds("update it", pools.update_app_client(&pool, &client, &changed).await, &());
    ledger.holds("update it again", pools.update_app_client(&pool, &client, &changed).await, &());
    let seen =
        AppClientSeen { scopes: changed.scopes.clone(), access_token_validity: changed.access_token_validity, ..seen };
    ledger.holds("all but its name is new", pools.describe_app_client(&pool, &client).await, &Some(seen));
    let wrong = spec("wrong", &["orders/delete"]);
    ledger.fails("give it an unknown scope", pools.update_app_client(&pool, &client, &wrong).await, Fault::Refused);
    ledger.fails("update a stranger", pools.update_app_client(&pool, &stranger, &changed).await, Fault::NotFound);

    ledger.holds("delete a stranger", pools.delete_app_client(&pool, &stranger).await, &());
    ledger.holds("delete the app client", pools.delete_app_client(&pool, &client).await, &());
    ledger.holds("delete the app client again", pools.delete_app_client(&pool, &client).await, &());
    ledger.holds("it is not found", pools.find_app_client(&pool, &right.marker).await, &None::<()>);
    ledger.holds("it is not described", pools.describe_app_client(&pool, &client).await, &None::<()>);
}

pub async fn play_pages(backend: &Backend, ledger: &mut Ledger) {
    let pools = &backend.pools;
    let pool = backend.pool("contract-pages").await;
    let mut made = BTreeSet::new();
    for number in 0..MANY {
        let marker = format!("many-{number}");
        made.insert((backend.client(&pool, &marker).await.0.to_string(), marker));
    }
    let (mut listed, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = pools.list_app_clients(&pool, after.as_deref()).await.expect("a page of app clients");
        listed.extend(page.items.into_iter().map(|(client, name)| (client.to_string(), name)));
        (after, pages) = (page.next, pages + 1);
        if after.is_none() || pages > MANY {
            break;
        }
    }
    ledger.is("each is listed once", listed.len(), MANY);
    ledger.is("all are listed", listed.into_iter().collect::<BTreeSet<_>>() == made, true);
    let found = pools.find_app_client(&pool, "many-60").await.map(|found| found.is_some());
    ledger.holds("find one on whatever page", found, &true);
}
