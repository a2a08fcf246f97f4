//! Settings of a client for people that Cognito would not take, or that would make no sense: refused by their field, at its
//! creation and in a change.

use std::time::Duration;

use keyward::proto;

use super::providers::{oidc, put};
use super::{BACK, DAY, HOUR, create, daemon, named, new_interactive, settings, update, with};
use crate::harness::{Daemon, assert_invalid, span};

const PORTAL: &str = "tenants/acme/clients/portal";

/// Neither a new client nor one that is there can have it.
async fn refused(daemon: &Daemon, edit: &dyn Fn(&mut proto::Client), path: &str, reason: &str, field: &str) {
    let request = with(new_interactive("acme", "fresh"), edit);
    assert_invalid(daemon.clients().create_client(request).await, reason, field);
    let mut changed = proto::Client { name: PORTAL.to_owned(), ..new_interactive("", "").client.expect("set") };
    edit(&mut changed);
    assert_invalid(daemon.clients().update_client(update(changed, &[path])).await, reason, field);
}

#[tokio::test]
async fn tokens_live_as_long_as_cognito_lets_them_and_refresh_tokens_no_shorter_than_the_others() {
    let (daemon, _) = daemon().await;
    create(&daemon, new_interactive("acme", "portal")).await;
    let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    const ID: &str = "client.interactive.id_token_validity";
    const REFRESH: &str = "client.interactive.refresh_token_validity";
    for (id, refresh, field) in [
        (5 * minute - second, 30 * DAY, ID),
        (DAY + second, 30 * DAY, ID),
        (5 * minute + Duration::from_millis(1), 30 * DAY, ID),
        (5 * minute, HOUR - second, REFRESH),
        (5 * minute, 3_650 * DAY + second, REFRESH),
        (5 * minute, HOUR + Duration::from_millis(1), REFRESH),
        (2 * HOUR, 2 * HOUR - second, REFRESH),
    ] {
        let edit = |client: &mut proto::Client| {
            settings(client).id_token_validity = span(id);
            settings(client).refresh_token_validity = span(refresh);
        };
        refused(&daemon, &edit, "interactive", "FIELD_INVALID", field).await;
    }

    // Beside an access token, whichever of the two is changed.
    let short = |client: &mut proto::Client| settings(client).refresh_token_validity = span(HOUR);
    let request = with(new_interactive("acme", "fresh"), |client| {
        short(client);
        client.access_token_validity = span(HOUR + second);
    });
    assert_invalid(daemon.clients().create_client(request).await, "FIELD_INVALID", REFRESH);
    create(&daemon, with(new_interactive("acme", "brief"), short)).await;
    let longer = proto::Client { access_token_validity: span(HOUR + second), ..named("tenants/acme/clients/brief") };
    let answer = daemon.clients().update_client(update(longer, &["access_token_validity"])).await;
    assert_invalid(answer, "FIELD_INVALID", REFRESH);
    daemon.stop().await;
}

#[tokio::test]
async fn urls_providers_and_scopes_that_break_a_rule_are_refused_by_their_field() {
    let (daemon, _) = daemon().await;
    create(&daemon, new_interactive("acme", "portal")).await;
    put(&daemon, "acme", &[oidc("okta")]).await.expect("put");
    let many = |count: usize| (0..count).map(|n| format!("https://{n}.example.com")).collect::<Vec<_>>();
    type Edit = Box<dyn Fn(&mut proto::InteractiveSettings)>;
    let cases: [(Edit, &str); 9] = [
        (Box::new(|settings| settings.callback_urls.clear()), "callback_urls"),
        (Box::new(|settings| settings.callback_urls.push("http://app.example.com".to_owned())), "callback_urls[1]"),
        (Box::new(|settings| settings.callback_urls.push(BACK.to_owned())), "callback_urls[1]"),
        (Box::new(move |settings| settings.callback_urls = many(101)), "callback_urls"),
        (Box::new(|settings| settings.sign_out_urls = vec!["app.example.com".to_owned()]), "sign_out_urls[0]"),
        (Box::new(move |settings| settings.sign_out_urls = many(101)), "sign_out_urls"),
        (Box::new(|settings| settings.identity_provider_ids = vec!["okta".to_owned(); 21]), "identity_provider_ids"),
        (Box::new(|settings| settings.identity_provider_ids = vec!["Okta".to_owned()]), "identity_provider_ids[0]"),
        (Box::new(|settings| settings.confidential = true), "confidential"),
    ];
    for (edit, field) in cases {
        let edit = |client: &mut proto::Client| edit(settings(client));
        refused(&daemon, &edit, "interactive", "FIELD_INVALID", &format!("client.interactive.{field}")).await;
    }
    let scopes = |scopes: &[&str]| scopes.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>();
    for (wanted, reason, field) in [
        (scopes(&[]), "FIELD_INVALID", "client.scopes"),
        ((0..51).map(|n| format!("orders/{n}")).collect(), "FIELD_INVALID", "client.scopes"),
        (scopes(&["openid", "OpenID"]), "FIELD_INVALID", "client.scopes[1]"),
        (scopes(&["email", "orders/read"]), "FIELD_INVALID", "client.scopes"),
        (scopes(&["phone"]), "FIELD_INVALID", "client.scopes"),
        (scopes(&["aws.cognito.signin.user.admin", "profile"]), "FIELD_INVALID", "client.scopes"),
        (scopes(&["openid", "orders/nothing"]), "SCOPE_UNKNOWN", "client.scopes"),
    ] {
        let edit = |client: &mut proto::Client| client.scopes.clone_from(&wanted);
        refused(&daemon, &edit, "scopes", reason, field).await;
    }
    let plain = with(new_interactive("acme", "plain"), |client| client.scopes = scopes(&["openid"]));
    assert_eq!(create(&daemon, plain).await.scopes, ["openid"], "none of a resource server");
    let bare = daemon.clients().update_client(update(named(PORTAL), &["interactive"])).await;
    assert_invalid(bare, "FIELD_INVALID", "client.interactive");
    daemon.stop().await;
}
