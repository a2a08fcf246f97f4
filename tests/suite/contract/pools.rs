//! User pools and their resource servers.

use std::time::Duration;

use keyward::broker::ports::{DomainProgress, Fault, UserPools};
use keyward::domain::id::{PoolId, UserPoolId};
use keyward::domain::tenant::{FeaturePlan, HostedDomain, IssuerType, Mfa, PasswordPolicy, UserPoolSettings};

use super::{Backend, Ledger, OTHER_REGION, pool_id, server, spec};
use crate::harness::brokers::custom_domain;

pub async fn play(backend: &Backend, ledger: &mut Ledger) {
    let pools = &backend.pools;
    let (id, asked) = (pool_id("tenant-contract"), settings(true));
    let Some(made) = ledger.goes("make a pool", pools.ensure_pool(&id, &asked).await) else { return };
    ledger.holds("make it again", pools.ensure_pool(&id, &asked).await, &made);
    let other = pools.ensure_pool(&pool_id("shared-contract"), &UserPoolSettings::default()).await;
    let Some(other) = ledger.goes("make another", other) else { return };
    ledger.is("it is another", (made.user_pool == other.user_pool, made.issuer == other.issuer), (false, false));

    let described = pools.describe_pool(&made.user_pool, &made.region).await;
    ledger.holds("describe it", described, &Some(made.clone()));
    let nobodys = UserPoolId::parse("pool", &format!("{}_nobodys00", made.region)).expect("an id");
    ledger.holds("describe none", pools.describe_pool(&nobodys, &made.region).await, &None::<()>);
    ledger.holds("its settings", pools.pool_settings(&made).await, &Some(asked.clone()));
    ledger.holds("the other's settings", pools.pool_settings(&other).await, &Some(UserPoolSettings::default()));
    let found =
        pools.find_pool(&id, "").await.map(|found| found.map(|found| (found.made, found.users, found.is_protected)));
    ledger.holds("look for it", found, &Some((made.clone(), 0, true)));
    let found =
        pools.find_pool(&pool_id("shared-contract"), "").await.map(|found| found.map(|found| found.is_protected));
    ledger.holds("look for the other", found, &Some(false));
    ledger.holds("look for none", pools.find_pool(&pool_id("tenant-nobodys"), "").await, &None::<()>);
    ledger.holds("its settings are as they were", pools.pool_settings(&made).await, &Some(asked.clone()));
    let listed = listed(pools.as_ref()).await;
    ledger.is("both are listed once", count(&listed, &["tenant-contract", "shared-contract"]), [1, 1]);

    ledger.fails("delete a protected pool", pools.delete_pool(&id, "", Some(&made)).await, Fault::Refused);
    ledger.holds("it is whole", pools.describe_pool(&made.user_pool, &made.region).await, &Some(made.clone()));
    let changed = UserPoolSettings { mfa: Mfa::Off, ..settings(false) };
    ledger.holds("change it", pools.update_pool(&made, &changed).await, &());
    ledger.holds("its new settings", pools.pool_settings(&made).await, &Some(changed.clone()));
    let elsewhere = UserPoolSettings { region: OTHER_REGION.to_owned(), ..changed.clone() };
    ledger.fails("change its Region", pools.update_pool(&made, &elsewhere).await, Fault::Refused);

    ledger.holds("delete it", pools.delete_pool(&id, "", Some(&made)).await, &());
    ledger.holds("delete it again", pools.delete_pool(&id, "", Some(&made)).await, &());
    ledger.holds("delete what nobody knows", pools.delete_pool(&id, "", None).await, &());
    ledger.holds("it is gone", pools.describe_pool(&made.user_pool, &made.region).await, &None::<()>);
    ledger.holds("so are its settings", pools.pool_settings(&made).await, &None::<()>);
    ledger.fails("change one that is gone", pools.update_pool(&made, &changed).await, Fault::NotFound);
    let put = pools.put_resource_server(&made, &server("orders", &["read"])).await;
    ledger.fails("put an API into it", put, Fault::NotFound);
    let client = pools.create_app_client(&made, &spec("nobody", &["orders/read"]), &super::secret(1)).await;
    ledger.fails("make an app client in it", client, Fault::NotFound);

    let unwritten = pool_id("shared-contract");
    ledger.holds("delete one that was not written down", pools.delete_pool(&unwritten, "", None).await, &());
    ledger.holds("that is gone, too", pools.describe_pool(&other.user_pool, &other.region).await, &None::<()>);
    let Some(again) = ledger.goes("make it anew", pools.ensure_pool(&unwritten, &UserPoolSettings::default()).await)
    else {
        return;
    };
    ledger.is("it is a new one", again.user_pool == other.user_pool, false);
}

/// Of a backend that has two.
pub async fn play_in_another_region(backend: &Backend, ledger: &mut Ledger) {
    let pools = &backend.pools;
    let id = pool_id("tenant-far");
    let asked = UserPoolSettings {
        region: OTHER_REGION.to_owned(),
        issuer_type: IssuerType::Updated,
        ..UserPoolSettings::default()
    };
    let Some(made) = ledger.goes("make a pool far away", pools.ensure_pool(&id, &asked).await) else { return };
    ledger.is("it is there", made.region.as_str(), OTHER_REGION);
    let found = pools.find_pool(&id, OTHER_REGION).await.map(|found| found.map(|found| found.made));
    ledger.holds("look for it far away", found, &Some(made.clone()));
    ledger.holds("make it far away again", pools.ensure_pool(&id, &asked).await, &made);
    ledger.holds("its settings far away", pools.pool_settings(&made).await, &Some(asked));
    ledger.is("it is listed", count(&listed(pools.as_ref()).await, &["tenant-far"]), [1]);
    let described = pools.describe_pool(&made.user_pool, OTHER_REGION).await;
    ledger.holds("describe it far away", described, &Some(made.clone()));
    ledger.holds("delete it by its Region", pools.delete_pool(&id, OTHER_REGION, None).await, &());
    ledger.holds("it is gone there", pools.describe_pool(&made.user_pool, OTHER_REGION).await, &None::<()>);
}

