//! How the broker is reached, and as whom.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use zeroize::Zeroizing;

/// How long a call may take to be answered, or a stream to begin.
pub(super) const CALL: Duration = Duration::from_secs(10);

type Credential = Arc<dyn Fn() -> Option<Zeroizing<String>> + Send + Sync>;

/// A channel to the broker. Whoever makes it decides on TLS and on a client certificate, by which the broker may know the
/// caller; [`with_authorization`](Connection::with_authorization) is for other credentials.
#[derive(Clone)]
pub struct Connection {
    pub(super) channel: Channel,
    credential: Option<Credential>,
}

impl Connection {
    pub fn new(channel: Channel) -> Self {
        Connection { channel, credential: None }
    }

    /// Sends what `credential` gives as `authorization`, such as `Bearer eyJ…` or `Basic …`. It is asked whenever a stream is
    /// opened, so that a token that a file holds is always the one of today; `None` sends nothing.
    #[must_use]
    pub fn with_authorization(
        self,
        credential: impl Fn() -> Option<Zeroizing<String>> + Send + Sync + 'static,
    ) -> Self {
        Connection { credential: Some(Arc::new(credential)), ..self }
    }

    /// Fails with what keeps the credential from being a header.
    pub(super) fn request<M>(&self, message: M) -> Result<Request<M>, Lost> {
        let mut request = Request::new(message);
        if let Some(text) = self.credential.as_ref().and_then(|credential| credential()) {
            let mut value =
                MetadataValue::try_from(text.as_str()).map_err(|_| Lost::here("the credential is no header"))?;
            value.set_sensitive(true);
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("has_credential", &self.credential.is_some()).finish_non_exhaustive()
    }
}

/// How a stream ended.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    /// Whether it will end so again unless somebody changes something: the caller is not allowed, or there is no such client.
    pub is_refusal: bool,
    pub why: String,
}

impl Lost {
    /// For what was not the broker's to say.
    pub fn here(why: impl Into<String>) -> Self {
        Lost { is_refusal: false, why: why.into() }
    }
}

impl From<tonic::Status> for Lost {
    fn from(status: tonic::Status) -> Self {
        use tonic::Code::{
            FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, Unauthenticated, Unimplemented,
        };
        let refusals =
            [FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, Unauthenticated, Unimplemented];
        Lost {
            is_refusal: refusals.contains(&status.code()),
            why: format!("{:?}: {}", status.code(), status.message()),
        }
    }
}

/// A task that ends when nobody needs it any more.
#[derive(Debug)]
pub(super) struct Task(pub JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
