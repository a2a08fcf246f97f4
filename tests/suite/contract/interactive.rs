//! App clients that people sign in with.

use std::collections::BTreeSet;
use std::time::Duration;

use keyward::broker::ports::{
    Fault, InteractiveSeen, InteractiveSpec, OidcSpec, ProtocolSpec, ProviderSpec, SamlSource, SamlSpec,
};
use keyward::domain::id::AppClientId;
use keyward::domain::interactive::StandardScope;

use super::{Backend, Ledger, scopes, secret, spec};

const DAY: Duration = Duration::from_secs(86_400);

fn urls(urls: &[&str]) -> BTreeSet<String> {
    urls.iter().map(|url| (*url).to_owned()).collect()
}

pub fn interactive(marker: &str) -> InteractiveSpec {
    InteractiveSpec {
        marker: marker.to_owned(),
        scopes: scopes(&["orders/read"]),
        standard_scopes: [StandardScope::OpenId, StandardScope::Email].into_iter().collect(),
        access_token_validity: Duration::from_secs(300),
        id_token_validity: Duration::from_secs(600),
        refresh_token_validity: 3_650 * DAY,
        callback_urls: urls(&["https://app.example.com/back", "http://localhost:3000"]),
        sign_out_urls: urls(&["https://app.example.com/out"]),
        providers: BTreeSet::new(),
        native_accounts: true,
    }
}

pub async fn play(backend: &Backend, ledger: &mut Ledger) {
    let pools = &backend.pools;
    let pool = backend.pool("contract-people").await;
    let right = interactive("acme.portal-1");
    for (step, wrong) in [
        ("people: an unknown scope", InteractiveSpec { scopes: scopes(&["orders/delete"]), ..right.clone() }),
        (
            "people: no scopes",
            InteractiveSpec { scopes: scopes(&[]), standard_scopes: BTreeSet::new(), ..right.clone() },
        ),
        ("people: nowhere to come back to", InteractiveSpec { callback_urls: BTreeSet::new(), ..right.clone() }),
        ("people: an unknown provider", InteractiveSpec { providers: urls(&["Nobody"]), ..right.clone() }),
        ("people: too short an ID", InteractiveSpec { id_token_validity: Duration::from_secs(299), ..right.clone() }),
        ("people: too long a session", InteractiveSpec { refresh_token_validity: 3_651 * DAY, ..right.clone() }),
        ("people: too short a session", InteractiveSpec { refresh_token_validity: DAY / 25, ..right.clone() }),
    ] {
        let wrong = InteractiveSpec { marker: "wrong".to_owned(), ..wrong };
        ledger.fails(step, pools.create_interactive_client(&pool, &wrong).await.map(drop), Fault::Refused);
    }
    let made = pools.create_interactive_client(&pool, &right).await;
    let Some(client) = ledger.goes("people: make an app client", made) else { return };
    let found = pools.find_app_client(&pool, &right.marker).await;
    ledger.holds("people: find it", found, &Some(client.clone()));
    let seen = |spec: &InteractiveSpec| Some(InteractiveSeen { spec: spec.clone(), is_interactive: true });
    ledger.holds("people: describe it", pools.describe_interactive_client(&pool, &client).await, &seen(&right));
    let machine = pools.describe_app_client(&pool, &client).await.map(|seen| seen.is_some_and(|seen| seen.is_machine));
    ledger.holds("people: it is no machine's", machine, &false);
    let fetched = backend.tokens.fetch(&pool, &client, &secret(1), &scopes(&[])).await;
    ledger.is("people: it gets no token by itself", fetched.is_err(), true);

    let changed = InteractiveSpec {
        marker: "another-name".to_owned(),
        scopes: scopes(&[]),
        standard_scopes: [StandardScope::Profile].into_iter().collect(),
        access_token_validity: Duration::from_secs(301),
        id_token_validity: Duration::from_secs(301),
        refresh_token_validity: Duration::from_secs(3_601),
        callback_urls: urls(&["https://b.example.com"]),
        sign_out_urls: BTreeSet::new(),
        ..right.clone()
    };
    ledger.holds("people: update it", pools.update_interactive_client(&pool, &client, &changed).await, &());
    ledger.holds("people: update it again", pools.update_interactive_client(&pool, &client, &changed).await, &());
    let now = pools.describe_interactive_client(&pool, &client).await;
    let expected = InteractiveSpec { marker: right.marker.clone(), ..changed.clone() };
    ledger.holds("people: all but its name is new", now, &seen(&expected));
    let wrong = InteractiveSpec { scopes: scopes(&["orders/delete"]), ..changed.clone() };
    let refused = pools.update_interactive_client(&pool, &client, &wrong).await;
    ledger.fails("people: give it an unknown scope", refused, Fault::Refused);
    let stranger = AppClientId::parse("client", "0123456789abcdefghijklmnop").expect("an id");
    let update = pools.update_interactive_client(&pool, &stranger, &changed).await;
    ledger.fails("people: update a stranger", update, Fault::NotFound);
    ledger.holds("people: describe a stranger", pools.describe_interactive_client(&pool, &stranger).await, &None::<()>);
    let machine = pools.create_app_client(&pool, &spec("acme.machine", &["orders/read"]), &secret(1)).await;
    if let Some(machine) = ledger.goes("people: make a machine's", machine) {
        let seen = pools.describe_interactive_client(&pool, &machine.id).await;
        let seen = seen.map(|seen| seen.is_some_and(|seen| seen.is_interactive));
        ledger.holds("people: a machine's is no people's", seen, &false);
    }
    ledger.holds("people: delete it", pools.delete_app_client(&pool, &client).await, &());
    ledger.holds("people: it is gone", pools.describe_interactive_client(&pool, &client).await, &None::<()>);
}

