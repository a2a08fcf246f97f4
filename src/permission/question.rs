//! A question of permission in Cedar's terms: who (with roles and tenant), what, on what (with labels), how.

use std::collections::{HashMap, HashSet};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression, Schema,
};

use crate::domain::caller::{Ask, Known, Labelled, Target};
use crate::domain::id::{ClientName, TenantId};

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// The words of the schema.
pub struct Vocabulary {
    pub schema: Schema,
    caller: EntityTypeName,
    role: EntityTypeName,
    tenant: EntityTypeName,
    client: EntityTypeName,
    platform: EntityTypeName,
    /// By method. Each knows the groups that it is in.
    actions: HashMap<String, Entity>,
}

impl Vocabulary {
    pub fn new() -> Result<Self, Fault> {
        let (schema, warnings) = Schema::from_cedarschema_str(include_str!("keyward.cedarschema"))?;
        if let Some(warning) = warnings.into_iter().next() {
            return Err(Box::new(warning));
        }
        let actions = schema.action_entities()?.iter().cloned().map(|action| (method(&action), action)).collect();
        let kind = |name: &str| format!("Keyward::{name}").parse::<EntityTypeName>().map_err(Box::new);
        Ok(Vocabulary {
            schema,
            caller: kind("Caller")?,
            role: kind("Role")?,
            tenant: kind("Tenant")?,
            client: kind("Client")?,
            platform: kind("Platform")?,
            actions,
        })
    }

    pub fn knows(&self, action: &str) -> bool {
        self.actions.contains_key(action)
    }

    /// The question, and everything that there is to know about those in it. Where no policy reads the call's context it is
    /// left empty: for an address in it Cedar parses the name of a function, anew each time.
    pub fn put(&self, ask: &Ask<'_>, known: &Known, with_context: bool) -> Result<(Request, Entities), Fault> {
        let action = self.actions.get(ask.action).ok_or_else(|| format!("no action {}", ask.action))?;
        let (resource, target) = self.target(&ask.target, known)?;
        let mut entities = vec![action.clone(), self.caller(ask)?];
        entities.extend(target);
        if let Some(own) = &ask.caller.tenant {
            let labels = &known.of_caller;
            entities.push(self.tenant(own, labels.tenant.as_deref())?);
            if let Some(client) = &ask.caller.client {
                let name = ClientName::new(own.clone(), client.clone());
                entities.push(self.client(&name, labels.client.as_deref())?);
            }
        }
        // The caller's tenant and client are often the target's too.
        let mut seen = HashSet::new();
        entities.retain(|entity| seen.insert(entity.uid()));
        let context = if with_context { context(ask)? } else { Context::empty() };
        let request = Request::new(self.caller_id(ask), action.uid(), resource, context, None)?;
        Ok((request, Entities::from_entities(entities, None)?))
    }

    fn caller_id(&self, ask: &Ask<'_>) -> EntityUid {
        id(&self.caller, &ask.caller.principal.to_string())
    }

    fn caller(&self, ask: &Ask<'_>) -> Result<Entity, Fault> {
        let caller = ask.caller;
        let mut attributes = HashMap::from([("proof".to_owned(), text(caller.principal.proof()))]);
        if let Some(tenant) = &caller.tenant {
            let tenant_id = id(&self.tenant, &tenant.name());
            attributes.insert("tenant".to_owned(), RestrictedExpression::new_entity_uid(tenant_id));
            if let Some(client) = &caller.client {
                let name = ClientName::new(tenant.clone(), client.clone());
                let client_id = id(&self.client, &name.to_string());
                attributes.insert("client".to_owned(), RestrictedExpression::new_entity_uid(client_id));
            }
        }
        let roles = caller.roles.iter().map(|role| id(&self.role, role.as_str())).collect();
        Ok(Entity::new(self.caller_id(ask), attributes, roles)?)
    }

    fn target(&self, target: &Target, known: &Known) -> Result<(EntityUid, Vec<Entity>), Fault> {
        let labels = &known.of_target;
        let entities = match target {
            Target::Platform => vec![Entity::with_uid(id(&self.platform, "keyward"))],
            Target::Tenant(tenant) => vec![self.tenant(tenant, labels.tenant.as_deref())?],
            Target::Client(client) => vec![
                self.client(client, labels.client.as_deref())?,
                self.tenant(&client.tenant, labels.tenant.as_deref())?,
            ],
        };
        let uid = entities.first().map(Entity::uid).ok_or("a target is something")?;
        Ok((uid, entities))
    }

    fn tenant(&self, tenant: &TenantId, labels: Option<&dyn Labelled>) -> Result<Entity, Fault> {
        let uid = id(&self.tenant, &tenant.name());
        Ok(Entity::new_with_tags(uid, [], [], tags(labels))?)
    }

    fn client(&self, client: &ClientName, labels: Option<&dyn Labelled>) -> Result<Entity, Fault> {
        let tenant = id(&self.tenant, &client.tenant.name());
        let attributes = [("tenant".to_owned(), RestrictedExpression::new_entity_uid(tenant.clone()))];
        let uid = id(&self.client, &client.to_string());
        Ok(Entity::new_with_tags(uid, attributes, [tenant], tags(labels))?)
    }
}

#[cfg(test)]
impl Vocabulary {
    /// Every action, with the groups that it is in.
    pub fn actions(&self) -> Vec<(&str, Vec<String>)> {
        let groups = |action: &Entity| {
            let all = self.schema.action_groups().cloned().collect::<Vec<_>>();
            let known = self.schema.action_entities().expect("the schema's actions");
            let of =
                all.into_iter().filter(|group| known.is_ancestor_of(group, &action.uid()) && *group != action.uid());
            let mut names: Vec<_> = of.map(|group| group.id().unescaped().to_owned()).collect();
            names.sort();
            names
        };
        let methods = self.actions.values().filter(|action| !self.schema.action_groups().any(|g| *g == action.uid()));
        methods
            .map(|action| (self.actions.get_key_value(&method(action)).expect("its own").0.as_str(), groups(action)))
            .collect()
    }

    /// Fails where the question is not one that the schema has.
    pub fn check(&self, ask: &Ask<'_>, known: &Known) -> Result<(), Fault> {
        let (request, entities) = self.put(ask, known, true)?;
        let part = |part: Option<&EntityUid>| part.cloned().ok_or("a part is missing");
        let context = context(ask)?;
        let (principal, resource) = (part(request.principal())?, part(request.resource())?);
        Request::new(principal, part(request.action())?, resource, context, Some(&self.schema))?;
        Entities::from_entities(entities, Some(&self.schema))?;
        Ok(())
    }
}

fn context(ask: &Ask<'_>) -> Result<Context, Fault> {
    let scopes = RestrictedExpression::new_set(ask.scopes.iter().map(|scope| text(scope)));
    let mut pairs = vec![("scopes".to_owned(), scopes), ("proof".to_owned(), text(ask.caller.principal.proof()))];
    if let Some(source) = ask.source {
        // An IPv4 caller of a listener for both is `::ffff:192.0.2.1`, and no policy that names 192.0.2.0/24 would mean it.
        let source = RestrictedExpression::new_ip(source.to_canonical().to_string());
        pairs.push(("source".to_owned(), source));
    }
    Ok(Context::from_pairs(pairs)?)
}

fn tags(labels: Option<&dyn Labelled>) -> Vec<(String, RestrictedExpression)> {
    let labels = labels.map(Labelled::labels).into_iter().flatten();
    labels.map(|(key, value)| (key.clone(), text(value))).collect()
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

fn id(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn method(action: &Entity) -> String {
    action.uid().id().unescaped().to_owned()
}
