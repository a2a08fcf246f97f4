//! Reads the clients that match, a page at a time; and which of them were begun before, where the call comes again.

use std::collections::BTreeMap;

use super::lanes::Candidate;
use super::{Asking, Fleet};
use crate::broker::api::{Listing, Page};
use crate::broker::records::shelves::{SeenRequest, request_key, tenant_prefix};
use crate::broker::records::{Record as _, Versioned};
use crate::broker::world::part_id;
use crate::domain::client::Client;
use crate::domain::error::Result;
use crate::domain::id::RotationName;

/// Clients that are read at a time.
const PAGE: usize = 200;

impl Fleet {
    /// Those who match, and those who did when the call was made before: by now their secret may be too new to.
    pub(super) async fn page(&self, asking: &Asking, after: Option<String>) -> Result<Listing<Candidate>> {
        let prefix = asking.request.tenant.as_ref().map(tenant_prefix).unwrap_or_default();
        let page = Page { after, size: PAGE };
        let listing = self.world.records.list::<Client>(&prefix, &page).await?;
        let last = listing.items.last().map(|client| client.key());
        let mut begun = match last {
            Some(last) if asking.is_again => self.begun(asking, page.after.as_deref(), &last).await?,
            _ => BTreeMap::new(),
        };
        let candidate = |client: Versioned<Client>| {
            let begun = begun.remove(&client.key());
            let Client { name, pool, .. } = &client.value;
            (begun.is_some() || asking.request.matches(&client)).then(|| Candidate {
                name: name.clone(),
                pool: pool.clone(),
                begun,
            })
        };
        Ok(Listing { items: listing.items.into_iter().filter_map(candidate).collect(), next: listing.next })
    }

    /// The rotations that were begun under the same `request_id`, of clients after one key up to another.
    async fn begun(&self, asking: &Asking, after: Option<&str>, last: &str) -> Result<BTreeMap<String, RotationName>> {
        let mut begun = BTreeMap::new();
        let Some(request) = &asking.call.request else { return Ok(begun) };
        // Their receipts are in the order of their clients.
        let prefix = request_key(&asking.call.principal.to_string(), &part_id(&request.id, ""));
        let mut page = Page { after: after.map(|after| format!("{prefix}{after}")), size: PAGE };
        loop {
            let listing = self.world.records.list::<SeenRequest>(&prefix, &page).await?;
            let now = self.world.now();
            for receipt in listing.items.iter().filter(|receipt| receipt.expire_time > now) {
                let key = receipt.key();
                let Some(client) = key.strip_prefix(&prefix).filter(|client| *client <= last) else {
                    return Ok(begun);
                };
                begun.insert(client.to_owned(), RotationName::parse("request_id", &receipt.resource)?);
            }
            match listing.next {
                Some(next) => page.after = Some(next),
                None => return Ok(begun),
            }
        }
    }
}