/// Of a backend on which time can be moved.
pub async fn play_domains(backend: &Backend, ledger: &mut Ledger) {
    let pools = &backend.pools;
    let id = pool_id("tenant-domains");
    let with = |domain: Option<HostedDomain>| UserPoolSettings { domain, ..Default::default() };
    let named = with(Some(HostedDomain::Prefix("contract-domains".to_owned())));
    let Some(made) = ledger.goes("make a pool with a prefix", pools.ensure_pool(&id, &named).await) else { return };
    ledger.holds("make it with its prefix again", pools.ensure_pool(&id, &named).await, &made);
    ledger.holds("its prefix", pools.pool_settings(&made).await, &Some(named.clone()));
    ledger.holds("nothing is against it", pools.check_settings(&named, Some(&made)).await, &None::<()>);

    let (one, other) = (custom_domain("login.example.com"), custom_domain("auth.example.com"));
    let mut now = made.clone();
    for wanted in [Some(one), Some(other), named.domain.clone(), None] {
        let wanted = with(wanted);
        ledger.holds("say which domain", pools.update_pool(&now, &wanted).await, &());
        for _ in 0..30 {
            let set = pools.set_domain(&id, &now, wanted.domain.as_ref()).await;
            let Some(set) = ledger.goes("go towards it", set) else { return };
            if matches!(wanted.domain, Some(HostedDomain::Custom { .. })) {
                ledger.is("tokens come from where they came", &set.made.token_endpoint, &now.token_endpoint);
            }
            now = set.made;
            match ledger.goes("it is not refused", set.progress) {
                Some(DomainProgress::OnItsWay) => backend.advance(Duration::from_secs(60)),
                _ => break,
            }
        }
        let settings = pools.pool_settings(&now).await;
        ledger.holds("the domain is what it was to be", settings, &Some(wanted.clone()));
        let again = pools.set_domain(&id, &now, wanted.domain.as_ref()).await.map(|set| set.made);
        ledger.holds("it is there already", again, &now);
    }
    for _ in 0..30 {
        match pools.delete_pool(&id, "", Some(&now)).await {
            Err(error) if error.is(Fault::Unavailable) => backend.advance(Duration::from_secs(60)),
            outcome => {
                ledger.holds("delete it with its domains", outcome, &());
                break;
            }
        }
    }
    let gone = pools.set_domain(&id, &now, None).await.map(drop);
    ledger.fails("a domain of a pool that is gone", gone, Fault::NotFound);
}

pub async fn play_resource_servers(backend: &Backend, ledger: &mut Ledger) {
    let pools = &backend.pools;
    let pool = pools.ensure_pool(&pool_id("contract-apis"), &UserPoolSettings::default()).await;
    let Some(pool) = ledger.goes("a pool for APIs", pool) else { return };
    ledger.holds("no APIs at first", pools.list_resource_servers(&pool).await, &[(); 0]);
    let (orders, bills) = (server("orders", &["read", "write"]), server("bills", &["read"]));
    ledger.holds("put an API", pools.put_resource_server(&pool, &orders).await, &());
    ledger.holds("put it again", pools.put_resource_server(&pool, &orders).await, &());
    ledger.holds("put another", pools.put_resource_server(&pool, &bills).await, &());
    ledger.holds("replace its scopes", pools.put_resource_server(&pool, &server("bills", &["list"])).await, &());
    let mut both = vec![bills.identifier.clone(), orders.identifier.clone()];
    let listed = pools.list_resource_servers(&pool).await.map(|mut listed| {
        listed.sort_by_key(ToString::to_string);
        listed
    });
    ledger.holds("both APIs", listed, &both);
    ledger.holds("delete an API", pools.delete_resource_server(&pool, &orders.identifier).await, &());
    ledger.holds("delete the API again", pools.delete_resource_server(&pool, &orders.identifier).await, &());
    both.pop();
    ledger.holds("the other API", pools.list_resource_servers(&pool).await, &both);
}

/// Nothing of it is a default but its Region and its issuer.
fn settings(protected: bool) -> UserPoolSettings {
    UserPoolSettings {
        region: String::new(),
        password_policy: PasswordPolicy {
            minimum_length: 14,
            require_lowercase: true,
            require_uppercase: false,
            require_numbers: true,
            require_symbols: false,
            temporary_validity_days: Some(30),
            history_size: 5,
        },
        mfa: Mfa::Optional,
        deletion_protection: protected,
        feature_plan: FeaturePlan::Plus,
        issuer_type: IssuerType::Original,
        tags: [("team".to_owned(), "identity".to_owned())].into(),
        ..Default::default()
    }
}

async fn listed(pools: &dyn UserPools) -> Vec<PoolId> {
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = pools.list_pools(after.as_deref()).await.expect("a page of pools");
        listed.extend(page.items);
        after = page.next;
        if after.is_none() {
            return listed;
        }
    }
}

fn count<const N: usize>(listed: &[PoolId], wanted: &[&str; N]) -> [usize; N] {
    wanted.map(|wanted| listed.iter().filter(|id| id.as_str() == wanted).count())
}
