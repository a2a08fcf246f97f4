//! Tokens: the pools' `/oauth2/token`, `GetClientToken`, and the key sets that verify them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::app_clients::{grant, has_client_credentials, has_client_token_auth, validity};
use super::http::{Answer, Asked};
use super::keys::PoolKey;
use super::world::{ApiError, AppClient, Ask, LOWER, OperationResult, Pool, World, texts_of};

/// What a client says at the token endpoint.
pub struct Grant {
    pub client: String,
    secret: String,
    scopes: Vec<String>,
}

impl Grant {
    /// Reads the form; fails with the error of RFC 6749, section 5.2.
    pub fn read(asked: &Asked) -> Result<Grant, &'static str> {
        let is_form = asked.header("content-type").starts_with("application/x-www-form-urlencoded");
        let body = std::str::from_utf8(&asked.body).ok().filter(|_| asked.method == "POST" && is_form);
        let fields = read_form(body.ok_or("invalid_request")?).ok_or("invalid_request")?;
        let field = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let mut names: Vec<_> = fields.iter().map(|(name, _)| name).collect();
        names.sort();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("invalid_request");
        }
        match field("grant_type").as_deref() {
            Some("client_credentials") => {}
            Some(_) => return Err("unsupported_grant_type"),
            None => return Err("invalid_request"),
        }
        let basic = asked.header("authorization").strip_prefix("Basic ").map(str::to_owned);
        let (client, secret) = match (basic, field("client_id"), field("client_secret")) {
            (Some(_), _, Some(_)) => return Err("invalid_request"),
            (Some(basic), named, None) => {
                let pair = STANDARD.decode(basic).ok().and_then(|pair| String::from_utf8(pair).ok());
                let pair = pair.as_deref().and_then(|pair| pair.split_once(':')).ok_or("invalid_client")?;
                if named.is_some_and(|named| named != pair.0) {
                    return Err("invalid_request");
                }
                (pair.0.to_owned(), pair.1.to_owned())
            }
            (None, Some(client), Some(secret)) => (client, secret),
            (None, _, _) => return Err("invalid_client"),
        };
        let scopes = field("scope").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        Ok(Grant { client, secret, scopes })
    }
}

/// A token, or the error of RFC 6749. The pool must have a domain, or there would be no such endpoint.
pub fn token(world: &mut World, grant_of: &Grant, now: Timestamp) -> Result<Value, &'static str> {
    let jti = uuid(world);
    let (pool, client) = find(world, &grant_of.client, now).ok_or("invalid_client")?;
    if (pool.domain.is_none() && pool.custom_domain.is_none()) || !client.is_authenticated_by(&grant_of.secret, now) {
        return Err("invalid_client");
    }
    if !has_client_credentials(client) {
        return Err("unauthorized_client");
    }
    let granted = grant(pool, client, &grant_of.scopes)?;
    let expires_in = validity(&client.settings);
    let token = sign(pool, &grant_of.client, &granted, now, expires_in, &jti);
    Ok(json!({ "access_token": token, "expires_in": expires_in, "token_type": "Bearer" }))
}

/// `GetClientToken`.
pub fn get_client_token(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let jti = uuid(world);
    let id = ask.text("ClientId");
    let not_there = || ApiError::not_found(format!("User pool client {id} does not exist."));
    let (pool, client) = find(world, id, ask.now).ok_or_else(not_there)?;
    if pool.region != ask.region {
        return Err(not_there());
    }
    if !has_client_token_auth(client) {
        return Err(ApiError::invalid("ALLOW_CLIENT_TOKEN_AUTH flow not enabled for this client"));
    }
    if !client.is_authenticated_by(ask.text("Secret"), ask.now) {
        return Err(ApiError::new("NotAuthorizedException", "Invalid client secret."));
    }
    let granted =
        grant(pool, client, &ask.texts("Scopes")).map_err(|_| ApiError::invalid("Invalid scope requested."))?;
    let expires_in = validity(&client.settings);
    let token = sign(pool, id, &granted, ask.now, expires_in, &jti);
    let result = json!({ "AccessToken": token, "ExpiresIn": expires_in, "TokenType": "Bearer" });
    Ok(json!({ "ClientAuthenticationResult": result }))
}

