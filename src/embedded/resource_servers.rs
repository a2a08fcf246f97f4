//! The resource servers and scopes of a pool, inside one transaction of the caller's.

use rusqlite::{Transaction, params};

use super::store::Failure;
use crate::broker::ports::Fault;
use crate::domain::id::UserPoolId;
use crate::domain::scope::{Identifier, MAX_RESOURCE_SERVERS, ResourceServer, Scope};

pub(super) fn no_pool(user_pool: &UserPoolId) -> Failure {
    Failure::told(Fault::NotFound, format!("there is no user pool {user_pool}"))
}

/// Fails with NotFound unless the pool is there.
pub(super) fn require_pool(tx: &Transaction<'_>, user_pool: &UserPoolId) -> Result<(), Failure> {
    let found = tx.prepare_cached("SELECT 1 FROM user_pools WHERE id = ?1")?.exists([user_pool.as_str()])?;
    if found { Ok(()) } else { Err(no_pool(user_pool)) }
}

pub(super) fn put(tx: &Transaction<'_>, user_pool: &UserPoolId, server: &ResourceServer) -> Result<(), Failure> {
    require_pool(tx, user_pool)?;
    let (pool, identifier) = (user_pool.as_str(), server.identifier.as_str());
    let sql = "SELECT count(*) FROM resource_servers WHERE user_pool = ?1 AND identifier <> ?2";
    let others: usize = tx.query_row(sql, [pool, identifier], |row| row.get(0))?;
    if others >= MAX_RESOURCE_SERVERS {
        let detail = format!("{user_pool} has {MAX_RESOURCE_SERVERS} resource servers");
        return Err(Failure::told(Fault::LimitExceeded, detail));
    }
    let sql = "INSERT INTO resource_servers (user_pool, identifier, display_name) VALUES (?1, ?2, ?3)
               ON CONFLICT DO UPDATE SET display_name = excluded.display_name";
    tx.execute(sql, [pool, identifier, &server.display_name])?;
    tx.execute("DELETE FROM scopes WHERE user_pool = ?1 AND identifier = ?2", [pool, identifier])?;
    for definition in &server.scopes {
        let scope = Scope::of(&server.identifier, &definition.scope_name);
        let sql = "INSERT INTO scopes (user_pool, scope, identifier, description) VALUES (?1, ?2, ?3, ?4)";
        tx.prepare_cached(sql)?.execute([pool, scope.as_str(), identifier, &definition.description])?;
    }
    Ok(())
}

/// Whether a resource server of the pool defines the scope now.
pub(super) fn defines(tx: &Transaction<'_>, user_pool: &UserPoolId, scope: &Scope) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM scopes WHERE user_pool = ?1 AND scope = ?2";
    tx.prepare_cached(sql)?.exists([user_pool.as_str(), scope.as_str()])
}

pub(super) fn list(tx: &Transaction<'_>, user_pool: &UserPoolId) -> Result<Vec<Identifier>, Failure> {
    require_pool(tx, user_pool)?;
    let sql = "SELECT identifier FROM resource_servers WHERE user_pool = ?1 ORDER BY identifier";
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map([user_pool.as_str()], |row| row.get::<_, String>(0))?;
    let parse = |row: rusqlite::Result<String>| {
        Identifier::parse("identifier", &row?).map_err(|_| Failure::broken("identifier"))
    };
    rows.map(parse).collect()
}

/// Deleting one that is gone succeeds.
pub(super) fn delete(tx: &Transaction<'_>, user_pool: &UserPoolId, identifier: &Identifier) -> Result<(), Failure> {
    let sql = "DELETE FROM resource_servers WHERE user_pool = ?1 AND identifier = ?2";
    tx.execute(sql, params![user_pool.as_str(), identifier.as_str()])?;
    Ok(())
}
