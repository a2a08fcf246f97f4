//! Names that tenants claim, and whether they are proven: by a real name server.

use std::time::Duration;

use jiff::SignedDuration;
use keyward::broker::ports::Shelf;
use keyward::proto::{self, Isolation, SignInDomainKind};
use serde_json::json;
use tonic::Code;

use super::{Stage, domains, named, record};
use crate::harness::rotations::eventually;
use crate::harness::{assert_invalid, create_tenant, events, get_tenant, mask, new_tenant, refusal};

use SignInDomainKind::{Email, Host};

async fn only(stage: &Stage, tenant: &str) -> proto::SignInDomain {
    let tenant = get_tenant(&stage.daemon.channel, tenant).await.expect("there");
    let [only] = tenant.sign_in_domains.try_into().expect("one name");
    only
}

/// Events of names that began, or ceased, to count: of whom, what, and who had them looked for.
async fn verifications(stage: &Stage) -> Vec<(String, String, String)> {
    let of_names =
        events(&stage.daemon.channel).await.into_iter().filter(|event| event.method == "keyward.sign_in/verify");
    of_names.map(|event| (event.resource, event.detail, event.principal)).collect()
}

/// Whether a claim is stored, by its key.
async fn is_stored(stage: &Stage, key: &str) -> bool {
    stage.registry.get(Shelf::Claim, key).await.expect("read").is_some()
}

#[tokio::test]
async fn a_name_counts_once_its_record_is_found_and_that_is_an_event() {
    let stage = Stage::set().await;
    let mut request = new_tenant("acme", Isolation::AppClient);
    request.tenant.as_mut().expect("set").sign_in_domains = domains(&[("acme.example", Email)]);
    let [claimed] = stage
        .daemon
        .tenants()
        .create_tenant(request)
        .await
        .expect("created")
        .into_inner()
        .sign_in_domains
        .try_into()
        .expect("one");
    assert_eq!((claimed.domain.as_str(), claimed.kind()), ("acme.example", Email));
    assert_eq!(claimed.txt_record_name, "_keyward.acme.example");
    assert!(!claimed.verified && claimed.verify_time.is_none());
    let proof = claimed.txt_record_value.strip_prefix("keyward=").expect("ours");
    assert!(proof.len() == 32 && proof.bytes().all(|byte| byte.is_ascii_hexdigit()), "{proof}");

    // No name, a name without such a record, other texts, one that only begins so, the right one at another name.
    let value = &claimed.txt_record_value;
    for zone in [
        String::new(),
        "_keyward.acme.example. 60 IN A 127.0.0.1\n".to_owned(),
        format!("_keyward.acme.example. 60 IN TXT \"x{value}\"\n_keyward.acme.example. 60 IN TXT \"{value} \"\n"),
        format!("_keyward.acme.example. 60 IN TXT \"{}\" \n", &value[..30]),
        format!("acme.example. 60 IN TXT \"{value}\"\n_keyward.www.acme.example. 60 IN TXT \"{value}\"\n"),
    ] {
        stage.names.knows(&zone);
        assert!(!stage.touch("acme").await.sign_in_domains[0].verified, "{zone}");
    }
    assert_eq!(verifications(&stage).await, []);

    stage.names.knows(&record(&claimed));
    let [found] = stage.touch("acme").await.sign_in_domains.try_into().expect("one");
    assert!(found.verified && found.verify_time.is_some() && found.txt_record_value == *value);
    let said = verifications(&stage).await;
    let [(resource, detail, principal)] = said.as_slice() else { panic!("one event: {said:?}") };
    assert_eq!((resource.as_str(), detail.as_str()), ("tenants/acme", "the email domain acme.example is verified"));
    assert!(principal.starts_with("operator:"), "{principal}");
    stage.touch("acme").await;
    assert_eq!(verifications(&stage).await, said, "found again is no event");
    stage.stop().await;
}

