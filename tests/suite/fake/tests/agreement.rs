//! One script, played to the fake and to the emulators: what they answer otherwise than the fake is listed here, and
//! nothing else differs.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::{SECOND_VALUE, Stage, VALUE, http, machine, pool, put_api};
use crate::peers::{Peer, Sdk};

type Story = Vec<(&'static str, String)>;

/// What ministack says otherwise: the step, what the fake says, what it says.
const MINISTACK: &[(&str, &str, &str)] = &[
    ("delete a protected pool", "InvalidParameterException", "ok"),
    ("create an app client with a value of one's own", "ok, true", "ok"),
    ("create one with an unknown scope", "ScopeDoesNotExistException", "ok"),
    ("create one for client credentials without a secret", "InvalidOAuthFlowException", "ok"),
    ("add a second secret", "ok", "InvalidAction"),
    ("update it with nothing", "ok, 0", "ok, 2"),
    (
        "a token's claims",
        "auth_time client_id exp iat iss jti scope sub token_use version",
        "auth_time client_id exp iat iss jti origin_jti scope sub token_use",
    ),
    ("a token without a grant", "400 invalid_request", "400 unsupported_grant_type"),
    ("create a secret", "ok, true", "ok, false"),
    ("create it again with the same token", "ok", "ResourceExistsException"),
    ("put other content under its token", "ResourceExistsException", "ok"),
    ("read the current one by label", "ok, b", "ok, c"),
    ("read the current one by default", "ok, b", "ok, c"),
    (
        "where the labels are then",
        "ok, 1: AWSPREVIOUS; 2: AWSCURRENT; 3: AWSPENDING; 4: ",
        "ok, 1: AWSPREVIOUS; 2: AWSCURRENT AWSPENDING; 3: AWSPENDING; 4: ",
    ),
    (
        "where the labels are at last",
        "ok, 1: ; 2: AWSPREVIOUS; 3: AWSPENDING; 4: AWSCURRENT",
        "ok, 1: ; 2: AWSPENDING AWSPREVIOUS; 3: AWSPENDING; 4: AWSCURRENT",
    ),
    ("create it then", "InvalidRequestException", "ResourceExistsException"),
];

/// What moto says otherwise.
const MOTO: &[(&str, &str, &str)] = &[
    ("create a domain again", "InvalidParameterException", "ok"),
    ("delete a protected pool", "InvalidParameterException", "ok"),
    ("create one with an unknown scope", "ScopeDoesNotExistException", "ok"),
    ("create one for client credentials without a secret", "InvalidOAuthFlowException", "ok"),
    ("add a second secret", "ok", "an answer that cannot be read"),
    ("update it with nothing", "ok, 0", "ok, 2"),
    ("a token's answer", "200 access_token expires_in token_type", "500 "),
    ("a token's claims", "auth_time client_id exp iat iss jti scope sub token_use version", ""),
    ("its issuer is AWS's", "true", "false"),
    ("a token for a wrong secret", "400 invalid_client", "500 "),
    ("a token for a scope that it lacks", "400 invalid_scope", "500 "),
    ("a token without a grant", "400 invalid_request", "500 "),
    ("a token of another grant", "400 unsupported_grant_type", "500 "),
    ("put other content under its token", "ResourceExistsException", "ok"),
    ("read the current one by label", "ok, b", "ok, c"),
    ("read the current one by default", "ok, b", "ok, a"),
    (
        "where the labels are at last",
        "ok, 1: ; 2: AWSPREVIOUS; 3: AWSPENDING; 4: AWSCURRENT",
        "ok, 1: AWSPREVIOUS; 2: AWSCURRENT; 3: AWSPENDING; 4: AWSCURRENT",
    ),
    ("create it then", "InvalidRequestException", "ResourceExistsException"),
    ("read it again", "ok, d", "ok, c"),
];

#[tokio::test]
async fn ministack_tells_the_same_story_but_for_what_is_listed() {
    let (peer, stage) = (Peer::ministack().await, Stage::set().await);
    compare(&stage, &peer, MINISTACK).await;
}

#[tokio::test]
async fn a_fake_that_ignores_own_secrets_does_what_ministack_does_about_them() {
    let (peer, stage) = (Peer::ministack().await, Stage::set().await);
    stage.fake.ignore_own_secrets();
    let alike =
        ["create an app client with a value of one's own", "create one for client credentials without a secret"];
    let known = MINISTACK.iter().filter(|(step, ..)| !alike.contains(step));
    let known = known.map(|(step, ours, theirs)| match *step {
        "add a second secret" => (*step, "UnknownOperationException", *theirs),
        _ => (*step, *ours, *theirs),
    });
    compare(&stage, &peer, &known.collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn moto_tells_the_same_story_but_for_what_is_listed() {
    let (peer, stage) = (Peer::moto().await, Stage::set().await);
    compare(&stage, &peer, MOTO).await;
}

async fn compare(stage: &Stage, peer: &Peer, known: &[(&str, &str, &str)]) {
    let ours = tell(&stage.fake.endpoint(), &stage.sdk).await;
    let theirs = tell(&peer.endpoint, &Sdk::new(&peer.endpoint, super::REGION, "AKIATEST", "test")).await;
    let both = ours.iter().zip(&theirs).filter(|(ours, theirs)| ours != theirs);
    let found: Vec<_> = both.map(|((step, ours), (_, theirs))| (*step, ours.as_str(), theirs.as_str())).collect();
    assert_eq!(found, known);
}

async fn tell(endpoint: &str, sdk: &Sdk) -> Story {
    let mut story = Vec::new();
    tell_of_pools(sdk, &mut story).await;
    tell_of_app_clients(sdk, &mut story).await;
    tell_of_tokens(endpoint, sdk, &mut story).await;
    tell_of_secrets(sdk, &mut story).await;
    story
}

async fn tell_of_pools(sdk: &Sdk, story: &mut Story) {
    let (cognito, id) = (&sdk.cognito, pool(sdk, "agreed").await);
    let seen = cognito.describe_user_pool().user_pool_id(&id).send().await;
    story.push(("describe a pool", said(seen, |seen| seen.user_pool()?.name().map(str::to_owned))));
    let none = cognito.describe_user_pool().user_pool_id("eu-central-1_none").send().await;
    story.push(("describe a pool that is not there", said(none, |_| None)));
    put_api(sdk, &id).await;
    let again = cognito.create_resource_server().user_pool_id(&id).identifier("orders").name("Orders").send().await;
    story.push(("create a resource server again", said(again, |_| None)));
    let none = cognito.describe_resource_server().user_pool_id(&id).identifier("none").send().await;
    story.push(("describe a resource server that is not there", said(none, |_| None)));
    let domain = || cognito.create_user_pool_domain().user_pool_id(&id).domain("agreed-domain").send();
    story.push(("create a domain", said(domain().await, |_| None)));
    story.push(("create a domain again", said(domain().await, |_| None)));
    let nobodys = cognito.describe_user_pool_domain().domain("nobodys").send().await;
    let owner = said(nobodys, |seen| seen.domain_description()?.user_pool_id().map(str::to_owned));
    story.push(("describe a domain that is not there", owner));
    let protect = cognito.update_user_pool().user_pool_id(&id).deletion_protection("ACTIVE".into()).send().await;
    story.push(("protect a pool", said(protect, |_| None)));
    let delete = || cognito.delete_user_pool().user_pool_id(&id).send();
    story.push(("delete a protected pool", said(delete().await, |_| None)));
}

async fn tell_of_app_clients(sdk: &Sdk, story: &mut Story) {
    let (cognito, pool) = (&sdk.cognito, pool(sdk, "app clients").await);
    put_api(sdk, &pool).await;
    let made = machine(sdk, &pool, "orders").client_secret(VALUE).send().await;
    let id = made.as_ref().ok().and_then(|made| made.user_pool_client()?.client_id().map(str::to_owned));
    story.push((
        "create an app client with a value of one's own",
        said(made, |made| made.user_pool_client()?.client_secret().map(|value| (value == VALUE).to_string())),
    ));
    let id = id.expect("an id");
    let unknown = machine(sdk, &pool, "bad").client_secret(VALUE).allowed_o_auth_scopes("orders/none").send().await;
    story.push(("create one with an unknown scope", said(unknown, |_| None)));
    let bare = machine(sdk, &pool, "bad").send().await;
    story.push(("create one for client credentials without a secret", said(bare, |_| None)));
    let describe = |id: &str| cognito.describe_user_pool_client().user_pool_id(&pool).client_id(id).send();
    let scopes = said(describe(&id).await, |seen| Some(seen.user_pool_client()?.allowed_o_auth_scopes().join(" ")));
    story.push(("describe it", scopes));
    story.push(("describe one that is not there", said(describe("none").await, |_| None)));
    let add = cognito.add_user_pool_client_secret().user_pool_id(&pool).client_id(&id).client_secret(SECOND_VALUE);
    story.push(("add a second secret", said(add.send().await, |_| None)));
    let update = cognito.update_user_pool_client().user_pool_id(&pool).client_id(&id).send().await;
    let left = said(update, |seen| Some(seen.user_pool_client()?.allowed_o_auth_scopes().len().to_string()));
    story.push(("update it with nothing", left));
    let delete = || cognito.delete_user_pool_client().user_pool_id(&pool).client_id(&id).send();
    story.push(("delete it", said(delete().await, |_| None)));
    story.push(("delete it again", said(delete().await, |_| None)));
}

async fn tell_of_tokens(endpoint: &str, sdk: &Sdk, story: &mut Story) {
    let (cognito, pool) = (&sdk.cognito, pool(sdk, "tokens").await);
    put_api(sdk, &pool).await;
    let domain = cognito.create_user_pool_domain().user_pool_id(&pool).domain("agreed-tokens").send().await;
    story.push(("create a domain for tokens", said(domain, |_| None)));
    let made = machine(sdk, &pool, "orders").generate_secret(true).send().await.expect("made");
    let made = made.user_pool_client.expect("an app client");
    let (id, secret) = (made.client_id().expect("an id"), made.client_secret().expect("a secret"));
    let token = |form: &'static str, secret: &str| {
        let request = http().post(format!("{endpoint}/oauth2/token")).basic_auth(id, Some(secret)).body(form);
        let answer = request.header("content-type", "application/x-www-form-urlencoded").send();
        async move {
            let answer = answer.await.expect("an answer");
            let status = answer.status().as_u16();
            let body = answer.bytes().await.expect("a body");
            (status, serde_json::from_slice::<Value>(&body).unwrap_or_default())
        }
    };
    let (status, answer) = token("grant_type=client_credentials", secret).await;
    // Sorted, since any crate of the tree may have serde_json keep members in the order in which they came.
    let members = |of: &Value| {
        of.as_object().map(|of| {
            let mut names: Vec<_> = of.keys().map(String::as_str).collect();
            names.sort_unstable();
            names.join(" ")
        })
    };
    story.push(("a token's answer", format!("{status} {}", members(&answer).unwrap_or_default())));
    let part = answer["access_token"].as_str().and_then(|token| token.split('.').nth(1));
    let claims = part.map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64url"));
    let claims: Value = claims.map(|claims| serde_json::from_slice(&claims).expect("JSON")).unwrap_or_default();
    story.push(("a token's claims", members(&claims).unwrap_or_default()));
    let issuer = format!("https://cognito-idp.{}.amazonaws.com/{pool}", super::REGION);
    story.push(("its issuer is AWS's", (claims["iss"] == issuer).to_string()));
    let refusals = [
        ("a token for a wrong secret", "grant_type=client_credentials", VALUE),
        ("a token for a scope that it lacks", "grant_type=client_credentials&scope=orders%2Fnone", secret),
        ("a token without a grant", "scope=orders%2Fread", secret),
        ("a token of another grant", "grant_type=authorization", secret),
    ];
    for (step, form, secret) in refusals {
        let (status, answer) = token(form, secret).await;
        story.push((step, format!("{status} {}", answer["error"].as_str().unwrap_or_default())));
    }
    let keys = http().get(format!("{endpoint}/{pool}/.well-known/jwks.json")).send().await.expect("an answer");
    story.push(("the key set", keys.status().as_u16().to_string()));
}

async fn tell_of_secrets(sdk: &Sdk, story: &mut Story) {
    let (secrets, name) = (&sdk.secrets, "agreed/secret");
    let token = |digit: &str| digit.repeat(32);
    let create = |digit: &str, text: &str| {
        secrets.create_secret().name(name).client_request_token(token(digit)).secret_string(text).send()
    };
    let created = create("1", "a").await;
    // ministack makes an id of its own; the rest of the story goes on with it.
    let first = created.as_ref().ok().and_then(|created| created.version_id()).expect("a version").to_owned();
    story.push(("create a secret", said(created, |_| Some((first == token("1")).to_string()))));
    story.push(("create it again with the same token", said(create("1", "a").await, |_| None)));
    story.push(("create it with other content", said(create("1", "b").await, |_| None)));
    let put = |digit: &str, text: &str| {
        let put = secrets.put_secret_value().secret_id(name).client_request_token(token(digit)).secret_string(text);
        put.version_stages("AWSPENDING").send()
    };
    story.push(("put a pending version", said(put("2", "b").await, |_| None)));
    story.push(("put it again", said(put("2", "b").await, |_| None)));
    story.push(("put other content under its token", said(put("2", "c").await, |_| None)));
    let promote = |from: &str, to: &str| {
        let update = secrets.update_secret_version_stage().secret_id(name).version_stage("AWSCURRENT");
        update.remove_from_version_id(from).move_to_version_id(to).send()
    };
    let (second, third, fourth) = (token("2"), token("3"), token("4"));
    story.push(("promote it from a version that is not current", said(promote(&second, &second).await, |_| None)));
    story.push(("promote it", said(promote(&first, &second).await, |_| None)));
    story.push(("promote it again", said(promote(&first, &second).await, |_| None)));
    let read = |label: &str| {
        let read = secrets.get_secret_value().secret_id(name).version_stage(label).send();
        async { said(read.await, |read| read.secret_string().map(str::to_owned)) }
    };
    let read_default = || async {
        said(secrets.get_secret_value().secret_id(name).send().await, |read| read.secret_string().map(str::to_owned))
    };
    story.push(("read the current one by label", read("AWSCURRENT").await));
    story.push(("read the current one by default", read_default().await));
    story.push(("read the previous one", read("AWSPREVIOUS").await));
    let labels = || async {
        said(secrets.describe_secret().secret_id(name).send().await, |seen| {
            let labels = seen.version_ids_to_stages()?;
            let of = |id: &String, number: &str| {
                let mut labels = labels.get(id).cloned().unwrap_or_default();
                labels.sort();
                format!("{number}: {}", labels.join(" "))
            };
            Some([of(&first, "1"), of(&second, "2"), of(&third, "3"), of(&fourth, "4")].join("; "))
        })
    };
    story.push(("where the labels are", labels().await));
    story.push(("put another pending version", said(put("3", "c").await, |_| None)));
    story.push(("where the labels are then", labels().await));
    let current = secrets.put_secret_value().secret_id(name).client_request_token(token("4")).secret_string("d");
    story.push(("put a current version", said(current.send().await, |_| None)));
    story.push(("where the labels are at last", labels().await));
    let delete = secrets.delete_secret().secret_id(name).recovery_window_in_days(7).send().await;
    story.push(("delete it", said(delete, |_| None)));
    story.push(("read it then", read_default().await));
    story.push(("create it then", said(create("5", "e").await, |_| None)));
    story.push(("restore it", said(secrets.restore_secret().secret_id(name).send().await, |_| None)));
    story.push(("read it again", read("AWSCURRENT").await));
}

/// The name of the exception, or `ok` with what is of interest.
fn said<T: std::fmt::Debug, E: aws_sdk_cognitoidentityprovider::error::ProvideErrorMetadata>(
    result: Result<T, E>,
    of_interest: impl Fn(&T) -> Option<String>,
) -> String {
    match result {
        Ok(answer) => of_interest(&answer).map_or("ok".to_owned(), |detail| format!("ok, {detail}")),
        Err(error) => error.code().unwrap_or("an answer that cannot be read").to_owned(),
    }
}
