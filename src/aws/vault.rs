//! `Vault` on Secrets Manager: one secret for each client, the versions and staging labels of AWS's own rotation.
//!
//! **The name of a secret says in which Region it is**: in the one after the last `@` of `…/orders@eu-west-1`, else in
//! the broker's own. So the secret of a dedicated pool stays where the pool is, and whoever knows a name finds the
//! secret without asking every Region. The ids of clients have no `@`. The whole name is the secret's name.
//!
//! Steps look before they act where looking is cheap, and after a failure where it is not: a failure that left things
//! as they should be is a success. What two Secrets Manager calls can leave between them is mended by the repetition.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueOutput;
use aws_sdk_secretsmanager::types::{Filter, FilterNameStringType, Tag};
use zeroize::Zeroizing;

use super::calls::Calls;
use super::faults::{Asking, if_there};
use super::policy;
use super::regions::{Region, Regions};
use super::secret_names::{client_of, region_of, region_of_foreign};
use super::staging::{CURRENT, PENDING, PREVIOUS, labels_of, text_of, version_with};
use crate::broker::ports::{Fault, Label, Peer, PortError, PortPage, PortResult, SecretDocument, Vault, Wanted};
use crate::domain::id::{SecretName, VersionId};
use crate::domain::rotation::Labels;

/// The tag that says whose secret it is.
const CLIENT_TAG: &str = "keyward:client";
/// Entries of a page, as many as Secrets Manager gives.
const PAGE: i32 = 100;
const DAY: u64 = 24 * 60 * 60;
/// Secrets Manager's bounds of a recovery window, in days.
const WINDOW: std::ops::RangeInclusive<u64> = 7..=30;

pub(super) struct SecretsManager {
    pub regions: Arc<Regions>,
    pub calls: Arc<Calls>,
    /// Empty for Secrets Manager's own.
    pub kms_key: String,
}

const fn asking(doing: &'static str) -> Asking {
    Asking { peer: Peer::Vault, doing }
}

