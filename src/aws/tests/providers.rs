use std::collections::{BTreeSet, HashMap};

use aws_sdk_cognitoidentityprovider::types::{IdentityProviderType, IdentityProviderTypeType};

use crate::aws::providers::{compare, details_of};
use crate::broker::ports::{OidcSpec, ProtocolSpec, ProviderSpec, SamlSource, SamlSpec};
use crate::domain::secret::ClientSecret;

fn oidc() -> ProviderSpec {
    let oidc = OidcSpec {
        issuer: "https://login.example.com".into(),
        client_id: "keyward".into(),
        client_secret: ClientSecret::parse_foreign("client_secret", "a-providers-secret").expect("a secret"),
        scopes: vec!["openid".into(), "email".into()],
        authorize_url: String::new(),
        token_url: "https://login.example.com/token".into(),
        user_info_url: String::new(),
        jwks_uri: String::new(),
    };
    of(ProtocolSpec::Oidc(oidc))
}

fn saml(metadata: SamlSource) -> ProviderSpec {
    of(ProtocolSpec::Saml(SamlSpec { metadata, sign_out: true, encrypted_responses: false }))
}

fn of(protocol: ProtocolSpec) -> ProviderSpec {
    let attribute_mapping = [("email".to_owned(), "mail".to_owned())].into_iter().collect();
    ProviderSpec { name: "acme.0123456789-01234567".into(), protocol, attribute_mapping }
}

/// As Cognito tells of one that is as it should be, with these details in place of its own.
fn seen(spec: &ProviderSpec, with: &[(&str, Option<&str>)]) -> IdentityProviderType {
    let mut details = details_of(&spec.protocol);
    for (key, value) in with {
        match value {
            Some(value) => drop(details.insert((*key).to_owned(), (*value).to_owned())),
            None => drop(details.remove(*key)),
        }
    }
    let kind = match spec.protocol {
        ProtocolSpec::Oidc(_) => IdentityProviderTypeType::Oidc,
        ProtocolSpec::Saml(_) => IdentityProviderTypeType::Saml,
    };
    let mapping: HashMap<_, _> = spec.attribute_mapping.clone().into_iter().collect();
    IdentityProviderType::builder()
        .provider_type(kind)
        .set_provider_details(Some(details))
        .set_attribute_mapping(Some(mapping))
        .build()
}

fn differ(spec: &ProviderSpec, with: &[(&str, Option<&str>)]) -> Vec<&'static str> {
    compare(spec, &seen(spec, with)).into_iter().collect()
}

#[test]
fn an_endpoint_that_is_to_be_discovered_is_not_given_and_what_was_discovered_is_right() {
    let ProtocolSpec::Oidc(spec) = oidc().protocol else { panic!("OpenID Connect") };
    let details = details_of(&ProtocolSpec::Oidc(spec));
    let keys: BTreeSet<_> = details.keys().map(String::as_str).collect();
    let given = ["attributes_request_method", "authorize_scopes", "client_id", "client_secret", "oidc_issuer"];
    assert_eq!(keys, given.into_iter().chain(["token_url"]).collect());
    assert_eq!(differ(&oidc(), &[("jwks_uri", Some("https://login.example.com/keys"))]), Vec::<&str>::new());
    assert_eq!(differ(&oidc(), &[("token_url", None)]), ["identity_providers.oidc.token_url"]);
}

#[test]
fn what_cognito_does_not_tell_of_a_provider_is_taken_to_be_right_and_what_it_tells_is_compared() {
    let (spec, document) = (oidc(), saml(SamlSource::Document("<EntityDescriptor/>".into())));
    for key in ["client_id", "client_secret", "oidc_issuer", "authorize_scopes"] {
        assert_eq!(differ(&spec, &[(key, None)]), Vec::<&str>::new(), "{key}");
        assert_eq!(differ(&spec, &[(key, Some("evil"))]).len(), 1, "{key}");
    }
    assert_eq!(differ(&spec, &[("authorize_scopes", Some("email openid"))]), Vec::<&str>::new(), "in any order");
    assert_eq!(differ(&document, &[("MetadataFile", None)]), Vec::<&str>::new());
    assert_eq!(differ(&document, &[("MetadataURL", Some(""))]), Vec::<&str>::new());
    let changed = ["identity_providers.saml.metadata"];
    assert_eq!(differ(&document, &[("MetadataFile", Some("<evil/>"))]), changed);
    assert_eq!(differ(&document, &[("MetadataURL", Some("https://evil.example.com"))]), changed);
    let url = saml(SamlSource::Url("https://idp.example.com".into()));
    assert_eq!(differ(&url, &[]), Vec::<&str>::new());
    assert_eq!(differ(&url, &[("MetadataURL", None)]), changed, "it must be known where it reads");
    assert_eq!(differ(&url, &[("IDPSignout", Some("TRUE"))]), Vec::<&str>::new());
    assert_eq!(differ(&url, &[("IDPSignout", None)]), ["identity_providers.saml.sign_out"]);
    assert_eq!(differ(&url, &[("EncryptedResponses", None)]), Vec::<&str>::new());
}

#[test]
fn a_provider_of_another_protocol_or_mapping_differs() {
    for (spec, other, field) in [
        (oidc(), IdentityProviderTypeType::Saml, "identity_providers.oidc"),
        (saml(SamlSource::Url("https://a.example".into())), IdentityProviderTypeType::Oidc, "identity_providers.saml"),
    ] {
        let mut seen = seen(&spec, &[]);
        seen.provider_type = Some(other);
        assert_eq!(compare(&spec, &seen), BTreeSet::from([field]));
    }
    let spec = oidc();
    let mapped = |mapping: &[(&str, &str)]| {
        let mapping = mapping.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut seen = seen(&spec, &[]);
        seen.attribute_mapping = Some(mapping);
        compare(&spec, &seen).is_empty()
    };
    assert!(mapped(&[("email", "mail"), ("username", "sub")]), "the one that Cognito makes by itself");
    assert!(!mapped(&[("username", "sub")]) && !mapped(&[("email", "evil")]));
    assert!(!mapped(&[("email", "mail"), ("name", "name")]));
}
