//! Decisions that were made, so that the same question costs little the next time.
//!
//! They belong to one set of policies and go with it. A decision is found only by everything that it depends on: who asks
//! for what on what, the call's context where a policy looks at that, and the labels that were there, which are compared
//! with the labels that are there now.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use equivalent::Equivalent;

use crate::domain::caller::{Ask, Known, Labelled, Principal, Role, Target};
use crate::domain::id::{ClientId, TenantId};

/// What is remembered takes about so many bytes at the most.
const MAX_BYTES: u64 = 32 << 20;
/// About what a decision takes beside its texts.
const LEAST_BYTES: usize = 512;
/// About what a tenant or a client takes beside its labels.
const BYTES_OF_A_RECORD: usize = 1_024;

pub struct Decisions {
    cache: moka::sync::Cache<Key, Decision>,
    /// Whether the call's context is a part of the question.
    with_context: bool,
}

#[derive(Clone)]
struct Decision {
    permitted: bool,
    known: Known,
}

impl Decisions {
    pub fn new(with_context: bool) -> Self {
        let weight =
            |key: &Key, decision: &Decision| u32::try_from(key.bytes() + bytes_of(&decision.known)).unwrap_or(u32::MAX);
        let cache = moka::sync::Cache::builder().max_capacity(MAX_BYTES).weigher(weight).build();
        Decisions { cache, with_context }
    }

    /// Whether it was permitted, if that was asked and nothing that counts has changed since.
    pub fn find(&self, ask: &Ask<'_>, known: &Known) -> Option<bool> {
        let decision = self.cache.get(&Question::of(ask, self.with_context))?;
        (decision.known == *known).then_some(decision.permitted)
    }

    pub fn keep(&self, ask: &Ask<'_>, known: &Known, permitted: bool) {
        let key = Question::of(ask, self.with_context).to_key();
        self.cache.insert(key, Decision { permitted, known: known.clone() });
    }
}

/// About what the records take whose labels are kept to be compared.
fn bytes_of(known: &Known) -> usize {
    let Known { of_target, of_caller } = known;
    let all = [&of_target.tenant, &of_target.client, &of_caller.tenant, &of_caller.client];
    let labels = |record: &Arc<dyn Labelled>| -> usize {
        record.labels().iter().map(|(key, value)| 2 * size_of::<String>() + key.len() + value.len()).sum()
    };
    all.into_iter().flatten().map(|record| BYTES_OF_A_RECORD + labels(record)).sum()
}

/// All that a decision depends on but labels. Until when the caller's proof holds is none of it.
#[derive(PartialEq, Eq, Hash)]
struct Question<'a> {
    principal: &'a Principal,
    roles: &'a [Role],
    tenant: Option<&'a TenantId>,
    client: Option<&'a ClientId>,
    action: &'a str,
    target: &'a Target,
    context: Option<(&'a [String], Option<IpAddr>)>,
}

impl<'a> Question<'a> {
    fn of(ask: &'a Ask<'_>, with_context: bool) -> Self {
        Question {
            principal: &ask.caller.principal,
            roles: &ask.caller.roles,
            tenant: ask.caller.tenant.as_ref(),
            client: ask.caller.client.as_ref(),
            action: ask.action,
            target: &ask.target,
            context: with_context.then_some((ask.scopes, ask.source)),
        }
    }

    fn to_key(&self) -> Key {
        Key {
            principal: self.principal.clone(),
            roles: self.roles.to_vec(),
            tenant: self.tenant.cloned(),
            client: self.client.cloned(),
            action: self.action.to_owned(),
            target: self.target.clone(),
            context: self.context.map(|(scopes, source)| (scopes.to_vec(), source)),
        }
    }
}

/// A question that is kept. It is looked up by one that is not, so that nothing is copied to look.
#[derive(PartialEq, Eq)]
struct Key {
    principal: Principal,
    roles: Vec<Role>,
    tenant: Option<TenantId>,
    client: Option<ClientId>,
    action: String,
    target: Target,
    context: Option<(Vec<String>, Option<IpAddr>)>,
}

impl Key {
    fn question(&self) -> Question<'_> {
        Question {
            principal: &self.principal,
            roles: &self.roles,
            tenant: self.tenant.as_ref(),
            client: self.client.as_ref(),
            action: &self.action,
            target: &self.target,
            context: self.context.as_ref().map(|(scopes, source)| (scopes.as_slice(), *source)),
        }
    }

    fn bytes(&self) -> usize {
        let scopes = self.context.iter().flat_map(|(scopes, _)| scopes);
        let scopes: usize = scopes.map(|scope| size_of::<String>() + scope.len()).sum();
        LEAST_BYTES + self.principal.to_string().len() + scopes
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.question().hash(state);
    }
}

impl Equivalent<Key> for Question<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self == key.question()
    }
}
