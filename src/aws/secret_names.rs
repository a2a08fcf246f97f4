//! What the names of secrets say: the Region, and whose secret it is.

use crate::domain::id::SecretName;

/// The Region after the last `@`, as in `keyward/tenants/acme/clients/orders@eu-west-1`; empty for the broker's own.
pub(super) fn region_of(name: &SecretName) -> &str {
    match name.as_str().rsplit_once('@') {
        Some((_, region)) if !region.contains('/') => region,
        _ => "",
    }
}

/// The Region of a secret that is not ours, from its ARN; empty for the broker's own.
pub(super) fn region_of_foreign(name: &str) -> &str {
    match name.split(':').collect::<Vec<_>>().as_slice() {
        ["arn", _, "secretsmanager", region, ..] => region,
        _ => "",
    }
}

/// `tenants/acme/clients/orders`: the client's name, which follows the configured prefix. At most 256 characters, as
/// the value of a tag.
pub(super) fn client_of(name: &SecretName) -> String {
    let name = name.as_str();
    let client = name.rfind("tenants/").map_or(name, |start| &name[start..]);
    let client = client.rsplit_once('@').map_or(client, |(client, _)| client);
    client.chars().take(256).collect()
}
