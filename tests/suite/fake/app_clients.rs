//! App clients and their secrets.
//!
//! Where the documentation is silent, this is what the fake does: an app client made with a value of the caller's own
//! is described with it, one with two secrets is described with none (nor any at all, where secrets of one's own are
//! ignored); and since a secret's id has a resolution of a
//! second, the id of one that is added in a second which had one ends in the next free second.

use serde_json::{Value, json};

use super::world::{
    ApiError, AppClient, Ask, ClientSecret, LOWER, Members, OperationResult, Pool, World, members, page, seconds,
    texts_of, with_next,
};

/// Of the input of `CreateUserPoolClient`, what is not a setting.
const NOT_SETTINGS: &[&str] = &["GenerateSecret", "ClientSecret"];
const RESERVED_SCOPES: &[&str] = &["openid", "email", "phone", "profile", "aws.cognito.signin.user.admin"];
const MAX_SECRETS: usize = 2;
const REFRESH_TOKEN_AUTH: &str = "ALLOW_REFRESH_TOKEN_AUTH";
const CLIENT_TOKEN_AUTH: &str = "ALLOW_CLIENT_TOKEN_AUTH";

pub fn create(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let (id, generated) = (world.unique(LOWER, 26), world.unique(LOWER, 51));
    let (ceiling, appears) = (world.ceilings.app_clients, world.propagation.appears);
    let ignores_own = world.ignores_own_secrets;
    let pool = world.pool_of(ask)?;
    let own = ask.given("ClientSecret").filter(|_| !ignores_own);
    let value = match (own, ask.flag("GenerateSecret")) {
        (Some(_), true) => {
            return Err(ApiError::invalid("ClientSecret cannot be provided when GenerateSecret is true."));
        }
        (Some(own), false) => Some(own.to_owned()),
        (None, true) => Some(generated),
        (None, false) => None,
    };
    let settings = settings(ask, Members::new());
    check(pool, &settings, value.is_some() || ignores_own)?;
    if pool.clients.len() >= ceiling {
        return Err(ApiError::new("LimitExceededException", "The maximum number of app clients is reached"));
    }
    let mut client = AppClient {
        settings,
        secrets: Vec::new(),
        lingering: Vec::new(),
        last_secret_second: 0,
        known_from: ask.now + appears,
        create_time: ask.now,
        update_time: ask.now,
    };
    if let Some(value) = value {
        keep_secret(&mut client, &id, value, ask);
    }
    let answer = json!({ "UserPoolClient": described(&id, &client, true) });
    pool.clients.insert(id, client);
    Ok(answer)
}

pub fn describe(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let (id, tells) = (ask.text("ClientId"), !world.ignores_own_secrets);
    Ok(json!({ "UserPoolClient": described(id, world.pool_of(ask)?.client(id)?, tells) }))
}

/// What is not given becomes what it is by default; the name stays.
pub fn update(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let (id, tells) = (ask.text("ClientId"), !world.ignores_own_secrets);
    let pool = world.pool_of(ask)?;
    let client = pool.client(id)?;
    let has_secret = !client.secrets.is_empty();
    let kept = client.settings.iter().filter(|(name, _)| *name == "ClientName");
    let mut settings = settings(ask, kept.map(|(name, value)| (name.clone(), value.clone())).collect());
    settings.remove("ClientId");
    check(pool, &settings, has_secret)?;
    let client = pool.client(id)?;
    client.settings = settings;
    client.update_time = ask.now;
    Ok(json!({ "UserPoolClient": described(id, client, tells) }))
}

pub fn delete(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let id = ask.text("ClientId");
    let until = ask.now + world.propagation.lingers;
    let pool = world.pool_of(ask)?;
    let client = pool.client(id)?.clone();
    pool.clients.remove(id);
    pool.ghosts.retain(|_, (_, until)| *until > ask.now);
    if until > ask.now {
        pool.ghosts.insert(id.to_owned(), (client, until));
    }
    Ok(json!({}))
}

