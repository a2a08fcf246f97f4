use crate::aws::Endpoints;
use crate::aws::names::{Domain, Domains, Names, Need};
use crate::domain::id::{PoolId, UserPoolId};
use crate::domain::pool::MadePool;
use crate::domain::tenant::IssuerType;

fn pool_id(text: &str) -> PoolId {
    PoolId::parse("pool", text).expect("a pool's id")
}

fn made(
    endpoints: &Endpoints,
    region: &str,
    issuer: IssuerType,
    domain: Domain<'_>,
    need: Need,
) -> Result<MadePool, String> {
    let user_pool = UserPoolId::parse("user_pool", &format!("{region}_AbCdEf123")).expect("an id");
    Names::new("keyward", endpoints).made_pool(region, user_pool, issuer, Domains::of(domain), need)
}

fn urls(region: &str, issuer: IssuerType) -> [String; 3] {
    let pool = made(&Endpoints::default(), region, issuer, Domain::Prefix("keyward-x"), Need::Domain);
    let pool = pool.expect("a known Region");
    [pool.issuer.to_string(), pool.jwks_uri, pool.token_endpoint]
}

#[test]
fn a_commercial_region_has_the_documented_urls() {
    let expected = [
        "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEf123",
        "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEf123/.well-known/jwks.json",
        "https://keyward-x.auth.eu-central-1.amazoncognito.com/oauth2/token",
    ];
    assert_eq!(urls("eu-central-1", IssuerType::Original), expected);
}

#[test]
fn an_updated_issuer_has_another_host_for_issuer_and_keys_alone() {
    let [issuer, jwks, token] = urls("us-west-2", IssuerType::Updated);
    assert_eq!(issuer, "https://issuer-cognito-idp.us-west-2.amazonaws.com/us-west-2_AbCdEf123");
    assert_eq!(jwks, format!("{issuer}/.well-known/jwks.json"));
    assert_eq!(token, "https://keyward-x.auth.us-west-2.amazoncognito.com/oauth2/token");
}

#[test]
fn govcloud_and_china_have_domains_of_their_own() {
    let [issuer, _, token] = urls("us-gov-west-1", IssuerType::Original);
    assert_eq!(issuer, "https://cognito-idp.us-gov-west-1.amazonaws.com/us-gov-west-1_AbCdEf123");
    assert_eq!(token, "https://keyward-x.auth-fips.us-gov-west-1.amazoncognito.com/oauth2/token");
    let [issuer, _, token] = urls("cn-north-1", IssuerType::Original);
    assert_eq!(issuer, "https://cognito-idp.cn-north-1.amazonaws.com.cn/cn-north-1_AbCdEf123");
    assert_eq!(token, "https://keyward-x.auth.cn-north-1.amazoncognito.com.cn/oauth2/token");
}

#[test]
fn the_sovereign_cloud_needs_a_configured_token_endpoint_or_the_api() {
    let domain = Domain::Prefix("keyward-x");
    let nowhere = Endpoints::default();
    let refused = made(&nowhere, "eusc-de-east-1", IssuerType::Original, domain, Need::Domain).expect_err("unknown");
    assert!(refused.contains("aws.endpoints.token"), "{refused}");
    let by_api = made(&nowhere, "eusc-de-east-1", IssuerType::Original, domain, Need::NoDomain).expect("by the API");
    assert_eq!(by_api.issuer.as_str(), "https://cognito-idp.eusc-de-east-1.amazonaws.eu/eusc-de-east-1_AbCdEf123");
    assert_eq!(by_api.token_endpoint, "");
    let told = Endpoints { token: "https://{domain}.auth.{region}.example/oauth2/token".into(), ..nowhere };
    let told = made(&told, "eusc-de-east-1", IssuerType::Original, domain, Need::Domain).expect("configured");
    assert_eq!(told.token_endpoint, "https://keyward-x.auth.eusc-de-east-1.example/oauth2/token");
}

#[test]
fn a_region_of_no_known_partition_is_refused() {
    for region in ["us-iso-east-1", "us-isob-east-1", "eu-isoe-west-1", "local", "", "eu-central", "xx-central-1"] {
        let outcome = made(
            &Endpoints::default(),
            if region.is_empty() { "-" } else { region },
            IssuerType::Original,
            Domain::Prefix("keyward-x"),
            Need::NoDomain,
        );
        assert!(outcome.is_err(), "{region}");
    }
}

#[test]
fn a_pool_without_a_domain_has_no_token_endpoint() {
    let endpoints = Endpoints::default();
    let refused = made(&endpoints, "eu-west-1", IssuerType::Original, Domain::Absent, Need::Domain);
    assert!(refused.expect_err("no domain").contains("eu-west-1_AbCdEf123 has no domain"));
    let by_api = made(&endpoints, "eu-west-1", IssuerType::Original, Domain::Absent, Need::NoDomain);
    assert_eq!(by_api.expect("none needed").token_endpoint, "");
}

#[test]
fn a_custom_domain_is_used_as_it_is() {
    let domain = Domain::Custom("auth.example.com");
    let pool = made(&Endpoints::default(), "eu-west-1", IssuerType::Original, domain, Need::Domain).expect("a pool");
    assert_eq!(pool.token_endpoint, "https://auth.example.com/oauth2/token");
}

