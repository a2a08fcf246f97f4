//! Staging labels as Secrets Manager says them, and documents as it keeps them.

use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use zeroize::Zeroizing;

use crate::broker::ports::SecretDocument;
use crate::domain::id::VersionId;
use crate::domain::rotation::Labels;

pub(super) const CURRENT: &str = "AWSCURRENT";
pub(super) const PENDING: &str = "AWSPENDING";
pub(super) const PREVIOUS: &str = "AWSPREVIOUS";

pub(super) fn labels_of(seen: &DescribeSecretOutput) -> Labels {
    let on = |label| version_with(seen, label);
    Labels { current: on(CURRENT), pending: on(PENDING), previous: on(PREVIOUS) }
}

/// The version that carries the label. Of two, which Secrets Manager never says, the same one every time.
pub(super) fn version_with(seen: &DescribeSecretOutput, label: &str) -> Option<VersionId> {
    let versions = seen.version_ids_to_stages().into_iter().flatten();
    let carriers = versions.filter(|(_, stages)| stages.iter().any(|stage| stage == label));
    carriers.map(|(id, _)| id).min().and_then(|id| VersionId::parse("version", id).ok())
}

/// Whether the version is there with any label.
pub(super) fn has_version(seen: &DescribeSecretOutput, version: &VersionId) -> bool {
    seen.version_ids_to_stages().is_some_and(|versions| versions.contains_key(version.as_str()))
}

/// JSON in a buffer that did not grow: one that grows leaves copies of its content behind.
pub(super) fn text_of(document: &SecretDocument) -> Option<Zeroizing<String>> {
    let id = document.client_id.as_ref().map_or(0, |id| id.as_str().len());
    let parts = [document.client_secret.expose(), &document.token_endpoint, &document.issuer, &document.scopes];
    let text: usize = parts.iter().map(|part| part.len()).sum();
    // Every character may have to be escaped, and the names of the fields come on top.
    let mut content = Zeroizing::new(Vec::with_capacity(256 + 6 * (id + text)));
    serde_json::to_writer(&mut *content, document).ok()?;
    String::from_utf8(std::mem::take(&mut *content)).ok().map(Zeroizing::new)
}
