//! Whether a table is the one that is needed. Asks and changes nothing: no broker ever makes a table.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, IndexStatus, KeySchemaElement, KeyType, ScalarAttributeType, TableDescription, TableStatus,
};

use super::items::{self, DUE, DUE_INDEX, DUE_SHELF, PK, SK};
use super::table::{Table, asking};
use crate::broker::ports::{Fault, PortError};
use crate::domain::form::Form;

/// Why a table cannot be used. Says what is wrong with it, and names the key of the configuration.
#[derive(Debug, thiserror::Error)]
pub enum OpenTableError {
    #[error("registry.table: there is no table {table} in {region}; deploy/cloudformation.yaml makes it")]
    Missing { table: String, region: String },
    #[error(
        "registry.table: the table {table} cannot be used: {problem}; deploy/cloudformation.yaml has what it must be"
    )]
    Unfit { table: String, problem: String },
    #[error(
        "registry.table: records are being brought into the table {0}, and not all are there; let `keyward migrate` come \
         to its end"
    )]
    Unfinished(String),
    #[error(
        "registry.table: the table {table} has records of the form {form}, which a newer Keyward has written; this one \
         reads forms up to {reads}",
        reads = Form::READ
    )]
    NewerForm { table: String, form: Form },
    #[error("registry.table: {0}")]
    Asking(#[from] PortError),
}

pub async fn check(table: &Table) -> Result<(), OpenTableError> {
    let doing = asking("look at the table");
    let request = table.client.describe_table().table_name(&table.name);
    let described = match table.calls.make(doing, &table.region, None, request.send()).await {
        Ok(answer) => answer.table,
        Err(error) if error.is(Fault::NotFound) => None,
        Err(error) => return Err(error.into()),
    };
    let (name, region) = (table.name.clone(), table.region.clone());
    let described = described.ok_or(OpenTableError::Missing { table: name, region })?;
    problem_of(&described).map_err(|problem| OpenTableError::Unfit { table: table.name.clone(), problem })
}

/// Fails where a migration into the table has begun and not come to its end.
pub async fn check_whole(table: &Table) -> Result<(), OpenTableError> {
    let marker = table.get(asking("look for a migration"), items::key(items::MIGRATION, items::MIGRATION)).await?;
    marker.map_or(Ok(()), |_| Err(OpenTableError::Unfinished(table.name.clone())))
}

/// Fails where anything was ever written that this Keyward does not read.
pub async fn check_form(table: &Table) -> Result<(), OpenTableError> {
    let form = table.head(asking("look for newer forms")).await?.form;
    if form.is_read() { Ok(()) } else { Err(OpenTableError::NewerForm { table: table.name.clone(), form }) }
}

/// What of a table is not as it must be.
pub fn problem_of(table: &TableDescription) -> Result<(), String> {
    let is_there = [Some(&TableStatus::Active), Some(&TableStatus::Updating)].contains(&table.table_status());
    if !is_there {
        return Err(format!("it is {}", table.table_status().map_or("in no state", TableStatus::as_str)));
    }
    let attributes = table.attribute_definitions();
    key_problem("it", table.key_schema(), attributes, PK, SK)?;
    let index = table.global_secondary_indexes().iter().find(|index| index.index_name() == Some(DUE_INDEX));
    let index = index.ok_or_else(|| format!("it has no index {DUE_INDEX}"))?;
    let called = format!("its index {DUE_INDEX}");
    key_problem(&called, index.key_schema(), attributes, DUE_SHELF, DUE)?;
    match index.index_status() {
        Some(IndexStatus::Active | IndexStatus::Updating) | None => Ok(()),
        Some(status) => Err(format!("{called} is {status}")),
    }
}

fn key_problem(
    what: &str,
    keys: &[KeySchemaElement],
    attributes: &[AttributeDefinition],
    partition: &str,
    sort: &str,
) -> Result<(), String> {
    for (kind, wanted, called) in [(KeyType::Hash, partition, "partition key"), (KeyType::Range, sort, "sort key")] {
        let found = keys.iter().find(|key| *key.key_type() == kind).map(KeySchemaElement::attribute_name);
        if found != Some(wanted) {
            return Err(format!("{what} has the {called} {}, not {wanted}", found.unwrap_or("none")));
        }
        let kind = attributes.iter().find(|attribute| attribute.attribute_name() == wanted);
        if kind.is_none_or(|attribute| *attribute.attribute_type() != ScalarAttributeType::S) {
            return Err(format!("{what} has a {called} {wanted} that is no text (S)"));
        }
    }
    Ok(())
}
