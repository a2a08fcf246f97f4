//! Secrets Manager: secrets, their versions' contents, deletion, tags and policies. Labels are in `versions`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::versions;
use super::world::{ACCOUNT, ApiError, Ask, MIXED, Members, OperationResult, World, page, seconds, with_next};

const DAY: Duration = Duration::from_secs(86_400);

#[derive(Clone)]
pub struct Secret {
    pub arn: String,
    pub name: String,
    /// `Description` and `KmsKeyId`.
    pub settings: Members,
    pub tags: BTreeMap<String, String>,
    pub policy: Option<String>,
    pub versions: BTreeMap<String, Version>,
    pub create_time: Timestamp,
    pub update_time: Timestamp,
    /// When it is gone for good.
    pub deletion_time: Option<Timestamp>,
}

/// `SecretString` or `SecretBinary`, and its value.
pub type Content = (String, String);

#[derive(Clone)]
pub struct Version {
    pub content: Content,
    pub labels: BTreeSet<String>,
    pub create_time: Timestamp,
}

pub fn create(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let name = ask.text("Name");
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || "/_+=.@-".contains(c)) {
        let rule =
            "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!";
        return Err(ApiError::new("ValidationException", rule));
    }
    let content = versions::content(ask)?;
    let suffix = world.unique(MIXED, 6);
    let place = (ask.region.to_owned(), name.to_owned());
    if let Some(there) = world.secrets.get(&place) {
        if there.deletion_time.is_some() {
            let text =
                "You can't create this secret because a secret with this name is already scheduled for deletion.";
            return Err(ApiError::new("InvalidRequestException", text));
        }
        let same = content.as_ref().and_then(|(token, content)| Some(&there.versions.get(token)?.content == content));
        if same != Some(true) {
            let text = format!("The operation failed because the secret {name} already exists.");
            return Err(ApiError::new("ResourceExistsException", text));
        }
        return Ok(json!({ "ARN": there.arn, "Name": there.name, "VersionId": ask.text("ClientRequestToken") }));
    }
    let mut secret = Secret {
        arn: format!("arn:aws:secretsmanager:{}:{ACCOUNT}:secret:{name}-{suffix}", ask.region),
        name: name.to_owned(),
        settings: settings(ask),
        tags: BTreeMap::new(),
        policy: None,
        versions: BTreeMap::new(),
        create_time: ask.now,
        update_time: ask.now,
        deletion_time: None,
    };
    put_tags(&mut secret, ask)?;
    let mut answer = json!({ "ARN": secret.arn, "Name": secret.name });
    if let Some((token, content)) = content {
        answer["VersionId"] = json!(token);
        versions::keep(&mut secret, token, content, &["AWSCURRENT".to_owned()], ask.now)?;
    }
    world.secrets.insert(place, secret);
    Ok(answer)
}

/// Its description and key, and with a content a new version that is current.
pub fn update(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let content = versions::content(ask)?;
    let secret = find(world, ask)?;
    let mut answer = json!({ "ARN": secret.arn, "Name": secret.name });
    if let Some((token, content)) = content {
        answer["VersionId"] = json!(token);
        versions::keep(secret, token, content, &["AWSCURRENT".to_owned()], ask.now)?;
    }
    secret.settings.extend(settings(ask));
    secret.update_time = ask.now;
    Ok(answer)
}

pub fn describe(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let secret = find_any(world, ask)?;
    let mut answer = entry(secret);
    let stages = answer.remove("SecretVersionsToStages").expect("every entry has it");
    answer.insert("VersionIdsToStages".to_owned(), stages);
    Ok(Value::Object(answer))
}

pub fn delete(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let window = ask.input.get("RecoveryWindowInDays").and_then(Value::as_i64);
    let is_forced = ask.flag("ForceDeleteWithoutRecovery");
    if window.is_some() && is_forced {
        let rule = "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.";
        return Err(ApiError::invalid(rule));
    }
    let days = window.unwrap_or(30);
    if !(7..=30).contains(&days) {
        return Err(ApiError::invalid("The RecoveryWindowInDays value must be between 7 and 30 days (inclusive)."));
    }
    let secret = if is_forced { find_any(world, ask)? } else { find(world, ask)? };
    let time = if is_forced { ask.now } else { ask.now + DAY * u32::try_from(days).expect("in range") };
    secret.deletion_time = Some(time);
    secret.update_time = ask.now;
    let place = (ask.region.to_owned(), secret.name.clone());
    let answer = json!({ "ARN": secret.arn, "Name": secret.name, "DeletionDate": seconds(time) });
    world.deletions.insert((time, place));
    Ok(answer)
}