/// In the order of ids, which is no order of anybody's.
pub fn list(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let pool = world.pool_of(ask)?;
    let is_wanted = ask.given("ClientType").is_none_or(|of| of == "REGULAR");
    let items = pool.clients.iter().filter(|_| is_wanted).map(|(id, client)| {
        let name = &client.settings["ClientName"];
        (id.clone(), json!({ "ClientId": id, "UserPoolId": pool.id, "ClientName": name }))
    });
    let (items, next) = page(items, ask.given("NextToken"), ask.input.get("MaxResults"), 60)?;
    Ok(with_next(json!({ "UserPoolClients": items }), next))
}

pub fn add_secret(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let generated = world.unique(LOWER, 51);
    let appears = world.propagation.appears;
    let id = ask.text("ClientId");
    let client = world.pool_of(ask)?.client(id)?;
    match client.secrets.len() {
        0 => return Err(ApiError::invalid("Client does not have a client secret.")),
        MAX_SECRETS.. => {
            return Err(ApiError::new("LimitExceededException", "The maximum number of client secrets is reached"));
        }
        _ => {}
    }
    let own = ask.given("ClientSecret");
    keep_secret(client, id, own.unwrap_or(&generated).to_owned(), ask);
    let secret = client.secrets.last_mut().expect("just added");
    secret.known_from = ask.now + appears;
    let mut descriptor = descriptor(secret);
    if own.is_none() {
        descriptor["ClientSecretValue"] = json!(generated);
    }
    Ok(json!({ "ClientSecretDescriptor": descriptor }))
}

pub fn list_secrets(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let client = world.pool_of(ask)?.client(ask.text("ClientId"))?;
    Ok(json!({ "ClientSecrets": client.secrets.iter().map(descriptor).collect::<Vec<_>>() }))
}

pub fn delete_secret(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let until = ask.now + world.propagation.lingers;
    let client = world.pool_of(ask)?.client(ask.text("ClientId"))?;
    let wanted = ask.text("ClientSecretId");
    let Some(at) = client.secrets.iter().position(|secret| secret.id == wanted) else {
        return Err(ApiError::not_found("Client secret does not exist."));
    };
    if client.secrets.len() == 1 {
        return Err(ApiError::invalid("Cannot delete the last remaining client secret."));
    }
    let gone = client.secrets.remove(at);
    client.lingering.retain(|(_, until)| *until > ask.now);
    client.lingering.push((gone.value, until));
    Ok(json!({}))
}

/// The scopes that a token may have when these are asked for, or the reason why there is none. Asking for none asks for
/// all. A scope that its resource server no longer defines is left out without a word.
pub fn grant(pool: &Pool, client: &AppClient, asked: &[String]) -> Result<Vec<String>, &'static str> {
    let allowed = texts_of(&client.settings, "AllowedOAuthScopes");
    if asked.iter().any(|scope| !allowed.contains(scope)) {
        return Err("invalid_scope");
    }
    let wanted = if asked.is_empty() { &allowed } else { asked };
    let granted: Vec<_> = wanted.iter().filter(|scope| pool.defines(scope)).cloned().collect();
    if granted.is_empty() { Err("invalid_scope") } else { Ok(granted) }
}

/// How long its tokens are valid, in seconds.
pub fn validity(settings: &Members) -> i64 {
    let number = settings.get("AccessTokenValidity").and_then(Value::as_i64);
    let unit = settings.get("TokenValidityUnits").and_then(|units| units["AccessToken"].as_str());
    let unit = match unit.unwrap_or("hours") {
        "seconds" => 1,
        "minutes" => 60,
        "hours" => 3_600,
        _ => 86_400,
    };
    number.unwrap_or(3_600 / unit) * unit
}

