//! What is known of a user pool once it is made, inside one transaction of the caller's.

use rusqlite::{OptionalExtension as _, Transaction};

use super::store::Failure;
use crate::broker::ports::FoundPool;
use crate::domain::id::{Issuer, PoolId, UserPoolId};
use crate::domain::pool::MadePool;
use crate::domain::tenant::UserPoolSettings;

pub(super) fn find(tx: &Transaction<'_>, id: &PoolId) -> Result<Option<MadePool>, Failure> {
    find_by(tx, "keyward_id", id.as_str())
}

/// `column` is one of the two that are unique, and never comes from outside.
pub(super) fn find_by(tx: &Transaction<'_>, column: &'static str, id: &str) -> Result<Option<MadePool>, Failure> {
    let sql = format!("SELECT id, issuer, region FROM user_pools WHERE {column} = ?1");
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get(2)?));
    let Some((user_pool, issuer, region)) = tx.prepare_cached(&sql)?.query_row([id], row).optional()? else {
        return Ok(None);
    };
    let broken = |_| Failure::broken("user pool");
    Ok(Some(MadePool {
        user_pool: UserPoolId::parse("user_pool", &user_pool).map_err(broken)?,
        region,
        domain: String::new(),
        cname_target: String::new(),
        token_endpoint: format!("{issuer}/oauth2/token"),
        jwks_uri: format!("{issuer}/.well-known/jwks.json"),
        issuer: Issuer::parse("issuer", &issuer).map_err(broken)?,
    }))
}

/// Nobody has an account here.
pub(super) fn look_for(tx: &Transaction<'_>, id: &PoolId) -> Result<Option<FoundPool>, Failure> {
    let Some(made) = find(tx, id)? else { return Ok(None) };
    let is_protected = settings(tx, &made.user_pool)?.is_some_and(|settings| settings.deletion_protection);
    Ok(Some(FoundPool { made, users: 0, is_protected }))
}

pub(super) fn settings(tx: &Transaction<'_>, user_pool: &UserPoolId) -> Result<Option<UserPoolSettings>, Failure> {
    let sql = "SELECT settings FROM user_pools WHERE id = ?1";
    let text: Option<String> = tx.query_row(sql, [user_pool.as_str()], |row| row.get(0)).optional()?;
    text.map(|text| serde_json::from_str(&text).map_err(|_| Failure::broken("user pool's settings"))).transpose()
}