pub fn restore(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let secret = find_any(world, ask)?;
    secret.deletion_time = None;
    secret.update_time = ask.now;
    Ok(json!({ "ARN": secret.arn, "Name": secret.name }))
}

pub fn list(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let filters = ask.input.get("Filters").and_then(Value::as_array).cloned().unwrap_or_default();
    let (with_planned, mut items) = (ask.flag("IncludePlannedDeletion"), Vec::new());
    for ((region, name), secret) in &world.secrets {
        let is_here = region == ask.region && (with_planned || secret.deletion_time.is_none());
        let is_told = secret.create_time + world.listed_after <= ask.now;
        if is_here && is_told && matches(secret, &filters)? {
            items.push((name.clone(), Value::Object(entry(secret))));
        }
    }
    let page = page(items.into_iter(), ask.given("NextToken"), ask.input.get("MaxResults"), 100);
    let (items, next) = page.map_err(|error| ApiError::new("InvalidNextTokenException", error.message))?;
    Ok(with_next(json!({ "SecretList": items }), next))
}

pub fn put_policy(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let malformed = |rule: &str| ApiError::new("MalformedPolicyDocumentException", rule);
    let text = ask.text("ResourcePolicy");
    let policy: Value = serde_json::from_str(text).map_err(|_| malformed("This resource policy is not JSON."))?;
    let statements = policy["Statement"].as_array().ok_or_else(|| malformed("A policy has statements."))?;
    if policy["Version"] != "2012-10-17" || statements.is_empty() {
        return Err(malformed("This resource policy has no version or no statement."));
    }
    for statement in statements {
        let principal = &statement["Principal"];
        let is_whole = ["Effect", "Action", "Resource"].iter().all(|part| statement.get(*part).is_some());
        if !is_whole || principal.is_null() {
            return Err(malformed("A statement has an effect, a principal, an action and a resource."));
        }
        let is_public = *principal == "*" || principal["AWS"] == "*";
        if is_public && statement.get("Condition").is_none() && ask.flag("BlockPublicPolicy") {
            return Err(ApiError::new("PublicPolicyException", "The resource policy grants wide access."));
        }
        let named = match &principal["AWS"] {
            Value::Array(names) => names.clone(),
            Value::Null => Vec::new(),
            one => vec![one.clone()],
        };
        let is_principal = |name: &Value| {
            let name = name.as_str().unwrap_or_default();
            name == "*" || name.starts_with("arn:aws") || (name.len() == 12 && name.bytes().all(|b| b.is_ascii_digit()))
        };
        if !named.iter().all(is_principal) {
            return Err(malformed("This resource policy contains an unsupported principal."));
        }
    }
    let secret = find(world, ask)?;
    secret.policy = Some(text.to_owned());
    Ok(json!({ "ARN": secret.arn, "Name": secret.name }))
}

pub fn get_policy(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let secret = find(world, ask)?;
    let mut answer = json!({ "ARN": secret.arn, "Name": secret.name });
    if let Some(policy) = &secret.policy {
        answer["ResourcePolicy"] = json!(policy);
    }
    Ok(answer)
}

pub fn delete_policy(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let secret = find(world, ask)?;
    secret.policy = None;
    Ok(json!({ "ARN": secret.arn, "Name": secret.name }))
}

pub fn tag(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    put_tags(find(world, ask)?, ask)?;
    Ok(json!({}))
}

pub fn untag(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let secret = find(world, ask)?;
    for key in ask.texts("TagKeys") {
        secret.tags.remove(&key);
    }
    Ok(json!({}))
}

