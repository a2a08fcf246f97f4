//! User pools, their MFA and tags.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::keys::PoolKey;
use super::world::{
    ACCOUNT, ApiError, Ask, MIXED, Members, OperationResult, Pool, World, members, page, seconds, with_next,
};

/// What only `CreateUserPool` can set.
const FOR_EVER: &[&str] = &["AliasAttributes", "UsernameAttributes", "UsernameConfiguration", "Schema"];
/// Of the input of `CreateUserPool` and `UpdateUserPool`, what is not a setting of that name.
const NOT_SETTINGS: &[&str] = &["UserPoolId", "PoolName", "UserPoolTags"];
const MAX_TAGS: usize = 50;
const FACTORS: [&str; 3] = ["SmsMfaConfiguration", "SoftwareTokenMfaConfiguration", "EmailMfaConfiguration"];

pub fn create(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    if world.pools.values().filter(|pool| pool.region == ask.region).count() >= world.ceilings.user_pools {
        return Err(ApiError::new("LimitExceededException", "The maximum number of user pools is reached"));
    }
    let settings = settings(ask, Members::new())?;
    if settings["MfaConfiguration"] != "OFF" && !settings.contains_key("SmsConfiguration") {
        let rule =
            "SMS configuration and Auto verification for phone_number are required when MFA is required/optional";
        return Err(ApiError::invalid(rule));
    }
    check_passwords(&settings)?;
    let id = format!("{}_{}", ask.region, world.unique(MIXED, 9));
    let pool = Pool {
        region: ask.region.to_owned(),
        settings,
        tags: tags(ask, "UserPoolTags")?,
        users: 0,
        mfa: Members::new(),
        domain: None,
        custom_domain: None,
        domain_remembered: Timestamp::MIN,
        resource_servers: BTreeMap::new(),
        providers: BTreeMap::new(),
        clients: BTreeMap::new(),
        ghosts: BTreeMap::new(),
        keys: vec![PoolKey::new(&id, 0)],
        keys_made: 0,
        create_time: ask.now,
        update_time: ask.now,
        id: id.clone(),
    };
    let answer = json!({ "UserPool": described(&pool) });
    world.pools.insert(id, pool);
    Ok(answer)
}

pub fn describe(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    Ok(json!({ "UserPool": described(world.pool_of(ask)?) }))
}

/// What is not given becomes what it is by default; the name stays.
pub fn update(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let pool = world.pool_of(ask)?;
    let kept = pool.settings.iter().filter(|(name, _)| FOR_EVER.contains(&name.as_str()) || *name == "Name");
    let settings = settings(ask, kept.map(|(name, value)| (name.clone(), value.clone())).collect())?;
    if settings["MfaConfiguration"] != "OFF" && !settings.contains_key("SmsConfiguration") && !has_factor(&pool.mfa) {
        return Err(ApiError::invalid("Invalid MFA configuration given, no MFA factor is configured."));
    }
    check_passwords(&settings)?;
    if pool.mfa.contains_key("EmailMfaConfiguration") {
        check_tier(&settings, "Email MFA")?;
    }
    pool.tags = tags(ask, "UserPoolTags")?;
    pool.settings = settings;
    pool.update_time = ask.now;
    Ok(json!({}))
}

pub fn delete(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let pool = world.pool_of(ask)?;
    if pool.settings["DeletionProtection"] == "ACTIVE" {
        let rule = "The user pool cannot be deleted because deletion protection is activated. \
                    Deletion protection must be inactivated first.";
        return Err(ApiError::invalid(rule));
    }
    if pool.domain.is_some() || pool.custom_domain.is_some() || ask.now < pool.domain_remembered {
        let rule = "User pool cannot be deleted. It has a domain configured that should be deleted first.";
        return Err(ApiError::invalid(rule));
    }
    let id = pool.id.clone();
    world.pools.remove(&id);
    Ok(json!({}))
}

pub fn list(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let here = world.pools.values().filter(|pool| pool.region == ask.region);
    let items = here.map(|pool| {
        let item = json!({
            "Id": pool.id,
            "Name": pool.settings["Name"],
            "LambdaConfig": {},
            "CreationDate": seconds(pool.create_time),
            "LastModifiedDate": seconds(pool.update_time),
        });
        (pool.id.clone(), item)
    });
    let (items, next) = page(items, ask.given("NextToken"), ask.input.get("MaxResults"), 60)?;
    Ok(with_next(json!({ "UserPools": items }), next))
}

pub fn set_mfa(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let pool = world.pool_of(ask)?;
    let wanted = ask.given("MfaConfiguration").unwrap_or("OFF");
    let given: Members = FACTORS
        .iter()
        .chain(&["WebAuthnConfiguration"])
        .filter_map(|name| Some(((*name).to_owned(), ask.input.get(*name)?.clone())))
        .collect();
    if wanted != "OFF" && !has_factor(&given) {
        return Err(ApiError::invalid("Invalid MFA configuration given, can't turn on MFA without an MFA factor."));
    }
    if wanted == "OFF" && has_factor(&given) {
        let rule = "Invalid MFA configuration given, can't turn off MFA and configure an MFA together.";
        return Err(ApiError::invalid(rule));
    }
    if given.contains_key("EmailMfaConfiguration") {
        check_tier(&pool.settings, "Email MFA")?;
        if pool.settings["EmailConfiguration"]["EmailSendingAccount"] != "DEVELOPER" {
            let rule = "Email MFA needs an email configuration with the sending account DEVELOPER";
            return Err(ApiError::invalid(rule));
        }
    }
    if let Some(sms) = given.get("SmsMfaConfiguration") {
        match sms.get("SmsConfiguration") {
            Some(config) => drop(pool.settings.insert("SmsConfiguration".to_owned(), config.clone())),
            None if pool.settings.contains_key("SmsConfiguration") => {}
            None => return Err(ApiError::invalid("SMS configuration is required for SMS MFA")),
        }
    }
    pool.settings.insert("MfaConfiguration".to_owned(), json!(wanted));
    pool.mfa = given;
    Ok(mfa(pool))
}

