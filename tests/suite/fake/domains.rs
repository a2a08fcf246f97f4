//! Domains of user pools. What is documented is kept. Where nothing is, the less convenient: one of somebody's own is not
//! deleted while it is at work, is in the way of another and of the pool's deletion until it is gone, and is told of by
//! the pool all the while.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::world::{ACCOUNT, ApiError, Ask, CustomDomain, DomainWork, LOWER, OperationResult, World};

/// How long the making of one takes, another certificate, and its deletion.
const MAKING: Duration = Duration::from_secs(5 * 60);
const CHANGING: Duration = Duration::from_secs(10 * 60);
const DELETING: Duration = Duration::from_secs(3 * 60);

pub fn create(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    if ask.input.contains_key("CustomDomainConfig") {
        return create_custom(world, ask);
    }
    let domain = ask.text("Domain").to_owned();
    if domain.contains('.') {
        return Err(ApiError::invalid("The domain name contains an invalid character."));
    }
    if ["aws", "amazon", "cognito"].iter().any(|reserved| domain.contains(reserved)) {
        return Err(ApiError::invalid("Domain cannot contain reserved word: cognito, aws, amazon"));
    }
    let key = (ask.region.to_owned(), domain.clone());
    let is_taken = world.domains.contains_key(&key);
    let pool = world.pool_of(ask)?;
    if is_taken {
        return Err(ApiError::invalid("Domain already associated with another user pool."));
    }
    if pool.domain.is_some() {
        return Err(ApiError::invalid("User pool already has a domain configured."));
    }
    pool.domain = Some(domain);
    let id = pool.id.clone();
    world.domains.insert(key, id);
    Ok(json!({ "ManagedLoginVersion": ask.input.get("ManagedLoginVersion").cloned().unwrap_or(json!(1)) }))
}

fn create_custom(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let domain = ask.text("Domain").to_owned();
    let config = ask.input["CustomDomainConfig"].clone();
    check_certificate(&config)?;
    let above = domain.split_once('.').map_or("", |(_, above)| above);
    if !above.contains('.') || world.unresolved.contains(above) {
        let rule = "Custom domain is not a valid subdomain: Was not able to resolve a DNS A record for the parent domain or \
                    domain parent is a top-level domain.";
        return Err(ApiError::invalid(rule));
    }
    let is_taken = world.custom_domains.contains_key(&domain);
    let here = world.custom_domains.values().filter(|custom| custom.region == ask.region).count();
    let (cloud_front, ceiling) =
        (format!("d{}.cloudfront.net", world.unique(LOWER, 13)), world.ceilings.custom_domains);
    let pool = world.pool_of(ask)?;
    if is_taken {
        return Err(ApiError::invalid("Domain already associated with another user pool."));
    }
    if pool.custom_domain.is_some() {
        return Err(ApiError::invalid("User pool already has a custom domain configured."));
    }
    if here >= ceiling {
        return Err(ApiError::new("LimitExceededException", "The maximum number of custom domains is reached"));
    }
    pool.custom_domain = Some(domain.clone());
    let work = DomainWork::Making(ask.now + MAKING);
    let made = CustomDomain {
        pool: pool.id.clone(),
        region: ask.region.to_owned(),
        config,
        cloud_front: cloud_front.clone(),
        work,
    };
    world.custom_domains.insert(domain, made);
    Ok(json!({ "CloudFrontDomain": cloud_front, "ManagedLoginVersion": 1 }))
}

/// Its certificate; the name stays.
pub fn update(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let pool = world.pool_of(ask)?.id.clone();
    let custom = world.custom_domains.get_mut(ask.text("Domain")).filter(|custom| custom.pool == pool);
    let custom = custom.ok_or_else(|| ApiError::invalid("No such domain or user pool exists."))?;
    if custom.status(ask.now) != "ACTIVE" {
        return Err(ApiError::invalid("The domain is not ACTIVE."));
    }
    if let Some(config) = ask.input.get("CustomDomainConfig") {
        check_certificate(config)?;
        custom.config = config.clone();
    }
    custom.work = DomainWork::Changing(ask.now + CHANGING);
    Ok(json!({ "CloudFrontDomain": custom.cloud_front, "ManagedLoginVersion": 1 }))
}

/// One that is not there is described with nothing.
pub fn describe(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let domain = ask.text("Domain");
    let custom = world.custom_domains.get(domain).filter(|custom| custom.region == ask.region);
    let prefix = world.domains.get(&(ask.region.to_owned(), domain.to_owned()));
    let description = match (custom, prefix) {
        (Some(custom), _) => described(domain, custom, ask.now),
        (None, Some(pool)) => {
            json!({ "UserPoolId": pool, "AWSAccountId": ACCOUNT, "Domain": domain, "Status": "ACTIVE", "Version": "1" })
        }
        (None, None) => json!({}),
    };
    Ok(json!({ "DomainDescription": description }))
}

pub fn delete(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let domain = ask.text("Domain").to_owned();
    let remembered = ask.now + world.domains_remembered;
    let pool = world.pool_of(ask)?;
    if pool.domain.as_ref() == Some(&domain) {
        (pool.domain, pool.domain_remembered) = (None, remembered);
        world.domains.remove(&(ask.region.to_owned(), domain));
        return Ok(json!({}));
    }
    let id = pool.id.clone();
    let custom = world.custom_domains.get_mut(&domain).filter(|custom| custom.pool == id);
    let custom = custom.ok_or_else(|| ApiError::invalid("No such domain or user pool exists."))?;
    match custom.status(ask.now) {
        "ACTIVE" | "FAILED" => custom.work = DomainWork::Deleting(ask.now + DELETING),
        status => return Err(ApiError::invalid(format!("The domain is {status}."))),
    }
    Ok(json!({}))
}

fn described(name: &str, custom: &CustomDomain, now: Timestamp) -> Value {
    json!({
        "UserPoolId": custom.pool,
        "AWSAccountId": ACCOUNT,
        "Domain": name,
        "Status": custom.status(now),
        "Version": "1",
        "CloudFrontDistribution": custom.cloud_front,
        "CustomDomainConfig": custom.config,
        "ManagedLoginVersion": 1,
    })
}

fn check_certificate(config: &Value) -> Result<(), ApiError> {
    let arn = config["CertificateArn"].as_str().unwrap_or_default();
    let start = format!("arn:aws:acm:us-east-1:{ACCOUNT}:certificate/");
    if arn.starts_with(&start) { Ok(()) } else { Err(ApiError::invalid("Invalid certificate ARN")) }
}
