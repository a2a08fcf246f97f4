//! Resource servers and pools.

use super::{count, etag, timestamp};
use crate::broker::api::{PoolView, ResourceServerView};
use crate::domain::quota::QuotaUsage;
use crate::domain::scope::ScopeDefinition;
use crate::proto;

pub fn resource_server(view: ResourceServerView) -> proto::ResourceServer {
    let server = view.server;
    // One that was only tried has no times yet.
    let time = |time| (view.version > 0).then(|| timestamp(time));
    let scope = |scope: ScopeDefinition| proto::ResourceServerScope {
        scope_name: scope.scope_name,
        description: scope.description,
    };
    proto::ResourceServer {
        name: server.identifier.name(),
        identifier: server.identifier.into(),
        display_name: server.display_name,
        scopes: server.scopes.into_iter().map(scope).collect(),
        create_time: time(server.create_time),
        update_time: time(server.update_time),
        etag: etag(view.version),
        in_force: view.in_force,
    }
}

pub fn pool(view: PoolView) -> proto::Pool {
    let pool = view.pool;
    let kind = if pool.tenant.is_some() { proto::PoolKind::Dedicated } else { proto::PoolKind::Shared };
    let mut message = proto::Pool {
        name: pool.id.name(),
        region: pool.region,
        kind: kind.into(),
        tenant: pool.tenant.map(|tenant| tenant.name()).unwrap_or_default(),
        app_client_count: count(pool.app_clients),
        app_client_limit: count(view.app_client_limit),
        quotas: quotas(view.quotas),
        create_time: Some(timestamp(pool.create_time)),
        ..proto::Pool::default()
    };
    if let Some(made) = pool.made {
        message.issuer = made.issuer.into();
        message.region = made.region;
        message.token_endpoint = made.token_endpoint;
        message.jwks_uri = made.jwks_uri;
        message.user_pool_id = made.user_pool.into();
    }
    message
}

pub fn quotas(usages: Vec<QuotaUsage>) -> Vec<proto::QuotaUsage> {
    let usage = |usage: QuotaUsage| proto::QuotaUsage {
        quota: usage.quota.name().to_owned(),
        region: usage.region,
        used: usage.used.into(),
        limit: usage.limit.into(),
    };
    usages.into_iter().map(usage).collect()
}