/// The plan Lite has less than the others.
fn check_tier(settings: &Members, what: &str) -> Result<(), ApiError> {
    match settings["UserPoolTier"] == "LITE" {
        true => Err(ApiError::new("FeatureUnavailableInTierException", format!("{what} is not in the plan Lite"))),
        false => Ok(()),
    }
}

fn check_passwords(settings: &Members) -> Result<(), ApiError> {
    let size = settings["Policies"]["PasswordPolicy"].get("PasswordHistorySize").and_then(Value::as_u64);
    if size.is_some_and(|size| size > 0) { check_tier(settings, "A history of passwords") } else { Ok(()) }
}

pub fn get_mfa(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    Ok(mfa(world.pool_of(ask)?))
}

fn mfa(pool: &Pool) -> Value {
    let mut answer = pool.mfa.clone();
    answer.insert("MfaConfiguration".to_owned(), pool.settings["MfaConfiguration"].clone());
    Value::Object(answer)
}

fn has_factor(mfa: &Members) -> bool {
    let has_totp = mfa.get("SoftwareTokenMfaConfiguration").is_some_and(|of| of["Enabled"] == true);
    has_totp || mfa.contains_key("SmsMfaConfiguration") || mfa.contains_key("EmailMfaConfiguration")
}

/// The settings that the input asks for, on top of those that stay, with the defaults of all others.
fn settings(ask: &Ask<'_>, mut kept: Members) -> Result<Members, ApiError> {
    if let Some(name) = ask.input.get("PoolName") {
        kept.insert("Name".to_owned(), name.clone());
    }
    for (name, value) in ask.input.iter().filter(|(name, _)| !NOT_SETTINGS.contains(&name.as_str())) {
        kept.insert(name.clone(), value.clone());
    }
    let password_policy = json!({
        "MinimumLength": 8,
        "RequireUppercase": true,
        "RequireLowercase": true,
        "RequireNumbers": true,
        "RequireSymbols": true,
        "TemporaryPasswordValidityDays": 7,
    });
    let defaults = json!({
        "Policies": { "PasswordPolicy": password_policy, "SignInPolicy": { "AllowedFirstAuthFactors": ["PASSWORD"] } },
        "DeletionProtection": "INACTIVE",
        "MfaConfiguration": "OFF",
        "UserPoolTier": "ESSENTIALS",
        "LambdaConfig": {},
        "EmailConfiguration": { "EmailSendingAccount": "COGNITO_DEFAULT" },
        "AdminCreateUserConfig": { "AllowAdminCreateUserOnly": false, "UnusedAccountValidityDays": 7 },
    });
    for (name, value) in members(defaults) {
        kept.entry(name).or_insert(value);
    }
    Ok(kept)
}

fn described(pool: &Pool) -> Value {
    let mut answer = pool.settings.clone();
    // The attributes have another name on their way out.
    if let Some(schema) = answer.remove("Schema") {
        answer.insert("SchemaAttributes".to_owned(), schema);
    }
    let more = json!({
        "Id": pool.id,
        "Arn": pool.arn(),
        "UserPoolTags": pool.tags,
        "EstimatedNumberOfUsers": pool.users,
        "CreationDate": seconds(pool.create_time),
        "LastModifiedDate": seconds(pool.update_time),
    });
    answer.extend(members(more));
    for (name, domain) in [("Domain", &pool.domain), ("CustomDomain", &pool.custom_domain)] {
        if let Some(domain) = domain {
            answer.insert(name.to_owned(), json!(domain));
        }
    }
    Value::Object(answer)
}

fn tags(ask: &Ask<'_>, name: &str) -> Result<Members, ApiError> {
    let tags = ask.input.get(name).cloned().map(members).unwrap_or_default();
    if tags.keys().any(|key| key.starts_with("aws:")) {
        return Err(ApiError::invalid("Tag keys that begin with aws: are reserved"));
    }
    check_tags(tags)
}

fn check_tags(tags: Members) -> Result<Members, ApiError> {
    if tags.len() > MAX_TAGS { Err(ApiError::invalid("Too many tags")) } else { Ok(tags) }
}

fn pool_of_arn<'a>(world: &'a mut World, ask: &Ask<'_>) -> Result<&'a mut Pool, ApiError> {
    let start = format!("arn:aws:cognito-idp:{}:{ACCOUNT}:userpool/", ask.region);
    let id = ask.text("ResourceArn").strip_prefix(&start).ok_or_else(|| ApiError::invalid("Invalid ARN"))?;
    world.pool(id, ask.region)
}

pub fn tag(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let more = tags(ask, "Tags")?;
    let pool = pool_of_arn(world, ask)?;
    let mut all = pool.tags.clone();
    all.extend(more);
    pool.tags = check_tags(all)?;
    Ok(json!({}))
}

pub fn untag(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let pool = pool_of_arn(world, ask)?;
    for key in ask.texts("TagKeys") {
        pool.tags.remove(&key);
    }
    Ok(json!({}))
}

pub fn list_tags(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    Ok(json!({ "Tags": pool_of_arn(world, ask)?.tags }))
}