#[async_trait]
impl Vault for SecretsManager {
    async fn stage(&self, name: &SecretName, version: &VersionId, document: &SecretDocument) -> PortResult<()> {
        let asking = asking("stage a version");
        let region = self.region(asking, name)?;
        let content = text_of(document).ok_or_else(|| asking.error(Fault::Broken, "a document that is no JSON"))?;
        let seen = match self.see(asking, region, name).await? {
            Some(seen) => seen,
            None => match self.create(asking, region, name, version, &content).await {
                // It is the first version, so it is current; it is to be pending, too.
                Ok(()) => return self.attach(asking, region, name, PENDING, version, None).await,
                Err(error) if error.is(Fault::Conflict) => self.require(asking, region, name).await?,
                Err(error) => return Err(error),
            },
        };
        if seen.deleted_date().is_some() {
            let request = region.secrets.restore_secret().secret_id(name.as_str());
            self.calls.make(asking, &region.name, None, request.send()).await?;
        }
        let holder = version_with(&seen, PENDING);
        if holder.as_ref() == Some(version) || self.put(asking, region, name, version, &content).await? {
            return Ok(());
        }
        self.attach(asking, region, name, PENDING, version, holder.as_ref()).await
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

    async fn set_readers(&self, name: &SecretName, readers: &[String]) -> PortResult<()> {
        let asking = asking("set a secret's readers");
        let region = self.region(asking, name)?;
        let request = region.secrets.get_resource_policy().secret_id(name.as_str());
        let answer = self.calls.make(asking, &region.name, None, request.send()).await?;
        let has = answer.resource_policy().filter(|policy| !policy.is_empty());
        match (has, policy::policy_of(readers)) {
            (None, None) => {}
            (Some(has), Some(_)) if policy::says(has, readers) => {}
            (_, Some(policy)) => {
                let request = region.secrets.put_resource_policy().secret_id(name.as_str());
                let request = request.resource_policy(policy).block_public_policy(true);
                self.calls.make(asking, &region.name, None, request.send()).await?;
            }
            (Some(_), None) => {
                let request = region.secrets.delete_resource_policy().secret_id(name.as_str());
                self.calls.make(asking, &region.name, None, request.send()).await?;
            }
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

impl SecretsManager {
    fn region(&self, asking: Asking, name: &SecretName) -> PortResult<&Region> {
        self.regions.get(asking, region_of(name))
    }

    /// `None` when there is no such secret; one that is scheduled for deletion is still seen.
    async fn see(
        &self,
        asking: Asking,
        region: &Region,
        name: &SecretName,
    ) -> PortResult<Option<DescribeSecretOutput>> {
        let request = region.secrets.describe_secret().secret_id(name.as_str());
        if_there(self.calls.make(asking, &region.name, None, request.send()).await)
    }

    async fn require(&self, asking: Asking, region: &Region, name: &SecretName) -> PortResult<DescribeSecretOutput> {
        let unclear = || asking.error(Fault::Unavailable, format_args!("{name} is there and is not, for now"));
        self.see(asking, region, name).await?.ok_or_else(unclear)
    }

    async fn labels_in(&self, asking: Asking, region: &Region, name: &SecretName) -> PortResult<Option<Labels>> {
        let seen = self.see(asking, region, name).await?;
        Ok(seen.filter(|seen| seen.deleted_date().is_none()).map(|seen| labels_of(&seen)))
    }

    /// [`Fault::Conflict`] when somebody else was faster.
    async fn create(
        &self,
        asking: Asking,
        region: &Region,
        name: &SecretName,
        version: &VersionId,
        content: &str,
    ) -> PortResult<()> {
        let tag = Tag::builder().key(CLIENT_TAG).value(client_of(name)).build();
        let request = region.secrets.create_secret().name(name.as_str()).client_request_token(version.as_str());
        let key = Some(self.kms_key.clone()).filter(|key| !key.is_empty());
        let request = request.secret_string(content).set_kms_key_id(key).tags(tag);
        self.calls.make(asking, &region.name, None, request.send()).await?;
        Ok(())
    }

    /// Makes the version, unless it exists: then it keeps its content. Whether it carries `AWSPENDING` now.
    async fn put(
        &self,
        asking: Asking,
        region: &Region,
        name: &SecretName,
        version: &VersionId,
        content: &str,
    ) -> PortResult<bool> {
        let request = region.secrets.put_secret_value().secret_id(name.as_str());
        let request = request.client_request_token(version.as_str()).secret_string(content).version_stages(PENDING);
        match self.calls.make(asking, &region.name, None, request.send()).await {
            Ok(answer) => Ok(answer.version_stages().iter().any(|stage| stage == PENDING)),
            Err(error) if error.is(Fault::Conflict) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Moves the label to a version from the one that has it; [`Fault::Conflict`] when that one has it no longer.
    async fn attach(
        &self,
        asking: Asking,
        region: &Region,
        name: &SecretName,
        label: &str,
        to: &VersionId,
        from: Option<&VersionId>,
    ) -> PortResult<()> {
        let request = region.secrets.update_secret_version_stage().secret_id(name.as_str()).version_stage(label);
        let request = request.move_to_version_id(to.as_str());
        let request = request.set_remove_from_version_id(from.map(ToString::to_string));
        self.calls.make(asking, &region.name, None, request.send()).await?;
        Ok(())
    }

    /// The text of a version; `None` when there is none, or the secret is scheduled for deletion.
    async fn value(
        &self,
        asking: Asking,
        region: &Region,
        name: &str,
        version: Option<&str>,
        stage: Option<&str>,
    ) -> PortResult<Option<Zeroizing<String>>> {
        let request = region.secrets.get_secret_value().secret_id(name);
        let request = request.set_version_id(version.map(str::to_owned)).set_version_stage(stage.map(str::to_owned));
        match if_there(self.calls.make(asking, &region.name, None, request.send()).await) {
            Ok(answer) => Ok(answer.and_then(text_in)),
            Err(error) if error.is(Fault::Refused) => {
                let request = region.secrets.describe_secret().secret_id(name);
                let seen = if_there(self.calls.make(asking, &region.name, None, request.send()).await)?;
                if seen.is_none_or(|seen| seen.deleted_date().is_some()) { Ok(None) } else { Err(error) }
            }
            Err(error) => Err(error),
        }
    }
}

/// Nothing is known after it but that it may be tried again, so there is no use in looking.
fn is_transient(error: &PortError) -> bool {
    matches!(error.fault, Fault::Throttled | Fault::Unavailable)
}

fn text_in(answer: GetSecretValueOutput) -> Option<Zeroizing<String>> {
    let binary = answer.secret_binary.map(|blob| Zeroizing::new(blob.into_inner()));
    let text = answer.secret_string.map(Zeroizing::new);
    text.or_else(|| std::str::from_utf8(&binary?).ok().map(|text| Zeroizing::new(text.to_owned())))
}
