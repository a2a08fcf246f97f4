//! The scopes of a client, each of which is in the catalogue for as long as a client has it.
//!
//! A client says which scopes it uses ([`ScopeUse`]) in the change that gives it those, under the condition that the resource
//! servers are as they were found to have them. Whoever takes a scope out of the catalogue looks for its users before and
//! after: see [`catalog`](crate::broker::catalog).

use std::collections::BTreeSet;

use super::Clients;
use crate::broker::records::shelves::{ScopeUse, use_key};
use crate::broker::records::{Change, Versioned};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::ClientName;
use crate::domain::scope::{ResourceServer, Scope, ScopeSet};

/// A change of scopes is one transaction with a record for each scope, and a transaction of DynamoDB holds 100.
const MAX_SCOPE_CHANGES: usize = 50;

impl Clients {
    /// Fails unless every scope is in the catalogue.
    pub(super) async fn check_scopes(&self, scopes: &ScopeSet) -> Result<()> {
        if scopes.is_empty() {
            return Err(Error::invalid("client.scopes", "must hold at least one scope"));
        }
        check_known(scopes.iter(), &self.servers_of(scopes).await?)
    }

    /// Notes which scopes the client uses, so that none is taken away from under it. Fails unless those that it did not have
    /// are in the catalogue now, whoever looked before; and requires the resource servers to be as they are found here.
    pub(super) async fn use_scopes(
        &self,
        mut change: Change,
        name: &ClientName,
        old: &ScopeSet,
        new: &ScopeSet,
    ) -> Result<Change> {
        let servers = self.servers_of(new).await?;
        let added = || new.iter().filter(|scope| !old.contains(scope));
        check_known(added(), &servers)?;
        for server in &servers {
            change = change.require(server);
        }
        for scope in added() {
            change = change.create(&ScopeUse { scope: scope.clone(), client: name.clone() });
        }
        for scope in old.iter().filter(|scope| !new.contains(scope)) {
            let seen: Option<Versioned<ScopeUse>> = self.world.records.get(&use_key(scope, name)).await?;
            change = seen.iter().fold(change, |change, seen| change.delete(seen));
        }
        Ok(change)
    }

    /// The resource servers that these scopes are of, as far as they are there.
    async fn servers_of(&self, scopes: &ScopeSet) -> Result<Vec<Versioned<ResourceServer>>> {
        let mut servers = Vec::new();
        for identifier in scopes.identifiers() {
            servers.extend(self.world.records.get(identifier).await?);
        }
        Ok(servers)
    }
}

fn check_known<'a>(mut scopes: impl Iterator<Item = &'a Scope>, servers: &[Versioned<ResourceServer>]) -> Result<()> {
    let known: BTreeSet<Scope> = servers.iter().flat_map(|server| server.full_scopes()).collect();
    match scopes.find(|scope| !known.contains(scope)) {
        Some(scope) => {
            let rule = format!("{scope} is not in the catalogue");
            Err(Error::invalid_because(Reason::ScopeUnknown, "client.scopes", rule))
        }
        None => Ok(()),
    }
}

pub(super) fn check_scope_changes(old: &ScopeSet, new: &ScopeSet) -> Result<()> {
    let missing_in = |one: &ScopeSet, other: &ScopeSet| one.iter().filter(|scope| !other.contains(scope)).count();
    if missing_in(old, new) + missing_in(new, old) > MAX_SCOPE_CHANGES {
        let rule = format!("at most {MAX_SCOPE_CHANGES} scopes can be added and taken away in one call");
        return Err(Error::invalid("client.scopes", rule));
    }
    Ok(())
}