/// The secret that the operation is about, by name or ARN, which is not scheduled for deletion.
pub fn find<'a>(world: &'a mut World, ask: &Ask<'_>) -> Result<&'a mut Secret, ApiError> {
    let secret = find_any(world, ask)?;
    if secret.deletion_time.is_some() {
        let text = "You can't perform this operation on the secret because it was marked for deletion.";
        return Err(ApiError::new("InvalidRequestException", text));
    }
    Ok(secret)
}

fn find_any<'a>(world: &'a mut World, ask: &Ask<'_>) -> Result<&'a mut Secret, ApiError> {
    let wanted = ask.text("SecretId");
    // An ARN ends in the name, a hyphen and six characters.
    let named = wanted.split(':').nth(6).and_then(|last| Some(last.rsplit_once('-')?.0));
    let found = world.secrets.get_mut(&(ask.region.to_owned(), named.unwrap_or(wanted).to_owned()));
    let found = found.filter(|secret| secret.name == wanted || secret.arn == wanted);
    found.ok_or_else(|| ApiError::not_found("Secrets Manager can't find the specified secret."))
}

/// Those whose time has come are gone for good.
pub fn purge(world: &mut World, now: Timestamp) {
    while let Some(deletion) = world.deletions.first().filter(|deletion| deletion.0 <= now).cloned() {
        world.deletions.remove(&deletion);
        let (_, place) = deletion;
        // It may have been restored, and deleted again.
        if world.secrets.get(&place).is_some_and(|secret| secret.deletion_time.is_some_and(|time| time <= now)) {
            world.secrets.remove(&place);
        }
    }
}

fn settings(ask: &Ask<'_>) -> Members {
    let names = ["Description", "KmsKeyId"];
    names.iter().filter_map(|name| Some(((*name).to_owned(), ask.input.get(*name)?.clone()))).collect()
}

fn put_tags(secret: &mut Secret, ask: &Ask<'_>) -> Result<(), ApiError> {
    for tag in ask.input.get("Tags").and_then(Value::as_array).into_iter().flatten() {
        let part = |name: &str| tag[name].as_str().unwrap_or_default().to_owned();
        if part("Key").starts_with("aws:") {
            return Err(ApiError::invalid("Tag keys that begin with aws: are reserved"));
        }
        secret.tags.insert(part("Key"), part("Value"));
    }
    if secret.tags.len() > 50 { Err(ApiError::invalid("Too many tags")) } else { Ok(()) }
}

/// As `ListSecrets` has it.
fn entry(secret: &Secret) -> Members {
    let mut entry = secret.settings.clone();
    let tags: Vec<_> = secret.tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
    let labelled = secret.versions.iter().filter(|(_, version)| !version.labels.is_empty());
    let stages: Members = labelled.map(|(id, version)| (id.clone(), json!(version.labels))).collect();
    entry.insert("ARN".to_owned(), json!(secret.arn));
    entry.insert("Name".to_owned(), json!(secret.name));
    entry.insert("Tags".to_owned(), json!(tags));
    entry.insert("SecretVersionsToStages".to_owned(), Value::Object(stages));
    entry.insert("CreatedDate".to_owned(), seconds(secret.create_time));
    entry.insert("LastChangedDate".to_owned(), seconds(secret.update_time));
    if let Some(time) = secret.deletion_time {
        entry.insert("DeletedDate".to_owned(), seconds(time));
    }
    entry
}

/// Whether all filters hold; of one filter's values, one must.
fn matches(secret: &Secret, filters: &[Value]) -> Result<bool, ApiError> {
    for filter in filters {
        let values = filter["Values"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let candidates: Vec<&str> = match filter["Key"].as_str() {
            Some("name") => vec![&secret.name],
            Some("tag-key") => secret.tags.keys().map(String::as_str).collect(),
            Some("tag-value") => secret.tags.values().map(String::as_str).collect(),
            other => return Err(ApiError::invalid(format!("the fake does not filter by {other:?}"))),
        };
        let holds = |value: &str| match value.strip_prefix('!') {
            Some(value) => !candidates.iter().any(|text| text.starts_with(value)),
            None => candidates.iter().any(|text| text.starts_with(value)),
        };
        if !values.into_iter().any(holds) {
            return Ok(false);
        }
    }
    Ok(true)
}
