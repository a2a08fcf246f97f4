//! A token endpoint that hears of new secrets late, as Cognito's may.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use keyward::broker::Ports;
use keyward::broker::ports::{Fault, Peer, PortError, PortResult, TokenEndpoint};
use keyward::domain::id::AppClientId;
use keyward::domain::pool::MadePool;
use keyward::domain::scope::ScopeSet;
use keyward::domain::secret::ClientSecret;
use keyward::domain::token::AccessToken;

/// Knows at once what is new, until it is stopped from it.
#[derive(Default)]
pub struct Propagation {
    stopped: Mutex<bool>,
    known: Mutex<BTreeSet<String>>,
}

impl Propagation {
    /// From now on a secret that got no token yet gets none.
    pub fn stop(&self) {
        *self.stopped.lock().expect("no panic under it") = true;
    }

    pub fn resume(&self) {
        *self.stopped.lock().expect("no panic under it") = false;
    }

    pub fn through(self: &Arc<Self>, ports: Ports) -> Ports {
        let endpoint = LateEndpoint { inner: ports.token_endpoint, propagation: self.clone() };
        Ports { token_endpoint: Arc::new(endpoint), ..ports }
    }
}

struct LateEndpoint {
    inner: Arc<dyn TokenEndpoint>,
    propagation: Arc<Propagation>,
}

#[async_trait]
impl TokenEndpoint for LateEndpoint {
    async fn fetch(
        &self,
        pool: &MadePool,
        client: &AppClientId,
        secret: &ClientSecret,
        scopes: &ScopeSet,
    ) -> PortResult<AccessToken> {
        let known = self.propagation.known.lock().expect("no panic under it").contains(secret.expose());
        if !known && *self.propagation.stopped.lock().expect("no panic under it") {
            let doing = "fetch a token";
            return Err(PortError::new(Peer::TokenEndpoint, Fault::InvalidClient, doing, "not known here yet"));
        }
        let token = self.inner.fetch(pool, client, secret, scopes).await?;
        self.propagation.known.lock().expect("no panic under it").insert(secret.expose().to_owned());
        Ok(token)
    }
}
