//! Has a program of any release write a data file, and fill a table, and keeps both as fixtures. To be run once for each
//! release, when asked for: the program is killed while a client is rotated and a tenant is deleted, so that both are under
//! way in what it leaves.
//!
//! ```sh
//! KEYWARD_RECORDED=<the release's program> KEYWARD_RECORD_TO=tests/suite/forms/<date> \
//!     cargo test --test suite -- --ignored forms::recording
//! ```

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use keyward::proto;
use keyward::proto::client_service_client::ClientServiceClient;
use keyward::proto::tenant_service_client::TenantServiceClient;
use keyward::runtime::clock::SystemClock;
use rusqlite::Connection;
use tonic::transport::Channel;

use super::items;
use crate::fake::{Fake, REGION, signing};
use crate::harness::rotations::{eventually, list_rotations, rotate, try_rotate};
use crate::harness::{Binary, claims, create_client, create_tenant, folder, put_orders_api, token, verify};
use crate::peers::Peer;
use crate::registry::between::Between;
use crate::registry::tables::{self, Layout, TABLE};

/// The master key of every fixture, which keeps no secret of anybody.
pub fn write_master_key(file: &Path) {
    std::fs::write(file, base64::engine::general_purpose::STANDARD.encode([7; 32])).expect("written");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).expect("for its owner alone");
}

/// A mutation that was made under this request id: that of the tenant acme.
pub const REQUEST_ID: &str = "before-1";

