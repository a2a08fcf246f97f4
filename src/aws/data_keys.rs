//! The data key of shared tokens: KMS makes and opens it, the registry's table keeps what KMS made of it.
//!
//! It is bound to one KMS key, the configured one, and by the encryption context to this product's use of it for one table. A
//! copy in another table does not open, nor does what another use of the KMS key has made. Whoever makes one never sees it:
//! only [`open`](DataKeys::open) brings it into memory. It must never answer with a key that KMS did not say is that of the
//! configured KMS key, nor write over what it has not read.
//!
//! It fails as the port says. A KMS key that is disabled, gone, or not allowed is Refused or NotFound, with KMS's words.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_kms as kms;
use aws_sdk_kms::operation::decrypt::DecryptError;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::calls::Calls;
use super::dynamodb::{RegistryTable, data_key};
use super::faults::{Asking, port_error};
use crate::broker::ports::{DataKeys, Fault, KeptKey, Peer, PortResult};

/// By these KMS tells one use of a KMS key from another; a policy can ask for them.
const TABLE: &str = "keyward:table";
const PURPOSE: &str = "keyward:purpose";
const SHARED_TOKENS: &str = "shared-tokens";

/// For one table and one KMS key.
pub(super) struct KmsDataKeys {
    pub table: RegistryTable,
    pub kms: kms::Client,
    pub calls: Arc<Calls>,
    /// An id, an ARN or an alias.
    pub kms_key: String,
}

#[async_trait]
impl DataKeys for KmsDataKeys {
    async fn kept(&self) -> PortResult<Option<KeptKey>> {
        data_key::kept(&self.table, &self.kms_key).await
    }

    async fn make(&self, seen: Option<&KeptKey>, now: Timestamp) -> PortResult<()> {
        let asking = asking("make a data key");
        let request = make(&self.kms, &self.kms_key, &self.table.name);
        let answer = self.calls.make(asking, &self.table.region, None, request.send()).await?;
        let (Some(wrapped), Some(wrapping_key)) = (answer.ciphertext_blob, answer.key_id) else {
            return Err(asking.error(Fault::Broken, "KMS made nothing"));
        };
        let made = KeptKey { wrapped: wrapped.into_inner(), wrapping_key, make_time: now };
        data_key::keep(&self.table, &self.kms_key, seen, &made).await
    }

    async fn open(&self, kept: &KeptKey) -> PortResult<Option<Zeroizing<[u8; 32]>>> {
        let asking = asking("open the data key");
        let region = self.table.region.as_str();
        let request = open(&self.kms, &self.kms_key, &self.table.name, &kept.wrapped);
        let opened = self.calls.weigh(asking, region, request.send(), move |outcome| match outcome {
            Ok(answer) => Ok(Some(answer)),
            Err(error) => match error.as_service_error() {
                // Made by another KMS key; or for another table or purpose, or changed.
                Some(DecryptError::IncorrectKeyException(_) | DecryptError::InvalidCiphertextException(_)) => Ok(None),
                _ => Err(port_error(asking, region, &error)),
            },
        });
        let Some(answer) = opened.await? else { return Ok(None) };
        let plaintext = Zeroizing::new(answer.plaintext.map(Blob::into_inner).unwrap_or_default());
        if answer.key_id.as_deref() != Some(kept.wrapping_key.as_str()) {
            return Ok(None);
        }
        let mut key = Zeroizing::new([0; 32]);
        if plaintext.len() != key.len() {
            return Err(asking.error(Fault::Broken, "what KMS opened is no key of 32 bytes"));
        }
        key.copy_from_slice(&plaintext);
        Ok(Some(key))
    }
}

type Making =
    kms::operation::generate_data_key_without_plaintext::builders::GenerateDataKeyWithoutPlaintextFluentBuilder;

/// A data key for a table, which nobody sees by this.
pub(super) fn make(kms: &kms::Client, kms_key: &str, table: &str) -> Making {
    let request = kms.generate_data_key_without_plaintext().key_id(kms_key).key_spec(DataKeySpec::Aes256);
    request.set_encryption_context(Some(context(table)))
}

/// That data key, if this KMS key made it for this table.
pub(super) fn open(
    kms: &kms::Client,
    kms_key: &str,
    table: &str,
    wrapped: &[u8],
) -> kms::operation::decrypt::builders::DecryptFluentBuilder {
    let request = kms.decrypt().key_id(kms_key).ciphertext_blob(Blob::new(wrapped));
    request.set_encryption_context(Some(context(table)))
}

fn context(table: &str) -> HashMap<String, String> {
    [(TABLE, table), (PURPOSE, SHARED_TOKENS)].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// What is shared through the registry fails as a part of it.
const fn asking(doing: &'static str) -> Asking {
    Asking { peer: Peer::Registry, doing }
}