/// Identity providers, which a program of others need not have.
pub async fn play_providers(backend: &Backend, ledger: &mut Ledger) {
    let pools = &backend.pools;
    let pool = backend.pool("contract-providers").await;
    let mapping = || [("email".to_owned(), "mail".to_owned())].into_iter().collect();
    let (okta, adfs) = ("acme.0123456789-01234567".to_owned(), "acme.0123456789-12345678".to_owned());
    let oidc = OidcSpec {
        issuer: "https://login.example.com".to_owned(),
        client_id: "keyward".to_owned(),
        client_secret: secret(1),
        scopes: vec!["openid".to_owned(), "email".to_owned()],
        authorize_url: String::new(),
        token_url: "https://login.example.com/token".to_owned(),
        user_info_url: String::new(),
        jwks_uri: String::new(),
    };
    let saml = |metadata| SamlSpec { metadata, sign_out: true, encrypted_responses: true };
    let of = |name: &str, protocol| ProviderSpec { name: name.to_owned(), protocol, attribute_mapping: mapping() };
    let first = of(&okta, ProtocolSpec::Oidc(oidc.clone()));
    let second = of(&adfs, ProtocolSpec::Saml(saml(SamlSource::Document("<EntityDescriptor/>".to_owned()))));
    let none = BTreeSet::<&str>::new();
    ledger.holds("providers: none", pools.compare_identity_provider(&pool, &first).await, &None::<()>);
    for provider in [&first, &second, &first] {
        ledger.holds("providers: put one", pools.put_identity_provider(&pool, provider).await, &());
        let seen = pools.compare_identity_provider(&pool, provider).await;
        ledger.holds("providers: it is as it was put", seen, &Some(none.clone()));
    }
    let listed = pools.list_identity_providers(&pool, None).await.map(|page| page.items);
    ledger.holds("providers: list them", listed, &vec![okta.clone(), adfs.clone()]);
    let changed = OidcSpec { client_id: "another".to_owned(), ..oidc };
    let changed = of(&okta, ProtocolSpec::Oidc(changed));
    let differing = Some(BTreeSet::from(["identity_providers.oidc.client_id"]));
    ledger.holds("providers: differ", pools.compare_identity_provider(&pool, &changed).await, &differing);
    ledger.holds("providers: change one", pools.put_identity_provider(&pool, &changed).await, &());
    let seen = pools.compare_identity_provider(&pool, &changed).await;
    ledger.holds("providers: it is changed", seen, &Some(none.clone()));
    let url = of(&adfs, ProtocolSpec::Saml(saml(SamlSource::Url("https://idp.example.com".to_owned()))));
    ledger.holds("providers: a document gives way to a URL", pools.put_identity_provider(&pool, &url).await, &());
    let seen = pools.compare_identity_provider(&pool, &url).await;
    ledger.holds("providers: it has", seen, &Some(none));

    let spec = InteractiveSpec { providers: urls(&[&okta]), native_accounts: false, ..interactive("acme.provided-1") };
    let made = pools.create_interactive_client(&pool, &spec).await;
    let Some(client) = ledger.goes("providers: an app client names one", made) else { return };
    let seen = pools.describe_interactive_client(&pool, &client).await;
    let expected = Some(InteractiveSeen { spec: spec.clone(), is_interactive: true });
    ledger.holds("providers: it has that one", seen, &expected);
    let refused = pools.delete_identity_provider(&pool, &okta).await;
    ledger.fails("providers: one that is named", refused, Fault::Refused);
    ledger.holds("providers: delete the app client", pools.delete_app_client(&pool, &client).await, &());
    for _ in 0..2 {
        ledger.holds("providers: delete one", pools.delete_identity_provider(&pool, &okta).await, &());
    }
    let listed = pools.list_identity_providers(&pool, None).await.map(|page| page.items);
    ledger.holds("providers: the other is left", listed, &vec![adfs]);
}