#[tokio::test]
async fn a_record_is_found_however_dns_has_it() {
    let stage = Stage::set().await;
    create_tenant(&stage.daemon.channel, "acme", Isolation::AppClient).await;
    let mut at = 0;
    for form in ["in two parts", "among so many that UDP has no room", "elsewhere, by a CNAME"] {
        at += 1;
        let name = format!("n{at}.example");
        let claimed = stage.claim("acme", &[(&name, Email)]).await.expect("claimed").sign_in_domains.remove(0);
        let (place, value) = (&claimed.txt_record_name, &claimed.txt_record_value);
        stage.names.knows(&match form {
            "in two parts" => format!("{place}. 60 IN TXT \"{}\" \"{}\"\n", &value[..9], &value[9..]),
            "elsewhere, by a CNAME" => {
                format!("{place}. 60 IN CNAME proofs.example.\nproofs.example. 60 IN TXT \"{value}\"\n")
            }
            _ => {
                let others: String =
                    (0..60).map(|at| format!("{place}. 60 IN TXT \"{at}{}\"\n", "x".repeat(80))).collect();
                others + &record(&claimed)
            }
        });
        assert!(stage.touch("acme").await.sign_in_domains[0].verified, "{form}");
    }
    stage.stop().await;
}

#[tokio::test]
async fn a_record_is_looked_for_when_its_time_comes_and_when_a_tenant_is_reconciled() {
    let stage = Stage::set().await;
    create_tenant(&stage.daemon.channel, "acme", Isolation::AppClient).await;
    let claimed = stage.claim("acme", &[("acme.example", Host)]).await.expect("claimed").sign_in_domains.remove(0);
    stage.names.knows(&record(&claimed));
    stage.at(SignedDuration::from_secs(61));
    eventually("it is found by itself", async || only(&stage, "acme").await.verified).await;
    let said: Vec<_> = verifications(&stage).await.into_iter().map(|(_, _, principal)| principal).collect();
    assert_eq!(said, ["keyward"], "nobody has asked for that");

    create_tenant(&stage.daemon.channel, "globex", Isolation::AppClient).await;
    let claimed = stage.claim("globex", &[("globex.example", Email)]).await.expect("claimed").sign_in_domains.remove(0);
    stage.names.knows(&record(&claimed));
    let request = proto::ReconcileTenantRequest { name: "tenants/globex".to_owned(), ..Default::default() };
    stage.daemon.tenants().reconcile_tenant(request).await.expect("reconciled");
    assert!(only(&stage, "globex").await.verified);
    stage.stop().await;
}

#[tokio::test]
async fn dns_that_fails_takes_nothing_away_until_it_has_for_too_long() {
    let stage = Stage::set_with(|config| config.sign_in.timeout = Duration::from_secs(2)).await;
    create_tenant(&stage.daemon.channel, "acme", Isolation::AppClient).await;
    let claimed = stage.claim("acme", &[("acme.example", Email)]).await.expect("claimed").sign_in_domains.remove(0);
    stage.names.knows(&record(&claimed));
    let found = stage.touch("acme").await.sign_in_domains.remove(0);
    assert!(found.verified);

    let hour = |hours| stage.at(SignedDuration::from_hours(hours));
    hour(1);
    stage.names.fails();
    assert!(stage.touch("acme").await.sign_in_domains[0].verified, "it failed");
    stage.names.is_silent();
    assert!(stage.touch("acme").await.sign_in_domains[0].verified, "it says nothing");
    stage.names.knows("");
    assert!(stage.touch("acme").await.sign_in_domains[0].verified, "it says that there is none");
    hour(7 * 24 - 1);
    stage.names.fails();
    let kept = stage.touch("acme").await.sign_in_domains.remove(0);
    assert!(kept.verified && kept.verify_time == found.verify_time);
    hour(7 * 24);
    let gone = stage.touch("acme").await.sign_in_domains.remove(0);
    assert!(!gone.verified && gone.verify_time == found.verify_time && gone.txt_record_value == found.txt_record_value);
    let said: Vec<_> = verifications(&stage).await.into_iter().map(|(_, detail, _)| detail).collect();
    let name = "the email domain acme.example";
    assert_eq!(said, [format!("{name} is verified"), format!("{name} is not verified any more")]);

    stage.names.knows(&record(&claimed));
    assert!(stage.touch("acme").await.sign_in_domains[0].verified);
    stage.stop().await;
}