/// Whether the app client may use `GetClientToken`.
pub fn has_client_token_auth(client: &AppClient) -> bool {
    texts_of(&client.settings, "ExplicitAuthFlows") == [CLIENT_TOKEN_AUTH]
}

/// Whether the app client may use the client-credentials grant at the token endpoint.
pub fn has_client_credentials(client: &AppClient) -> bool {
    texts_of(&client.settings, "AllowedOAuthFlows") == ["client_credentials"]
}

fn settings(ask: &Ask<'_>, mut kept: Members) -> Members {
    for (name, value) in ask.input.iter().filter(|(name, _)| !NOT_SETTINGS.contains(&name.as_str())) {
        kept.insert(name.clone(), value.clone());
    }
    let defaults = json!({
        "RefreshTokenValidity": 30,
        "TokenValidityUnits": {},
        "EnableTokenRevocation": true,
        "EnablePropagateAdditionalUserContextData": false,
        "AllowedOAuthFlowsUserPoolClient": false,
        "AuthSessionValidity": 3,
    });
    for (name, value) in members(defaults) {
        kept.entry(name).or_insert(value);
    }
    kept
}

fn check(pool: &Pool, settings: &Members, has_secret: bool) -> Result<(), ApiError> {
    let (flows, scopes) = (texts_of(settings, "AllowedOAuthFlows"), texts_of(settings, "AllowedOAuthScopes"));
    let is_oauth = settings["AllowedOAuthFlowsUserPoolClient"] == true;
    if is_oauth && (flows.is_empty() || scopes.is_empty()) {
        let rule =
            "AllowedOAuthFlows and AllowedOAuthScopes are required if user pool client is allowed to use OAuth flows.";
        return Err(ApiError::invalid(rule));
    }
    let configures_oauth = !flows.is_empty() || !scopes.is_empty();
    if configures_oauth && !is_oauth {
        return Err(ApiError::invalid(
            "AllowedOAuthFlowsUserPoolClient must be true to configure OAuth flows and scopes.",
        ));
    }
    if flows.iter().any(|flow| flow == "client_credentials") {
        let refused = |rule: &str| Err(ApiError::new("InvalidOAuthFlowException", rule));
        if flows.len() > 1 {
            return refused("client_credentials flow can not be selected along with code flow or implicit flow.");
        }
        if !has_secret {
            return refused("client_credentials flow can not be selected if client does not have a client secret.");
        }
        if scopes.iter().any(|scope| RESERVED_SCOPES.contains(&scope.as_str())) {
            return refused("client_credentials flow can not be selected with OpenID Connect scopes.");
        }
    }
    let is_there = |scope: &&String| RESERVED_SCOPES.contains(&scope.as_str()) || pool.defines(scope);
    if let Some(scope) = scopes.iter().find(|scope| !is_there(scope)) {
        return Err(ApiError::new("ScopeDoesNotExistException", format!("Scope not found: {scope}")));
    }
    if !(300..=86_400).contains(&validity(settings)) {
        return Err(ApiError::invalid("Invalid range for token validity."));
    }
    check_sign_in(pool, settings, &flows)?;
    let auth_flows = texts_of(settings, "ExplicitAuthFlows");
    let rotates = settings.get("RefreshTokenRotation").is_some_and(|rotation| rotation["Feature"] == "ENABLED");
    // Where none is named, it is among those that there are.
    if rotates && (auth_flows.is_empty() || auth_flows.iter().any(|flow| flow == REFRESH_TOKEN_AUTH)) {
        return Err(ApiError::invalid("ALLOW_REFRESH_TOKEN_AUTH is not allowed with refresh token rotation."));
    }
    if auth_flows.iter().any(|flow| flow == CLIENT_TOKEN_AUTH) {
        if auth_flows.len() > 1 {
            return Err(ApiError::invalid("ALLOW_CLIENT_TOKEN_AUTH must be the only authentication flow."));
        }
        if !has_secret {
            return Err(ApiError::invalid("ALLOW_CLIENT_TOKEN_AUTH needs a client secret."));
        }
    }
    Ok(())
}

