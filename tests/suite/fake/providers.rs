//! Identity providers. Where the documentation is silent, this is what the fake does: a document of metadata is not
//! described, an update replaces all details, and one that an app client supports cannot be deleted.

use serde_json::{Value, json};

use super::world::{ApiError, Ask, OperationResult, World, members, page, seconds, texts_of, with_next};

const OIDC: &[&str] = &["client_id", "client_secret", "attributes_request_method", "oidc_issuer", "authorize_scopes"];
const OIDC_MAY: &[&str] = &["authorize_url", "token_url", "attributes_url", "jwks_uri"];
const SAML_MAY: &[&str] = &["MetadataURL", "MetadataFile", "IDPSignout", "EncryptedResponses"];

pub fn create(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let ceiling = world.ceilings.identity_providers;
    let pool = world.pool_of(ask)?;
    let name = ask.text("ProviderName");
    if pool.providers.contains_key(name) {
        let text = format!("A provider already exists for this provider type: {name}");
        return Err(ApiError::new("DuplicateProviderException", text));
    }
    check(ask.text("ProviderType"), ask)?;
    if pool.providers.len() >= ceiling {
        let text = "The maximum number of identity providers is reached";
        return Err(ApiError::new("LimitExceededException", text));
    }
    let provider = json!({
        "UserPoolId": ask.input["UserPoolId"],
        "ProviderName": name,
        "ProviderType": ask.input["ProviderType"],
        "ProviderDetails": ask.input["ProviderDetails"],
        "AttributeMapping": mapping(ask.text("ProviderType"), ask),
        "CreationDate": seconds(ask.now),
        "LastModifiedDate": seconds(ask.now),
    });
    pool.providers.insert(name.to_owned(), provider.clone());
    Ok(json!({ "IdentityProvider": described(provider) }))
}

pub fn update(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let mut provider = find(world, ask)?;
    let kind = provider["ProviderType"].as_str().unwrap_or_default().to_owned();
    check(&kind, ask)?;
    provider["ProviderDetails"] = ask.input["ProviderDetails"].clone();
    provider["AttributeMapping"] = mapping(&kind, ask);
    provider["LastModifiedDate"] = seconds(ask.now);
    world.pool_of(ask)?.providers.insert(ask.text("ProviderName").to_owned(), provider.clone());
    Ok(json!({ "IdentityProvider": described(provider) }))
}

pub fn describe(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    Ok(json!({ "IdentityProvider": described(find(world, ask)?) }))
}

pub fn delete(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    find(world, ask)?;
    let pool = world.pool_of(ask)?;
    let name = ask.text("ProviderName");
    let supports =
        |settings| texts_of(settings, "SupportedIdentityProviders").iter().any(|supported| supported == name);
    if pool.clients.values().any(|client| supports(&client.settings)) {
        return Err(ApiError::invalid(format!("An app client supports the provider {name}.")));
    }
    pool.providers.remove(name);
    Ok(json!({}))
}

pub fn list(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let items = world.pool_of(ask)?.providers.clone().into_iter().map(|(name, provider)| {
        let summary = ["ProviderName", "ProviderType", "CreationDate", "LastModifiedDate"];
        let summary: serde_json::Map<_, _> =
            summary.into_iter().map(|member| (member.to_owned(), provider[member].clone())).collect();
        (name, Value::Object(summary))
    });
    // Of the 60 that may be asked for the model lets 50 be answered.
    let limit = json!(ask.input.get("MaxResults").and_then(Value::as_u64).unwrap_or(50).min(50));
    let (items, next) = page(items, ask.given("NextToken"), Some(&limit), 50)?;
    Ok(with_next(json!({ "Providers": items }), next))
}

fn find(world: &mut World, ask: &Ask<'_>) -> Result<Value, ApiError> {
    let name = ask.text("ProviderName");
    let found = world.pool_of(ask)?.providers.get(name).cloned();
    found.ok_or_else(|| ApiError::not_found(format!("Identity provider {name} does not exist.")))
}

fn described(mut provider: Value) -> Value {
    if let Some(details) = provider["ProviderDetails"].as_object_mut() {
        details.remove("MetadataFile");
    }
    provider
}

/// Cognito maps the subject by itself for OpenID Connect.
fn mapping(kind: &str, ask: &Ask<'_>) -> Value {
    let mut mapping = members(ask.input.get("AttributeMapping").cloned().unwrap_or(json!({})));
    if kind == "OIDC" {
        mapping.entry("username").or_insert(json!("sub"));
    }
    Value::Object(mapping)
}

fn check(kind: &str, ask: &Ask<'_>) -> Result<(), ApiError> {
    let details = members(ask.input.get("ProviderDetails").cloned().unwrap_or(json!({})));
    let says = |key: &str| details.get(key).and_then(Value::as_str).unwrap_or_default();
    let is_https = |key: &str| says(key).is_empty() || says(key).starts_with("https://");
    let unknown = |may: &[&str]| details.keys().find(|key| !may.contains(&key.as_str())).cloned();
    let fault = match kind {
        "OIDC" => {
            let may = [OIDC, OIDC_MAY].concat();
            let missing = OIDC.iter().find(|key| says(key).is_empty());
            let urls = ["oidc_issuer", "authorize_url", "token_url", "attributes_url", "jwks_uri"];
            missing
                .map(|key| format!("{key} is required"))
                .or_else(|| unknown(&may).map(|key| format!("{key} is unknown")))
                .or_else(|| urls.iter().find(|key| !is_https(key)).map(|key| format!("{key} is no HTTPS URL")))
                .or_else(|| {
                    let has_openid = says("authorize_scopes").split(' ').any(|scope| scope == "openid");
                    (!has_openid).then(|| "authorize_scopes lacks openid".to_owned())
                })
        }
        "SAML" => {
            let is_one = details.contains_key("MetadataURL") != details.contains_key("MetadataFile");
            let is_flag = |key: &&&str| ["", "true", "false"].contains(&says(key));
            (!is_one)
                .then(|| "one of MetadataURL and MetadataFile is required".to_owned())
                .or_else(|| unknown(SAML_MAY).map(|key| format!("{key} is unknown")))
                .or_else(|| (!is_https("MetadataURL")).then(|| "MetadataURL is no HTTPS URL".to_owned()))
                .or_else(|| {
                    let is_xml = says("MetadataFile").is_empty() || says("MetadataFile").trim_start().starts_with('<');
                    (!is_xml).then(|| "MetadataFile is no XML".to_owned())
                })
                .or_else(|| {
                    let flags = ["IDPSignout", "EncryptedResponses"];
                    flags.iter().find(|key| !is_flag(key)).map(|key| format!("{key} is neither true nor false"))
                })
        }
        other => Some(format!("the provider type {other} is not one that Keyward makes")),
    };
    fault.map_or(Ok(()), |fault| Err(ApiError::invalid(fault)))
}