pub fn create_acme() -> proto::CreateTenantRequest {
    proto::CreateTenantRequest {
        tenant_id: "acme".to_owned(),
        tenant: Some(proto::Tenant {
            isolation: proto::Isolation::AppClient.into(),
            display_name: "Acme".to_owned(),
            labels: [("tier".to_owned(), "gold".to_owned())].into(),
            ..Default::default()
        }),
        request_id: REQUEST_ID.to_owned(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes a fixture of another release's program"]
async fn a_release_writes_a_data_file() {
    let (_folder, path) = folder();
    let (key, data, config) = (path.join("master.key"), path.join("data"), path.join("keyward.toml"));
    write_master_key(&key);
    let text = format!(
        "listen = \"127.0.0.1:0\"\ncallers.trust_loopback = true\ndata_dir = {data:?}\n\
         [embedded]\nmaster_key_file = {key:?}\nlatency = \"100ms\"\n"
    );
    std::fs::write(&config, text).expect("written");
    let broker = start(&config).await;
    let revoked = play(&broker.channel().await).await;
    broker.kill();
    let dump = dump(&Connection::open(data.join("keyward.db")).expect("opened"));
    keep("sql", &dump, &revoked);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes a fixture of another release's program"]
async fn a_release_fills_a_table() {
    let (_folder, path) = folder();
    let fake = Fake::start(Arc::new(SystemClock)).await;
    let between = Between::before(Peer::ministack().await).await;
    tables::make(&between.sdk(), TABLE, Layout::default()).await;
    // Far enough away to be killed in the midst of something.
    between.distance(Duration::from_millis(50));
    let (aws, jwks) = (fake.endpoint(), format!("{}/{{user_pool}}/.well-known/jwks.json", fake.endpoint()));
    let text = format!(
        "listen = \"127.0.0.1:0\"\ncallers.trust_loopback = true\nbackend = \"aws\"\ndata_dir = {:?}\n\
         registry.table = {TABLE:?}\n[aws]\nregion = {REGION:?}\n[aws.endpoints]\ncognito = {aws:?}\n\
         secrets_manager = {aws:?}\ndynamodb = {:?}\ntoken = \"{aws}/oauth2/token\"\njwks = {jwks:?}\n",
        path.join("data"),
        between.endpoint()
    );
    let config = path.join("keyward.toml");
    std::fs::write(&config, text).expect("written");
    let broker = start(&config).await;
    let revoked = play(&broker.channel().await).await;
    broker.kill();
    let mut lines = Vec::new();
    let mut pages = between.sdk().scan().table_name(TABLE).into_paginator().items().send();
    while let Some(item) = pages.next().await {
        lines.push(items::line(&item.expect("read")));
    }
    // Whoever lived then.
    lines.retain(|line| !line.contains("{\"S\":\"member\"}"));
    lines.sort();
    keep("items", &(lines.join("\n") + "\n"), &revoked);
}

async fn start(config: &Path) -> Binary {
    let mut command = Command::new(std::env::var("KEYWARD_RECORDED").expect("the program"));
    command.arg("serve").arg("--config").arg(config).env_remove("RUST_LOG");
    command.env("AWS_ACCESS_KEY_ID", signing::ACCESS_KEY_ID);
    command.env("AWS_SECRET_ACCESS_KEY", signing::SECRET_ACCESS_KEY);
    tokio::task::spawn_blocking(move || Binary::start(&mut command)).await.expect("started")
}

fn keep(kind: &str, fixture: &str, revoked: &str) {
    for part in revoked.split('.') {
        assert!(!fixture.contains(part), "a part of a token is in it");
    }
    let to = std::env::var("KEYWARD_RECORD_TO").expect("the fixture");
    std::fs::write(format!("{to}.{kind}"), fixture).expect("written");
}

/// A token that was revoked.
async fn play(channel: &Channel) -> String {
    let mut tenants = TenantServiceClient::new(channel.clone());
    let mut clients = ClientServiceClient::new(channel.clone());
    put_orders_api(channel).await;
    tenants.create_tenant(create_acme()).await.expect("created");
    create_tenant(channel, "globex", proto::Isolation::UserPool).await;
    create_tenant(channel, "hooli", proto::Isolation::AppClient).await;
    create_tenant(channel, "initech", proto::Isolation::UserPool).await;
    for (tenant, client) in [
        ("acme", "orders"),
        ("acme", "billing"),
        ("globex", "orders"),
        ("hooli", "orders"),
        ("initech", "orders"),
        ("initech", "billing"),
    ] {
        create_client(channel, tenant, client).await;
    }
    let suspend = proto::SuspendTenantRequest { name: "tenants/hooli".to_owned(), ..Default::default() };
    tenants.suspend_tenant(suspend).await.expect("suspended");
    let revoked = token(channel, "tenants/acme/clients/orders").await.expect("a token").access_token;
    verify(channel, &revoked).await;
    let id = claims(&revoked)["jti"].as_str().expect("an id").to_owned();
    let target = Some(proto::revoke_tokens_request::Target::TokenId(id));
    clients.revoke_tokens(proto::RevokeTokensRequest { target, ..Default::default() }).await.expect("revoked");

    // One in its overlap, an app client in its overlap, and one in the midst of it.
    rotate(channel, "tenants/acme/clients/orders").await;
    let replace =
        proto::ReplaceClientRequest { name: "tenants/globex/clients/orders".to_owned(), ..Default::default() };
    clients.replace_client(replace).await.expect("replaced");
    let (rotating, deleting) = (channel.clone(), channel.clone());
    tokio::spawn(async move {
        let name = "tenants/acme/clients/billing".to_owned();
        try_rotate(&rotating, proto::RotateClientSecretRequest { name, ..Default::default() }).await
    });
    tokio::spawn(async move {
        let request = proto::DeleteTenantRequest { name: "tenants/initech".to_owned(), ..Default::default() };
        TenantServiceClient::new(deleting).delete_tenant(request).await
    });
    eventually("both are under way", || async {
        let rotations = list_rotations(channel, "tenants/acme/clients/billing").await;
        let request = proto::GetTenantRequest { name: "tenants/initech".to_owned() };
        let tenant = TenantServiceClient::new(channel.clone()).get_tenant(request).await;
        let is_staged = rotations.first().is_some_and(|rotation| !rotation.steps.is_empty());
        is_staged && tenant.is_ok_and(|tenant| tenant.into_inner().state() == proto::TenantState::Deleting)
    })
    .await;
    revoked
}

/// All of a file as SQL. Records, which are JSON, as text.
fn dump(file: &Connection) -> String {
    let number = |pragma: &str| file.pragma_query_value::<i64, _>(None, pragma, |row| row.get(0)).expect("a number");
    let mut dump = format!(
        "PRAGMA application_id = {};\nPRAGMA user_version = {};\nBEGIN;\n",
        number("application_id"),
        number("user_version")
    );
    let list = |sql: &str| -> Vec<(String, String)> {
        let mut statement = file.prepare(sql).expect("a query");
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("asked");
        rows.collect::<Result<_, _>>().expect("texts")
    };
    let made = "AND name NOT LIKE 'sqlite_%' AND sql IS NOT NULL ORDER BY rootpage";
    let tables = list(&format!("SELECT name, sql FROM sqlite_schema WHERE type = 'table' {made}"));
    for (_, sql) in &tables {
        writeln!(dump, "{sql};").expect("written");
    }
    let of_numbers = ("sqlite_sequence".to_owned(), String::new());
    for (table, _) in tables.iter().chain([&of_numbers]) {
        let columns = list(&format!("SELECT name, type FROM pragma_table_info('{table}')"));
        let value = |(column, _): &(String, String)| match (table.as_str(), column.as_str()) {
            ("records" | "events", "body") => {
                format!("'CAST(' || quote(CAST({column} AS TEXT)) || ' AS BLOB)'")
            }
            _ => format!("quote({column})"),
        };
        let values = columns.iter().map(value).collect::<Vec<_>>().join(" || ',' || ");
        for (row, _) in list(&format!("SELECT {values}, '' FROM {table}")) {
            writeln!(dump, "INSERT INTO {table} VALUES({row});").expect("written");
        }
    }
    for (_, sql) in list(&format!("SELECT name, sql FROM sqlite_schema WHERE type <> 'table' {made}")) {
        writeln!(dump, "{sql};").expect("written");
    }
    dump + "COMMIT;\n"
}
