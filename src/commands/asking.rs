//! `keyward check --as`: what a caller may do, and which policies say so.

use std::net::IpAddr;
use std::sync::Arc;

use keyward::config::{Config, ConfigError};
use keyward::daemon;
use keyward::domain::caller::{Ask, Caller, Known, Labelled, Named, Principal, Target};
use keyward::domain::id::ClientName;
use keyward::domain::tenant::Labels;

use super::Outcome;

#[derive(Debug, clap::Args)]
pub(super) struct Asking {
    /// Explain whether this caller may do something, a principal as audit events have it
    #[arg(long = "as", value_name = "PRINCIPAL", requires = "action", conflicts_with = "live")]
    principal: Option<Principal>,
    /// The method that it calls, such as GetToken
    #[arg(long, value_name = "METHOD", requires = "principal")]
    action: Option<String>,
    /// What it does that to, as a resource name; absent for what belongs to no tenant
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true, requires = "principal")]
    on: String,
    /// The scopes that it asks for
    #[arg(long, value_name = "SCOPE,…", value_delimiter = ',', requires = "principal")]
    scopes: Vec<String>,
    /// A label of what it does it to
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label, requires = "principal")]
    labels: Vec<(String, String)>,
    /// A label of the tenant, where it does it to a client
    #[arg(long = "tenant-label", value_name = "KEY=VALUE", value_parser = label, requires = "principal")]
    tenant_labels: Vec<(String, String)>,
    /// The address that it calls from
    #[arg(long, value_name = "ADDRESS", requires = "principal")]
    from: Option<IpAddr>,
}

impl Asking {
    /// Prints the decision and its reasons; `None` where nothing was asked.
    pub(super) fn explain(&self, config: &Config) -> anyhow::Result<Option<Outcome>> {
        let (Some(principal), Some(action)) = (&self.principal, &self.action) else { return Ok(None) };
        let in_force = daemon::permissions(config)?.in_force();
        if !in_force.knows(action) {
            return Err(ConfigError::key("--action", format!("there is no method {action}")).into());
        }
        let caller = caller(config, principal)?;
        let target = Target::of(&self.on);
        let known = self.known(&caller, &target);
        let ask = Ask { caller: &caller, action, target, scopes: &self.scopes, source: self.from };
        let explanation = in_force.explain(&ask, &known);

        let on = match &ask.target {
            Target::Platform => "the platform".to_owned(),
            Target::Tenant(tenant) => tenant.name(),
            Target::Client(client) => client.to_string(),
        };
        let (word, may) = if explanation.permitted { ("permitted", "may") } else { ("denied", "may not") };
        println!("{word}: {principal} {may} {action} on {on}");
        for policy in &explanation.policies {
            let id = policy.id.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
            let description = policy.description.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
            println!("  by {}{id}{description}", policy.place);
        }
        if explanation.policies.is_empty() && explanation.errors.is_empty() {
            println!("  no policy permits it");
        }
        for error in &explanation.errors {
            println!("  cannot be evaluated, which denies: {error}");
        }
        println!("  the caller is {}", what_it_is(&caller));
        Ok(Some(if explanation.permitted { Outcome::Done } else { Outcome::Unmet }))
    }

    fn known(&self, caller: &Caller, target: &Target) -> Known {
        let own = labelled(&self.labels);
        let of_target = match target {
            Target::Platform => Named::default(),
            Target::Tenant(_) => Named { tenant: Some(own), client: None },
            Target::Client(_) => Named { tenant: Some(labelled(&self.tenant_labels)), client: Some(own) },
        };
        // Its own tenant has the labels that the target's has, where it is the same.
        let (tenant, client) = match target {
            Target::Platform => (None, None),
            Target::Tenant(tenant) => (Some(tenant), None),
            Target::Client(name) => (Some(&name.tenant), Some(&name.client)),
        };
        let is_own_tenant = tenant.is_some() && tenant == caller.tenant.as_ref();
        let is_own_client = is_own_tenant && client.is_some() && client == caller.client.as_ref();
        let of_caller = Named {
            tenant: of_target.tenant.clone().filter(|_| is_own_tenant),
            client: of_target.client.clone().filter(|_| is_own_client),
        };
        Known { of_target, of_caller }
    }
}

/// What the principal is to Keyward, as the configuration's grants say.
fn caller(config: &Config, principal: &Principal) -> Result<Caller, ConfigError> {
    if let Principal::Operator(name) = principal {
        return Ok(Caller::operator(name));
    }
    let ambiguous = |_| ConfigError::key("callers.grant", format!("two of them make {principal} different things"));
    daemon::grants(config).caller(principal.clone()).map_err(ambiguous)
}

fn what_it_is(caller: &Caller) -> String {
    let roles = caller.roles.iter().map(|role| role.as_str().to_owned());
    let owner = caller.tenant.as_ref().map(|tenant| match &caller.client {
        Some(client) => ClientName::new(tenant.clone(), client.clone()).to_string(),
        None => tenant.name(),
    });
    let all: Vec<_> = roles.chain(owner).collect();
    if all.is_empty() { "nobody's: no role, no tenant".to_owned() } else { all.join(", ") }
}

struct Given(Labels);

impl Labelled for Given {
    fn labels(&self) -> &Labels {
        &self.0
    }
}

fn labelled(labels: &[(String, String)]) -> Arc<dyn Labelled> {
    Arc::new(Given(labels.iter().cloned().collect()))
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}