#[tokio::test]
async fn a_name_is_one_tenants_until_it_gives_it_back() {
    let stage = Stage::set().await;
    for tenant in ["acme", "globex"] {
        create_tenant(&stage.daemon.channel, tenant, Isolation::AppClient).await;
    }
    let claimed = stage.claim("acme", &[("acme.example", Email), ("b.example", Host)]).await.expect("claimed");
    let first = claimed.sign_in_domains[0].txt_record_value.clone();
    let taken = stage.claim("globex", &[("c.example", Email), ("acme.example", Email)]).await;
    assert_eq!(refusal(taken), (Code::AlreadyExists, "DOMAIN_CLAIMED".to_owned()));
    assert_eq!(get_tenant(&stage.daemon.channel, "globex").await.expect("there").sign_in_domains, [], "all or nothing");
    let mut request = new_tenant("umbrella", Isolation::AppClient);
    request.tenant.as_mut().expect("set").sign_in_domains = domains(&[("acme.example", Email)]);
    for validate_only in [true, false] {
        request.validate_only = validate_only;
        let taken = stage.daemon.tenants().create_tenant(request.clone()).await;
        assert_eq!(refusal(taken), (Code::AlreadyExists, "DOMAIN_CLAIMED".to_owned()), "{validate_only}");
    }
    // As a host it is another name. What was claimed keeps its proof when others come and go.
    stage.claim("globex", &[("acme.example", Host)]).await.expect("another kind");
    let kept = stage.claim("acme", &[("d.example", Email), ("acme.example", Email)]).await.expect("claimed");
    assert_eq!(kept.sign_in_domains[1].txt_record_value, first);

    stage.claim("acme", &[]).await.expect("given back");
    assert!(!is_stored(&stage, "email/acme.example").await && !is_stored(&stage, "email/d.example").await);
    let taken = stage.claim("globex", &[("acme.example", Email), ("b.example", Host)]).await.expect("free");
    assert_ne!(taken.sign_in_domains[0].txt_record_value, first, "a record for one tenant proves nothing of another");
    let request = proto::DeleteTenantRequest { name: "tenants/globex".to_owned(), ..Default::default() };
    stage.daemon.tenants().delete_tenant(request).await.expect("deleted");
    assert!(!is_stored(&stage, "email/acme.example").await && !is_stored(&stage, "host/acme.example").await);
    stage.claim("acme", &[("acme.example", Email), ("b.example", Host), ("acme.example", Host)]).await.expect("free");
    stage.stop().await;
}

#[tokio::test]
async fn a_claim_that_a_broker_of_before_has_left_behind_is_in_nobodys_way() {
    let stage = Stage::set().await;
    for tenant in ["acme", "globex"] {
        create_tenant(&stage.daemon.channel, tenant, Isolation::AppClient).await;
    }
    stage.claim("acme", &[("a.example", Email), ("b.example", Email)]).await.expect("claimed");
    stage
        .store(Shelf::Tenant, "acme", |tenant| {
            drop(tenant.as_object_mut().expect("a record").remove("sign_in_domains"))
        })
        .await;
    stage.claim("globex", &[("a.example", Email)]).await.expect("nobody lists it");
    assert!(is_stored(&stage, "email/b.example").await);
    stage.at(SignedDuration::from_secs(61));
    let gone = async || !is_stored(&stage, "email/b.example").await;
    eventually("what nobody lists is dropped when its time comes", gone).await;
    assert!(is_stored(&stage, "email/a.example").await);
    stage.stop().await;
}

#[tokio::test]
async fn a_claim_that_was_left_behind_proves_nothing_to_who_makes_it_anew() {
    let stage = Stage::set().await;
    create_tenant(&stage.daemon.channel, "acme", Isolation::AppClient).await;
    let claimed = stage.claim("acme", &[("a.example", Email)]).await.expect("claimed").sign_in_domains.remove(0);
    stage.names.knows(&record(&claimed));
    assert!(stage.touch("acme").await.sign_in_domains[0].verified);
    // As if it had been a tenant of before that had this id too.
    stage.store(Shelf::Tenant, "acme", |tenant| tenant["sign_in_domains"] = json!([])).await;
    let anew = stage.claim("acme", &[("a.example", Email)]).await.expect("claimed").sign_in_domains.remove(0);
    assert!(!anew.verified && anew.txt_record_value != claimed.txt_record_value, "{anew:?}");
    assert!(!stage.touch("acme").await.sign_in_domains[0].verified, "the record is for the claim of before");
    stage.stop().await;
}