/// `/{user_pool}/.well-known/jwks.json`: the keys of access tokens, and the one of ID tokens.
pub fn key_set(pool: &Pool) -> Value {
    let mut keys: Vec<_> = pool.keys.iter().map(PoolKey::public).collect();
    keys.push(id_key(pool).public());
    json!({ "keys": keys })
}

/// ID tokens have a key of their own.
fn id_key(pool: &Pool) -> PoolKey {
    PoolKey::new(&format!("{} id", pool.id), 3)
}

/// What somebody has who has signed in: tokens of one session.
pub struct SignedIn {
    pub id_token: String,
    pub access_token: String,
}

/// As if somebody of this name and these groups had signed in with the app client, and got its scopes. No client secret is asked for
/// and no code is given: the hosted sign-in is people's and no program's. The claims are those of Cognito's documentation.
pub fn sign_in(world: &mut World, client: &str, username: &str, groups: &[&str], now: Timestamp) -> SignedIn {
    let [sub, origin_jti, event_id, id_jti, access_jti] = std::array::from_fn(|_| uuid(world));
    let (pool, found) = find(world, client, now).expect("the app client is there");
    let scopes = texts_of(&found.settings, "AllowedOAuthScopes");
    let second = now.as_second();
    let in_both = json!({
        "sub": sub, "cognito:groups": groups, "iss": pool.issuer(), "origin_jti": origin_jti, "event_id": event_id,
        "auth_time": second, "iat": second,
    });
    let with = |more: Value| {
        let mut claims = in_both.clone();
        let (Value::Object(claims_of), Value::Object(more)) = (&mut claims, more) else { panic!("objects") };
        claims_of.extend(more);
        claims
    };
    let access = with(json!({
        "token_use": "access", "version": 2, "client_id": client, "username": username, "scope": scopes.join(" "),
        "exp": second + validity(&found.settings), "jti": access_jti,
    }));
    let id = with(json!({
        "token_use": "id", "aud": client, "cognito:username": username, "email_verified": true,
        "email": format!("{username}@example.com"), "at_hash": "dGhlIGhhc2ggb2YgYW5vdGhlcg",
        "exp": second + 3_600, "jti": id_jti,
    }));
    SignedIn { id_token: id_key(pool).sign(&id), access_token: pool.keys[0].sign(&access) }
}

pub fn refusal(error: &str) -> Answer {
    json_answer(400, &json!({ "error": error }))
}

pub fn json_answer(status: u16, body: &Value) -> Answer {
    let headers = vec![("content-type", "application/json;charset=UTF-8".to_owned())];
    Answer { status, headers, body: body.to_string().into_bytes() }
}

/// The app client as the token endpoint sees it: one deleted lately may still be there.
pub fn find<'a>(world: &'a World, id: &str, now: Timestamp) -> Option<(&'a Pool, &'a AppClient)> {
    let pool = world.pool_of_client(id)?;
    let ghost = || pool.ghosts.get(id).filter(|(_, until)| now < *until).map(|(client, _)| client);
    Some((pool, pool.clients.get(id).or_else(ghost)?))
}

/// Exactly the claims of Cognito's access token for the client-credentials grant.
fn sign(pool: &Pool, client: &str, scopes: &[String], now: Timestamp, expires_in: i64, jti: &str) -> String {
    let now = now.as_second();
    pool.keys[0].sign(&json!({
        "sub": client,
        "token_use": "access",
        "scope": scopes.join(" "),
        "auth_time": now,
        "iss": pool.issuer(),
        "exp": now + expires_in,
        "iat": now,
        "version": 2,
        "jti": jti,
        "client_id": client,
    }))
}

fn uuid(world: &mut World) -> String {
    let digits = world.unique(&LOWER[26..], 32);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// `application/x-www-form-urlencoded`; `None` when it is not that.
pub fn read_form(body: &str) -> Option<Vec<(String, String)>> {
    let pairs = body.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').and_then(|(name, value)| Some((unescape(name)?, unescape(value)?)))).collect()
}

fn unescape(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                bytes.extend(hex::decode(rest.get(..2)?).ok()?);
                rest = &rest[2..];
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).ok()
}
