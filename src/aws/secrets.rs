//! Single calls to Secrets Manager, each with what its outcomes mean.

use std::sync::Arc;

use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueOutput;
use aws_sdk_secretsmanager::types::Tag;
use zeroize::Zeroizing;

use super::calls::Calls;
use super::faults::{Asking, if_there};
use super::regions::{Region, Regions};
use super::secret_names::{client_of, region_of};
use super::staging::labels_of;
use crate::broker::ports::{Fault, PortResult};
use crate::domain::id::{SecretName, VersionId};
use crate::domain::rotation::Labels;

/// The tag that says whose secret it is.
const CLIENT_TAG: &str = "keyward:client";

pub(super) struct SecretsManager {
    pub regions: Arc<Regions>,
    pub calls: Arc<Calls>,
    /// Empty for Secrets Manager's own.
    pub kms_key: String,
}

impl SecretsManager {
    pub(super) fn region(&self, asking: Asking, name: &SecretName) -> PortResult<&Region> {
        self.regions.get(asking, region_of(name))
    }

    /// `None` when there is no such secret; one that is scheduled for deletion is still seen.
    pub(super) async fn see(
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

    pub(super) async fn labels_in(
        &self,
        asking: Asking,
        region: &Region,
        name: &SecretName,
    ) -> PortResult<Option<Labels>> {
        let seen = self.see(asking, region, name).await?;
        Ok(seen.filter(|seen| seen.deleted_date().is_none()).map(|seen| labels_of(&seen)))
    }

    /// The secret as it was found, restored if need be; `None` when it was not there and is made, with this version.
    pub(super) async fn open(
        &self,
        asking: Asking,
        region: &Region,
        name: &SecretName,
        version: &VersionId,
        content: &str,
    ) -> PortResult<Option<DescribeSecretOutput>> {
        let seen = match self.see(asking, region, name).await? {
            Some(seen) => seen,
            None => match self.create(asking, region, name, version, content).await {
                Ok(()) => return Ok(None),
                Err(error) if error.is(Fault::Conflict) => self.require(asking, region, name).await?,
                Err(error) => return Err(error),
            },
        };
        if seen.deleted_date().is_some() {
            self.bring_back(asking, region, name).await?;
        }
        Ok(Some(seen))
    }

    /// One that is to be deleted is not.
    pub(super) async fn bring_back(&self, asking: Asking, region: &Region, name: &SecretName) -> PortResult<()> {
        let request = region.secrets.restore_secret().secret_id(name.as_str());
        self.calls.make(asking, &region.name, None, request.send()).await?;
        Ok(())
    }

    /// Its resource policy, where it has one.
    pub(super) async fn policy(
        &self,
        asking: Asking,
        region: &Region,
        name: &SecretName,
    ) -> PortResult<Option<String>> {
        let request = region.secrets.get_resource_policy().secret_id(name.as_str());
        let answer = self.calls.make(asking, &region.name, None, request.send()).await?;
        Ok(answer.resource_policy.filter(|policy| !policy.is_empty()))
    }

    pub(super) async fn delete_policy(&self, asking: Asking, region: &Region, name: &SecretName) -> PortResult<()> {
        let request = region.secrets.delete_resource_policy().secret_id(name.as_str());
        self.calls.make(asking, &region.name, None, request.send()).await?;
        Ok(())
    }

    /// Nobody reads it by a resource policy any more.
    pub(super) async fn take_readers(&self, asking: Asking, region: &Region, name: &SecretName) -> PortResult<()> {
        match self.policy(asking, region, name).await? {
            Some(_) => self.delete_policy(asking, region, name).await,
            None => Ok(()),
        }
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

    /// Makes the version with this label, unless it exists: then it keeps its content. Whether it carries the label now.
    pub(super) async fn add(
        &self,
        asking: Asking,
        region: &Region,
        name: &SecretName,
        version: &VersionId,
        content: &str,
        label: &str,
    ) -> PortResult<bool> {
        let request = region.secrets.put_secret_value().secret_id(name.as_str());
        let request = request.client_request_token(version.as_str()).secret_string(content).version_stages(label);
        match self.calls.make(asking, &region.name, None, request.send()).await {
            Ok(answer) => Ok(answer.version_stages().iter().any(|stage| stage == label)),
            Err(error) if error.is(Fault::Conflict) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Moves the label to a version from the one that has it; [`Fault::Conflict`] when that one has it no longer.
    pub(super) async fn attach(
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
    pub(super) async fn value(
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

fn text_in(answer: GetSecretValueOutput) -> Option<Zeroizing<String>> {
    let binary = answer.secret_binary.map(|blob| Zeroizing::new(blob.into_inner()));
    let text = answer.secret_string.map(Zeroizing::new);
    text.or_else(|| std::str::from_utf8(&binary?).ok().map(|text| Zeroizing::new(text.to_owned())))
}
