//! Whether a caller may do what it asks for: asked before a call begins, and again while a stream goes on.
//!
//! A permission that was given is not kept for as long as a stream lasts. It is in doubt when other policies came into
//! force, when a label that counts may have changed, and when the proof of who calls has expired.

use std::net::IpAddr;
use std::sync::Arc;

use futures::future::{OptionFuture, select_all};
use tokio::sync::watch;

use super::Front;
use super::requests::Asked;
use crate::broker::Basis;
use crate::domain::caller::{Ask, Caller, Target};
use crate::domain::error::Result;
use crate::gate::{check_proof, source};
use crate::net::Connection;

/// What a request asks permission for.
pub(super) fn ask<'a, M: Asked>(caller: &'a Caller, connection: Option<&Connection>, message: &'a M) -> Ask<'a> {
    let (_, action) = M::METHOD.split_once('/').unwrap_or_default();
    Ask {
        caller,
        action,
        target: Target::of(&message.resource()),
        scopes: message.scopes(),
        source: source(connection),
    }
}

/// The permission that a stream goes on under.
pub(super) struct Standing {
    caller: Arc<Caller>,
    action: String,
    target: Target,
    scopes: Vec<String>,
    source: Option<IpAddr>,
    policies: watch::Receiver<()>,
    /// Of the tenants whose labels count.
    labels: Vec<watch::Receiver<()>>,
    in_doubt: bool,
}

impl Standing {
    /// In doubt from the start, because something may have changed since the call was permitted.
    pub(super) fn new(front: &Front, caller: Arc<Caller>, ask: &Ask<'_>) -> Self {
        let of_target = match &ask.target {
            Target::Platform => None,
            Target::Tenant(tenant) => Some(tenant),
            Target::Client(client) => Some(&client.tenant),
        };
        let of_caller = caller.tenant.as_ref().filter(|own| Some(*own) != of_target);
        let labels = of_target.into_iter().chain(of_caller).map(|tenant| front.broker.watch_tenant(tenant)).collect();
        Standing {
            action: ask.action.to_owned(),
            target: ask.target.clone(),
            scopes: ask.scopes.to_vec(),
            source: ask.source,
            policies: front.permissions.changes(),
            labels,
            in_doubt: true,
            caller,
        }
    }

    /// Asks again, if there is a reason to. Fails as the call would, were it made now.
    pub(super) async fn confirm(&mut self, front: &Front) -> Result<()> {
        if !self.in_doubt {
            return Ok(());
        }
        // What changes while it is asked is a new doubt.
        self.in_doubt = false;
        let (caller, target) = (&self.caller, self.target.clone());
        let ask = Ask { caller, action: &self.action, target, scopes: &self.scopes, source: self.source };
        front.permit(&ask, &mut Basis::default()).await
    }

    /// Fails when the proof of who calls has expired. That costs little enough to be asked for each answer.
    pub(super) fn check_proof(&self, front: &Front) -> Result<()> {
        check_proof(&self.caller, front.broker.now())
    }

    /// Returns when there is a reason to ask again. May be dropped before, and called again.
    pub(super) async fn doubt(&mut self, front: &Front) {
        let policies = self.policies.changed();
        let expired: OptionFuture<_> = self.caller.valid_until.map(|end| front.broker.sleep_until(end)).into();
        let expired = async {
            if expired.await.is_none() {
                std::future::pending().await
            }
        };
        let labels = self.labels.iter_mut().map(|labels| Box::pin(labels.changed())).collect::<Vec<_>>();
        let labels =
            async { if labels.is_empty() { std::future::pending().await } else { drop(select_all(labels).await) } };
        tokio::select! {
            changed = policies => if changed.is_err() { std::future::pending().await },
            () = expired => {}
            () = labels => {}
        }
        self.in_doubt = true;
    }
}