#[tokio::test]
async fn a_name_that_two_tenants_list_is_whose_claim_it_is() {
    let stage = Stage::set().await;
    for tenant in ["acme", "globex"] {
        create_tenant(&stage.daemon.channel, tenant, Isolation::AppClient).await;
    }
    stage.claim("globex", &[("a.example", Email)]).await.expect("claimed");
    // No broker writes that. A registry that was put together from two copies would have it.
    let name = json!([{ "domain": "a.example", "kind": "Email" }]);
    stage.store(Shelf::Tenant, "acme", |tenant| tenant["sign_in_domains"] = name).await;
    let stage = stage.restarted().await;
    let seen = only(&stage, "acme").await;
    assert_eq!((seen.verified, seen.txt_record_value.as_str()), (false, ""), "the proof is for the other alone");
    let taken = stage.claim("acme", &[("a.example", Email)]).await;
    assert_eq!(refusal(taken), (Code::AlreadyExists, "DOMAIN_CLAIMED".to_owned()));
    stage.claim("acme", &[]).await.expect("given back");
    assert!(is_stored(&stage, "email/a.example").await, "it was not acme's to give back");
    assert!(only(&stage, "globex").await.txt_record_value.starts_with("keyward="));
    stage.stop().await;
}

#[tokio::test]
async fn only_a_name_as_it_is_written_can_be_claimed() {
    let stage = Stage::set().await;
    create_tenant(&stage.daemon.channel, "acme", Isolation::AppClient).await;
    let long = format!("{}.example", "a.".repeat(120));
    for bad in [
        "",
        "com",
        "Acme.example",
        "acme.example.",
        "b\u{fc}cher.example",
        "192.0.2.1",
        "a_b.example",
        "a b.example",
        "*.acme.example",
        "ann@acme.example",
        "https://acme.example",
        "acme.example:443",
        "xn--a.example",
        &long,
    ] {
        let refused = stage.claim("acme", &[("good.example", Email), (bad, Email)]).await;
        assert_invalid(refused, "FIELD_INVALID", "tenant.sign_in_domains[1].domain");
    }
    let told = stage.claim("acme", &[("B\u{fc}cher.example", Email)]).await.expect_err("refused");
    assert!(told.message().contains("xn--bcher-kva.example"), "{told:?}");
    assert_invalid(
        stage.claim("acme", &[("a.example", Email), ("a.example", Email)]).await,
        "FIELD_INVALID",
        "tenant.sign_in_domains[1]",
    );
    assert_invalid(
        stage.claim("acme", &[("a.example", SignInDomainKind::Unspecified)]).await,
        "FIELD_INVALID",
        "tenant.sign_in_domains[0].kind",
    );
    let many: Vec<_> = (0..21).map(|at| format!("n{at}.example")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), Email)).collect();
    assert_invalid(stage.claim("acme", &many).await, "FIELD_INVALID", "tenant.sign_in_domains");
    assert_eq!(stage.claim("acme", &many[..20]).await.expect("claimed").sign_in_domains.len(), 20);

    // What is not named in the mask stays; what only the broker says is not taken.
    let forged = proto::SignInDomain {
        verified: true,
        txt_record_value: "keyward=00".to_owned(),
        ..domains(&[("n0.example", Email)]).remove(0)
    };
    let request = proto::UpdateTenantRequest {
        tenant: Some(proto::Tenant { sign_in_domains: vec![forged], ..named("acme") }),
        update_mask: mask(&["sign_in_domains"]),
        validate_only: true,
        ..Default::default()
    };
    let planned = stage.daemon.tenants().update_tenant(request).await.expect("planned").into_inner().sign_in_domains;
    assert!(planned.len() == 1 && !planned[0].verified && planned[0].txt_record_value != "keyward=00");
    assert_eq!(stage.touch("acme").await.sign_in_domains.len(), 20);
    stage.stop().await;
}
