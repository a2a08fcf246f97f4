//! Resource servers and their scopes.

use serde_json::{Value, json};

use super::world::{ApiError, Ask, OperationResult, World, page, with_next};

pub fn create(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let ceiling = world.ceilings.resource_servers;
    let pool = world.pool_of(ask)?;
    let identifier = ask.text("Identifier");
    if pool.resource_servers.contains_key(identifier) {
        let text = format!("{identifier} already exists in user pool {}.", pool.id);
        return Err(ApiError::invalid(text));
    }
    if pool.resource_servers.len() >= ceiling {
        return Err(ApiError::new("LimitExceededException", "The maximum number of resource servers is reached"));
    }
    put(world, ask)
}

/// What is not given becomes what it is by default: no scopes.
pub fn update(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    find(world, ask)?;
    put(world, ask)
}

fn put(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let server = json!({
        "UserPoolId": ask.input["UserPoolId"],
        "Identifier": ask.input["Identifier"],
        "Name": ask.input["Name"],
        "Scopes": ask.input.get("Scopes").cloned().unwrap_or(json!([])),
    });
    world.pool_of(ask)?.resource_servers.insert(ask.text("Identifier").to_owned(), server.clone());
    Ok(json!({ "ResourceServer": server }))
}

pub fn describe(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    Ok(json!({ "ResourceServer": find(world, ask)? }))
}

pub fn delete(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    find(world, ask)?;
    world.pool_of(ask)?.resource_servers.remove(ask.text("Identifier"));
    Ok(json!({}))
}

pub fn list(world: &mut World, ask: &Ask<'_>) -> OperationResult {
    let items = world.pool_of(ask)?.resource_servers.clone().into_iter();
    let (items, next) = page(items, ask.given("NextToken"), ask.input.get("MaxResults"), 50)?;
    Ok(with_next(json!({ "ResourceServers": items }), next))
}

fn find(world: &mut World, ask: &Ask<'_>) -> Result<Value, ApiError> {
    let identifier = ask.text("Identifier");
    let found = world.pool_of(ask)?.resource_servers.get(identifier).cloned();
    found.ok_or_else(|| ApiError::not_found(format!("Resource server {identifier} does not exist.")))
}
