//! A secret whose `AWSCURRENT` is to authenticate at every moment.

use jiff::Timestamp;
use serde_json::Value;

use super::tokens;
use super::world::World;

/// By its name, in whatever Region.
pub struct Watched(pub String);

impl Watched {
    /// What is wrong, if anything is: looked up in the fake itself, so that looking is no call.
    pub fn complaint(&self, world: &World, now: Timestamp) -> Option<String> {
        let name = &self.0;
        let secret = world.secrets.values().find(|secret| secret.name == *name && secret.deletion_time.is_none());
        let Some(secret) = secret else { return Some(format!("{name} is lost")) };
        let current = secret.versions.values().find(|version| version.labels.contains("AWSCURRENT"));
        let Some(current) = current else { return Some(format!("{name} has no AWSCURRENT")) };
        let document: Value = serde_json::from_str(&current.content.1).unwrap_or_default();
        let text = |member: &str| document[member].as_str().unwrap_or_default();
        let client = tokens::find(world, text("client_id"), now);
        let is_alive = client.is_some_and(|(_, client)| client.is_authenticated_by(text("client_secret"), now));
        (!is_alive).then(|| format!("AWSCURRENT of {name} does not authenticate"))
    }
}
