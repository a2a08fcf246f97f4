//! `Vault` on Secrets Manager: one secret for each client, the versions and staging labels of AWS's own rotation.
//!
//! **The name of a secret says in which Region it is**: in the one after the last `@` of `…/orders@eu-west-1`, else in
//! the broker's own. So the secret of a dedicated pool stays where the pool is, and whoever knows a name finds the
//! secret without asking every Region. The ids of clients have no `@`. The whole name is the secret's name.
//!
//! Steps look before they act where looking is cheap, and after a failure where it is not: a failure that left things
//! as they should be is a success. What two Secrets Manager calls can leave between them is mended by the repetition.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_secretsmanager::types::{Filter, FilterNameStringType};
use zeroize::Zeroizing;

use super::faults::{Asking, if_there};
use super::policy;
use super::secret_names::region_of_foreign;
use super::secrets::SecretsManager;
use super::staging::{CURRENT, PENDING, PREVIOUS, has_version, text_of, version_with};
use crate::broker::ports::{Fault, Label, Peer, PortError, PortPage, PortResult, SecretDocument, Vault, Wanted};
use crate::domain::id::{SecretName, VersionId};
use crate::domain::rotation::Labels;

/// Entries of a page, as many as Secrets Manager gives.
const PAGE: i32 = 100;
const DAY: u64 = 24 * 60 * 60;
/// Secrets Manager's bounds of a recovery window, in days.
const WINDOW: std::ops::RangeInclusive<u64> = 7..=30;

const fn asking(doing: &'static str) -> Asking {
    Asking { peer: Peer::Vault, doing }
}

#[async_trait]
impl Vault for SecretsManager {
    async fn stage(&self, name: &SecretName, version: &VersionId, document: &SecretDocument) -> PortResult<()> {
        let asking = asking("stage a version");
        let region = self.region(asking, name)?;
        let content = text_of(document).ok_or_else(|| asking.error(Fault::Broken, "a document that is no JSON"))?;
        let Some(seen) = self.open(asking, region, name, version, &content).await? else {
            // It is the first version, so it is current; it is to be pending, too.
            return self.attach(asking, region, name, PENDING, version, None).await;
        };
        let holder = version_with(&seen, PENDING);
        if holder.as_ref() == Some(version) || self.add(asking, region, name, version, &content, PENDING).await? {
            return Ok(());
        }
        self.attach(asking, region, name, PENDING, version, holder.as_ref()).await
    }

    async fn put(&self, name: &SecretName, version: &VersionId, document: &SecretDocument) -> PortResult<()> {
        let asking = asking("put a version");
        let region = self.region(asking, name)?;
        let content = text_of(document).ok_or_else(|| asking.error(Fault::Broken, "a document that is no JSON"))?;
        let seen = self.open(asking, region, name, version, &content).await?;
        // One without a label is not seen, but Secrets Manager knows it and does nothing.
        if seen.is_some_and(|seen| !has_version(&seen, version)) {
            // A draft is the first of whoever has the name now. Not only in the run that has brought the secret back: that may
            // have been broken off then.
            if document.client_id.is_none() {
                self.take_readers(asking, region, name).await?;
            }
            self.add(asking, region, name, version, &content, CURRENT).await?;
        }
        Ok(())
    }

    async fn labels(&self, name: &SecretName) -> PortResult<Option<Labels>> {
        let asking = asking("read labels");
        self.labels_in(asking, self.region(asking, name)?, name).await
    }

    async fn read(&self, name: &SecretName, version: Wanted<'_>) -> PortResult<Option<SecretDocument>> {
        let asking = asking("read a version");
        let region = self.region(asking, name)?;
        let (id, stage) = match version {
            Wanted::Current => (None, Some(CURRENT)),
            Wanted::Version(version) => (Some(version.as_str()), None),
        };
        let Some(content) = self.value(asking, region, name.as_str(), id, stage).await? else { return Ok(None) };
        // Serde's own words could repeat a part of the content.
        let document = serde_json::from_str(&content)
            .map_err(|_| asking.error(Fault::Broken, format_args!("what {name} holds is not a document")))?;
        Ok(Some(document))
    }

    async fn promote(&self, name: &SecretName, from: &VersionId, to: &VersionId) -> PortResult<()> {
        let asking = asking("promote a version");
        let region = self.region(asking, name)?;
        let moved = self.attach(asking, region, name, CURRENT, to, Some(from)).await;
        let labels = match &moved {
            Err(error) if is_transient(error) => return moved,
            _ => self.labels_in(asking, region, name).await?,
        };
        let Some(labels) = labels else {
            return Err(asking.error(Fault::NotFound, format_args!("there is no secret {name}")));
        };
        match moved {
            // It follows by itself at Secrets Manager.
            Ok(()) if labels.previous.as_ref() != Some(from) => {
                self.attach(asking, region, name, PREVIOUS, from, labels.previous.as_ref()).await
            }
            Ok(()) => Ok(()),
            Err(_) if labels.current.as_ref() == Some(to) => Ok(()),
            Err(_) if labels.current.as_ref() != Some(from) => {
                let current = labels.current.map_or("no version".to_owned(), |version| version.to_string());
                let detail = format!("{CURRENT} of {name} is on {current}, not on {from}");
                Err(asking.error(Fault::Conflict, detail))
            }
            // It was free to move, so it is the version that it was to move to.
            Err(error) if error.is(Fault::Conflict) => {
                Err(asking.error(Fault::NotFound, format_args!("{name} has no version {to}")))
            }
            Err(error) => Err(error),
        }
    }