#[test]
fn a_pool_with_both_has_its_tokens_from_the_prefix_and_its_people_at_the_custom_domain() {
    let user_pool = UserPoolId::parse("user_pool", "eu-west-1_AbCdEf123").expect("an id");
    let told = Endpoints { token: "http://127.0.0.1/{domain}/token".into(), ..Endpoints::default() };
    let names = Names::new("keyward", &told);
    let domains = Domains {
        sign_in: Domain::Custom("login.example.com"),
        tokens: Domain::Prefix("keyward-x"),
        cname_target: "d111.cloudfront.net",
    };
    let pool = names.made_pool("eu-west-1", user_pool, IssuerType::Original, domains, Need::Domain).expect("a pool");
    assert_eq!((pool.domain.as_str(), pool.cname_target.as_str()), ("login.example.com", "d111.cloudfront.net"));
    assert_eq!(pool.token_endpoint, "https://keyward-x.auth.eu-west-1.amazoncognito.com/oauth2/token");
    assert_eq!(names.token_endpoint(&pool), "http://127.0.0.1/keyward-x/token");
}

#[test]
fn configured_endpoints_stand_in_but_never_for_the_issuer() {
    let endpoints = Endpoints {
        token: "http://127.0.0.1:4566/oauth2/token".into(),
        jwks: "http://127.0.0.1:4566/{region}/{user_pool}/jwks.json".into(),
        ..Endpoints::default()
    };
    let names = Names::new("keyward", &endpoints);
    let own = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEf123";
    for (domain, known) in [
        (Domain::Prefix("keyward-x"), "https://keyward-x.auth.eu-west-1.amazoncognito.com/oauth2/token"),
        // There is nothing else to tell anybody.
        (Domain::Absent, "http://127.0.0.1:4566/oauth2/token"),
    ] {
        let pool = made(&endpoints, "eu-west-1", IssuerType::Original, domain, Need::Domain).expect("a pool");
        assert_eq!(names.token_endpoint(&pool), "http://127.0.0.1:4566/oauth2/token");
        assert_eq!(names.jwks_uri(&pool), "http://127.0.0.1:4566/eu-west-1/eu-west-1_AbCdEf123/jwks.json");
        assert_eq!(pool.issuer.as_str(), own);
        assert_eq!((pool.token_endpoint.as_str(), pool.jwks_uri), (known, format!("{own}/.well-known/jwks.json")));
    }
}

#[test]
fn what_one_process_was_told_is_not_for_another() {
    let told = |host: &str| Endpoints {
        token: format!("http://{host}/{{domain}}/token"),
        jwks: format!("http://{host}/jwks"),
        ..Endpoints::default()
    };
    let prefix = Domain::Prefix("keyward-x");
    let pool = made(&told("one"), "eu-west-1", IssuerType::Original, prefix, Need::Domain).expect("a pool");
    let (other, nobody) = (Names::new("keyward", &told("other")), Names::new("keyward", &Endpoints::default()));
    assert_eq!(other.token_endpoint(&pool), "http://other/keyward-x/token");
    assert_eq!(other.jwks_uri(&pool), "http://other/jwks");
    assert_eq!(nobody.token_endpoint(&pool), "https://keyward-x.auth.eu-west-1.amazoncognito.com/oauth2/token");
    assert_eq!(nobody.jwks_uri(&pool), pool.jwks_uri);

    // As records were: with what their maker was told, and without the domain.
    let older = format!(
        r#"{{"user_pool":"eu-west-1_AbCdEf123","region":"eu-west-1","issuer":"{}",
            "token_endpoint":"http://one/keyward-x/token","jwks_uri":"http://one/jwks"}}"#,
        pool.issuer
    );
    let older: MadePool = serde_json::from_str(&older).expect("read");
    assert_eq!(other.token_endpoint(&older), "http://one/keyward-x/token", "the domain is not known");
    let plain = Endpoints { token: "http://other/token".into(), ..Endpoints::default() };
    assert_eq!(Names::new("keyward", &plain).token_endpoint(&older), "http://other/token");
    assert_eq!(nobody.jwks_uri(&older), pool.jwks_uri);
}

#[test]
fn a_pools_name_tells_its_id_and_others_names_tell_nothing() {
    let names = Names::new("keyward", &Endpoints::default());
    let id = pool_id("tenant-0123456789abcdef");
    assert_eq!(names.pool_name(&id), "keyward-tenant-0123456789abcdef");
    assert_eq!(names.pool_id(&names.pool_name(&id)), Some(id));
    for stranger in ["keyward", "keyward-", "keyward-website", "other-shared-01", "keyward2-shared-01", "shared-01"] {
        assert_eq!(names.pool_id(stranger), None, "{stranger}");
    }
}

#[test]
fn a_domain_prefix_has_63_characters_at_the_most() {
    let names = Names::new("abcdefghijklmnopqrst", &Endpoints::default());
    let longest = pool_id(&format!("shared-{}", "0".repeat(35)));
    assert_eq!(names.domain_prefix(&longest).expect("fits").len(), 63);
    assert!(names.domain_prefix(&pool_id(&format!("shared-{}", "0".repeat(36)))).is_err());
}
