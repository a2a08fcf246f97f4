//! What holds a secret or a token is not printed by `{:?}`, whatever it is nested in.

use base64::Engine as _;
use jiff::Timestamp;
use keyward::aws::Credentials;
use keyward::broker::api::{NewImport, NewOidc, SecretSource};
use keyward::broker::ports::{OidcSpec, SecretDocument};
use keyward::domain::id::{AppClientId, ClientId, PoolId, TenantId};
use keyward::domain::scope::ScopeSet;
use keyward::domain::secret::ClientSecret;
use keyward::domain::token::AccessToken;
use keyward::embedded::MasterKey;
use keyward::proto;
use prost_reflect::DescriptorPool;

use super::needles::Needles;

const SECRET: &str = "kZq3vX8bN1mT6yR0wE5uJ2hL9cF4aD7g";

#[test]
fn nothing_that_holds_a_secret_prints_it() {
    let secret = || ClientSecret::parse("client_secret", SECRET).expect("a secret");
    let time = Timestamp::UNIX_EPOCH;
    let key = base64::engine::general_purpose::STANDARD.encode(SECRET);
    let document = SecretDocument {
        client_id: None,
        client_secret: secret(),
        token_endpoint: String::new(),
        issuer: String::new(),
        scopes: String::new(),
    };
    let import = NewImport {
        tenant: TenantId::parse("tenant", "acme").expect("an id"),
        id: ClientId::parse("client", "orders").expect("an id"),
        pool: PoolId::parse("pool", "shared-1").expect("an id"),
        app_client: AppClientId::parse("app_client", "1example23456789").expect("an id"),
        secret: SecretSource::Given(secret()),
        display_name: String::new(),
        labels: Default::default(),
        scopes: None,
        access_token_validity: None,
        rotation: None,
        secret_readers: Vec::new(),
    };
    let oidc = NewOidc {
        issuer: String::new(),
        client_id: String::new(),
        client_secret: Some(secret()),
        scopes: Vec::new(),
        authorize_url: String::new(),
        token_url: String::new(),
        user_info_url: String::new(),
        jwks_uri: String::new(),
    };
    let spec = OidcSpec {
        issuer: String::new(),
        client_id: String::new(),
        client_secret: secret(),
        scopes: Vec::new(),
        authorize_url: String::new(),
        token_url: String::new(),
        user_info_url: String::new(),
        jwks_uri: String::new(),
    };
    let text = || SECRET.to_owned();
    let target = Some(proto::revoke_tokens_request::Target::Token(text()));
    let source = Some(proto::import_client_request::SecretSource::ClientSecret(text()));
    let verify = || proto::VerifyTokenRequest { token: text(), ..Default::default() };
    let printed = [
        format!("{:?}", secret()),
        format!("{:?}", AccessToken::new(text(), time, time, ScopeSet::default())),
        format!("{:?}", MasterKey::from_base64(&key).expect("a key")),
        format!("{:?}", Some(document)),
        format!("{import:?}"),
        format!("{oidc:?}"),
        format!("{spec:?}"),
        format!("{:?}", Credentials::Fixed { access_key_id: "AKIA".to_owned(), secret_access_key: text() }),
        format!("{:?}", proto::AccessToken { access_token: text(), ..Default::default() }),
        format!("{:?}", proto::RevealClientSecretResponse { client_secret: text(), ..Default::default() }),
        format!("{:?}", proto::OidcProvider { client_secret: text(), ..Default::default() }),
        format!("{:?}", tonic::Request::new(verify())),
        format!("{:?}", proto::VerifyTokensRequest { request: Some(verify()), ..Default::default() }),
        format!("{:?}", proto::RevokeTokensRequest { target, ..Default::default() }),
        format!("{:?}", proto::ImportClientRequest { secret_source: source, ..Default::default() }),
    ];
    let mut needles = Needles::default();
    needles.add_secret(SECRET);
    for text in printed {
        assert_eq!(needles.first_in(text.as_bytes()), None, "{text}");
    }
}

/// A message of the contract that comes to hold one must come onto the list of `build.rs`, whose `Debug` is written by hand.
#[test]
fn every_message_with_a_field_for_a_secret_or_a_token_is_censored() {
    const HARMLESS: [&str; 8] = [
        "page_token",
        "next_page_token",
        "token_id",
        "token_type",
        "secret_name",
        "secret_readers",
        "token_endpoint",
        "resume_token",
    ];
    let list = include_str!("../../../build.rs");
    let pool = DescriptorPool::decode(proto::FILE_DESCRIPTOR_SET).expect("descriptors");
    let mut seen = 0;
    for message in pool.all_messages().filter(|message| message.full_name().starts_with("keyward.v1.")) {
        for field in message.fields() {
            let name = field.name();
            let is_text = matches!(field.kind(), prost_reflect::Kind::String | prost_reflect::Kind::Bytes);
            let speaks_of_one = ["token", "secret", "password"].iter().any(|word| name.contains(word));
            if is_text && speaks_of_one && !HARMLESS.contains(&name) {
                assert!(list.contains(&format!("\"{}\"", message.full_name())), "{} has {name}", message.full_name());
                seen += 1;
            }
        }
    }
    assert!(seen >= 6, "only {seen} fields were found");
}
