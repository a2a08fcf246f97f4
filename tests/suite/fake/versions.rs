//! Versions of secrets, and the staging labels, which are moved by compare-and-swap.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::secrets::{Content, Secret, Version, find};
use super::world::{ApiError, Ask, OperationResult, World, page, seconds, with_next};

const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";
const MAX_VERSIONS: usize = 100;
const DAY: Duration = Duration::from_secs(86_400);

pub fn put(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let Some((token, content)) = content(ask)? else {
        return Err(ApiError::invalid("You must provide either SecretString or SecretBinary."));
    };
    let secret = find(world, ask)?;
    let mut labels = ask.texts("VersionStages");
    if labels.is_empty() {
        labels.push(CURRENT.to_owned());
    }
    keep(secret, token.clone(), content, &labels, ask.now)?;
    let stages = json!(secret.versions[&token].labels);
    let mut answer = json!({ "ARN": secret.arn, "Name": secret.name, "VersionId": token });
    if stages != json!([]) {
        answer["VersionStages"] = stages;
    }
    Ok(answer)
}

pub fn get(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let secret = find(world, ask)?;
    let (id, label) = (ask.given("VersionId"), ask.given("VersionStage"));
    let label = label.or(if id.is_none() { Some(CURRENT) } else { None });
    let is_wanted = |(known, version): &(&String, &Version)| {
        id.is_none_or(|id| id == *known) && label.is_none_or(|label| version.labels.contains(label))
    };
    let Some((id, version)) = secret.versions.iter().find(is_wanted) else {
        let wanted =
            label.map_or(format!("VersionId: {}", id.unwrap_or_default()), |of| format!("staging label: {of}"));
        return Err(ApiError::not_found(format!("Secrets Manager can't find the specified secret value for {wanted}")));
    };
    let mut answer = json!({
        "ARN": secret.arn,
        "Name": secret.name,
        "VersionId": id,
        "CreatedDate": seconds(version.create_time),
    });
    if !version.labels.is_empty() {
        answer["VersionStages"] = json!(version.labels);
    }
    answer[&version.content.0] = json!(version.content.1);
    Ok(answer)
}

pub fn list(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let secret = find(world, ask)?;
    let with_deprecated = ask.flag("IncludeDeprecated");
    let known = secret.versions.iter().filter(|(_, version)| with_deprecated || !version.labels.is_empty());
    let items = known.map(|(id, version)| {
        let mut item = json!({ "VersionId": id, "CreatedDate": seconds(version.create_time) });
        if !version.labels.is_empty() {
            item["VersionStages"] = json!(version.labels);
        }
        (id.clone(), item)
    });
    let page = page(items, ask.given("NextToken"), ask.input.get("MaxResults"), 100);
    let (items, next) = page.map_err(|error| ApiError::new("InvalidNextTokenException", error.message))?;
    Ok(with_next(json!({ "ARN": secret.arn, "Name": secret.name, "Versions": items }), next))
}

/// The label goes to `MoveToVersionId` if it is on `RemoveFromVersionId` now, or on none when that is not given.
pub fn move_label(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let secret = find(world, ask)?;
    let label = ask.text("VersionStage");
    let (from, to) = (ask.given("RemoveFromVersionId"), ask.given("MoveToVersionId"));
    let holder = holder(secret, label);
    if from.is_none() && to.is_none() {
        return Err(ApiError::invalid("You must specify MoveToVersionId, RemoveFromVersionId or both."));
    }
    for id in [from, to].into_iter().flatten() {
        if !secret.versions.contains_key(id) {
            let text = format!("Secrets Manager can't find the specified secret value for VersionId: {id}");
            return Err(ApiError::not_found(text));
        }
    }
    if to.is_none() && label == CURRENT {
        let rule = "You can only move staging label AWSCURRENT to a different secret version. \
                    It can't be completely removed.";
        return Err(ApiError::invalid(rule));
    }
    if from != holder.as_deref() {
        let text = match &holder {
            Some(holder) => format!(
                "The parameter RemoveFromVersionId must be the version that staging label {label} is currently attached \
                 to, which is {holder}."
            ),
            None => format!("Staging label {label} is not attached to the version of RemoveFromVersionId."),
        };
        return Err(ApiError::invalid(text));
    }
    match to {
        Some(to) => attach(secret, label, to),
        None => detach(secret, label),
    }
    secret.update_time = ask.now;
    Ok(json!({ "ARN": secret.arn, "Name": secret.name }))
}

/// What the input has as a content, with its request token; `None` when it has none.
pub fn content(ask: &Ask<'_>) -> Result<Option<(String, Content)>, ApiError> {
    let given = |name: &str| Some((name.to_owned(), ask.given(name)?.to_owned()));
    let content = match (given("SecretString"), given("SecretBinary")) {
        (Some(_), Some(_)) => {
            let rule = "You can't specify both a binary secret value and a string secret value in the same secret.";
            return Err(ApiError::invalid(rule));
        }
        (None, None) => return Ok(None),
        (text, binary) => text.or(binary).expect("one of them"),
    };
    let rule = "You must provide a ClientRequestToken value. We recommend a UUID-type value.";
    let token = ask.given("ClientRequestToken").ok_or_else(|| ApiError::invalid(rule))?;
    Ok(Some((token.to_owned(), content)))
}

/// Makes a version with these labels. One that is there already stays as it is, if it has that content.
pub fn keep(
    secret: &mut Secret,
    token: String,
    content: Content,
    labels: &[String],
    now: Timestamp,
) -> Result<(), ApiError> {
    if let Some(there) = secret.versions.get(&token) {
        if there.content != content {
            let text =
                format!("You can't use ClientRequestToken {token} because that value is already in use for a version.");
            return Err(ApiError::new("ResourceExistsException", text));
        }
        return Ok(());
    }
    if secret.versions.len() >= MAX_VERSIONS {
        let old =
            secret.versions.iter().filter(|(_, version)| version.labels.is_empty() && version.create_time + DAY <= now);
        let oldest = old.min_by_key(|(_, version)| version.create_time).map(|(id, _)| id.clone());
        let Some(oldest) = oldest else {
            return Err(ApiError::new("LimitExceededException", "The maximum number of versions is reached"));
        };
        secret.versions.remove(&oldest);
    }
    let is_first = secret.versions.is_empty();
    secret.versions.insert(token.clone(), Version { content, labels: BTreeSet::new(), create_time: now });
    secret.update_time = now;
    for label in labels {
        attach(secret, label, &token);
    }
    if is_first {
        attach(secret, CURRENT, &token);
    }
    Ok(())
}

/// Takes the label from whatever has it. `AWSPREVIOUS` follows `AWSCURRENT`.
fn attach(secret: &mut Secret, label: &str, to: &str) {
    let from = holder(secret, label);
    detach(secret, label);
    secret.versions.get_mut(to).expect("it is there").labels.insert(label.to_owned());
    if let Some(from) = from.filter(|from| label == CURRENT && from != to) {
        detach(secret, PREVIOUS);
        secret.versions.get_mut(&from).expect("it is there").labels.insert(PREVIOUS.to_owned());
    }
}

fn detach(secret: &mut Secret, label: &str) {
    for version in secret.versions.values_mut() {
        version.labels.remove(label);
    }
}

fn holder(secret: &Secret, label: &str) -> Option<String> {
    secret.versions.iter().find(|(_, version)| version.labels.contains(label)).map(|(id, _)| id.clone())
}