    async fn clear(&self, name: &SecretName, label: Label, version: &VersionId) -> PortResult<()> {
        let asking = asking("clear a label");
        let region = self.region(asking, name)?;
        let label = match label {
            Label::Pending => PENDING,
            Label::Previous => PREVIOUS,
        };
        let request = region.secrets.update_secret_version_stage().secret_id(name.as_str()).version_stage(label);
        let request = request.remove_from_version_id(version.as_str());
        match self.calls.make(asking, &region.name, None, request.send()).await {
            Ok(_) => Ok(()),
            Err(error) if is_transient(&error) => Err(error),
            Err(error) => match self.see(asking, region, name).await? {
                Some(seen) if seen.deleted_date().is_none() && version_with(&seen, label).as_ref() == Some(version) => {
                    Err(error)
                }
                _ => Ok(()),
            },
        }
    }

    async fn schedule_deletion(&self, name: &SecretName, window: Duration) -> PortResult<()> {
        let asking = asking("schedule a deletion");
        let region = self.region(asking, name)?;
        let request = region.secrets.delete_secret().secret_id(name.as_str());
        let days = window.as_secs().div_ceil(DAY);
        let request = match i64::try_from(days) {
            Ok(0) => request.force_delete_without_recovery(true),
            Ok(whole) if WINDOW.contains(&days) => request.recovery_window_in_days(whole),
            _ => return Err(asking.error(Fault::Refused, "a recovery window is 7 to 30 days, or none")),
        };
        match if_there(self.calls.make(asking, &region.name, None, request.send()).await) {
            Ok(_) => Ok(()),
            Err(error) if is_transient(&error) => Err(error),
            Err(error) => match self.see(asking, region, name).await? {
                Some(seen) if seen.deleted_date().is_none() => Err(error),
                _ => Ok(()),
            },
        }
    }

    async fn restore(&self, name: &SecretName) -> PortResult<bool> {
        let asking = asking("restore a secret");
        let region = self.region(asking, name)?;
        let is_to_be_deleted = self.see(asking, region, name).await?.is_some_and(|seen| seen.deleted_date().is_some());
        if is_to_be_deleted {
            self.bring_back(asking, region, name).await?;
        }
        Ok(is_to_be_deleted)
    }

    async fn set_readers(&self, name: &SecretName, readers: &[String]) -> PortResult<()> {
        let asking = asking("set a secret's readers");
        let region = self.region(asking, name)?;
        let has = self.policy(asking, region, name).await?;
        match (has, policy::policy_of(readers)) {
            (None, None) => {}
            (Some(has), Some(_)) if policy::says(&has, readers) => {}
            (_, Some(policy)) => {
                let request = region.secrets.put_resource_policy().secret_id(name.as_str());
                let request = request.resource_policy(policy).block_public_policy(true);
                self.calls.make(asking, &region.name, None, request.send()).await?;
            }
            (Some(_), None) => self.delete_policy(asking, region, name).await?,
        }
        Ok(())
    }

    async fn read_foreign(&self, name: &str) -> PortResult<Option<Zeroizing<String>>> {
        let asking = asking("read a secret to be taken over");
        let region = self.regions.get(asking, region_of_foreign(name))?;
        self.value(asking, region, name, None, Some(CURRENT)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> PortResult<PortPage<SecretName>> {
        let asking = asking("list secrets");
        let (region, token) = self.regions.resume(asking, after)?;
        let filter = Filter::builder().key(FilterNameStringType::Name).values(prefix).build();
        let filters = (!prefix.is_empty()).then(|| vec![filter]);
        let request = region.secrets.list_secrets().max_results(PAGE).set_filters(filters);
        let request = request.set_next_token(token.map(str::to_owned));
        let page = self.calls.make(asking, &region.name, None, request.send()).await?;
        let names = page.secret_list().iter().filter(|secret| secret.deleted_date().is_none());
        // A filter takes no notice of case, and a replica of another Region's secret is none of ours.
        let names = names.filter_map(|secret| secret.name()).filter(|name| name.starts_with(prefix));
        let names = names.filter_map(|name| SecretName::parse("name", name).ok());
        let items = names.filter(|name| self.region(asking, name).is_ok_and(|own| own.name == region.name)).collect();
        Ok(PortPage { items, next: self.regions.after(region, page.next_token()) })
    }
}

/// Nothing is known after it but that it may be tried again, so there is no use in looking.
fn is_transient(error: &PortError) -> bool {
    matches!(error.fault, Fault::Throttled | Fault::Unavailable)
}