/// What the hosted sign-in needs: where it sends people back to, and by what they sign in.
fn check_sign_in(pool: &Pool, settings: &Members, flows: &[String]) -> Result<(), ApiError> {
    let (callbacks, logouts) = (texts_of(settings, "CallbackURLs"), texts_of(settings, "LogoutURLs"));
    if callbacks.is_empty() && flows.iter().any(|flow| flow != "client_credentials") {
        return Err(ApiError::invalid("CallbackURLs are required for the code and implicit flows."));
    }
    if let Some(url) = callbacks.iter().chain(&logouts).find(|url| !is_redirect(url)) {
        return Err(ApiError::invalid(format!("Invalid redirect URL: {url}")));
    }
    let default = settings.get("DefaultRedirectURI").and_then(Value::as_str);
    if default.is_some_and(|url| !callbacks.iter().any(|callback| callback == url)) {
        return Err(ApiError::invalid("DefaultRedirectURI must be in the list of CallbackURLs."));
    }
    let is_there = |name: &&String| *name == "COGNITO" || pool.providers.contains_key(*name);
    if let Some(name) = texts_of(settings, "SupportedIdentityProviders").iter().find(|name| !is_there(name)) {
        return Err(ApiError::invalid(format!("The provider {name} does not exist for User Pool {}.", pool.id)));
    }
    let (id, refresh) = (lasts(settings, "IdToken", 3_600), lasts(settings, "RefreshToken", 86_400));
    let is_short = refresh < id.max(validity(settings));
    if !(300..=86_400).contains(&id) || !(3_600..=315_360_000).contains(&refresh) || is_short {
        return Err(ApiError::invalid("Invalid range for token validity."));
    }
    Ok(())
}

/// By the rules of `CallbackURLs`: absolute, without a fragment, and not HTTP but on this machine.
fn is_redirect(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let is_local = ["localhost", "127.0.0.1", "[::1]"]
        .iter()
        .any(|local| host.strip_prefix(local).is_some_and(|port| port.is_empty() || port.starts_with(':')));
    !host.is_empty() && !url.contains('#') && (scheme != "http" || is_local)
}

/// How long tokens of a kind are valid, in seconds; `unit` is the one where none is named.
fn lasts(settings: &Members, token: &str, unit: i64) -> i64 {
    let number = settings.get(&format!("{token}Validity")).and_then(Value::as_i64).filter(|number| *number > 0);
    let named = settings.get("TokenValidityUnits").and_then(|units| units[token].as_str());
    let unit = match named {
        Some("seconds") => 1,
        Some("minutes") => 60,
        Some("hours") => 3_600,
        Some("days") => 86_400,
        _ => unit,
    };
    let default = if token == "IdToken" { 3_600 } else { 30 * 86_400 };
    number.map_or(default, |number| number * unit)
}

fn keep_secret(client: &mut AppClient, id: &str, value: String, ask: &Ask<'_>) {
    let second = ask.now.as_second().max(client.last_secret_second + 1);
    client.last_secret_second = second;
    let id = format!("{id}--{second}");
    client.secrets.push(ClientSecret { id, value, create_time: ask.now, known_from: ask.now });
}

fn descriptor(secret: &ClientSecret) -> Value {
    json!({ "ClientSecretId": secret.id, "ClientSecretCreateDate": seconds(secret.create_time) })
}

fn described(id: &str, client: &AppClient, tells: bool) -> Value {
    let mut answer = client.settings.clone();
    let more = json!({
        "ClientId": id,
        "CreationDate": seconds(client.create_time),
        "LastModifiedDate": seconds(client.update_time),
    });
    answer.extend(members(more));
    if let [only] = &client.secrets[..]
        && tells
    {
        answer.insert("ClientSecret".to_owned(), json!(only.value));
    }
    Value::Object(answer)
}
