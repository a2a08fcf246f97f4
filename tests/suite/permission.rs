//! Policies in a running daemon: what it starts with, what it takes when they change, and streams that outlive a permission.

mod explained;
mod streams;

use std::path::Path;
use std::time::Duration;

use keyward::config::Config;
use keyward::proto;
use tonic::Code;

use crate::harness::{Binary, Daemon, folder, refusal};

/// Looks for changes as often as a configuration may ask for.
pub fn with_policies(path: &Path) -> impl FnOnce(&mut Config) {
    let path = path.to_owned();
    |config| {
        config.permission.policies = Some(path);
        config.permission.reload_interval = Duration::from_millis(100);
    }
}

async fn get_tenant(daemon: &Daemon, name: &str) -> Result<proto::Tenant, tonic::Status> {
    let request = proto::GetTenantRequest { name: name.to_owned() };
    Ok(daemon.tenants().get_tenant(request).await?.into_inner())
}

/// Looks until it is so.
pub async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let mut looks = crate::harness::pauses(Duration::from_millis(20));
    let end = async {
        while !is_so().await {
            looks.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), end).await.expect("it comes to be so");
}

const NO_READS: &str = "@id(\"closed\")\nforbid (principal, action in Keyward::Action::\"reads\", resource);\n";

#[tokio::test]
async fn changed_policies_are_taken_and_bad_ones_are_not() {
    let (_folder, path) = folder();
    std::fs::write(path.join("one.cedar"), "permit (principal in Keyward::Role::\"verifier\", action, resource);")
        .expect("written");
    let daemon = Daemon::start_at_rest_with(with_policies(&path)).await.0;
    daemon.create_tenant("acme").await;
    get_tenant(&daemon, "tenants/acme").await.expect("an operator");

    std::fs::write(path.join("two.cedar"), NO_READS).expect("written");
    until(async || get_tenant(&daemon, "tenants/acme").await.is_err()).await;
    let refused = refusal(get_tenant(&daemon, "tenants/acme").await);
    assert_eq!(refused, (Code::PermissionDenied, "PERMISSION_DENIED".to_owned()));

    // What forbids is taken away while something else is wrong, so it still forbids.
    std::fs::write(path.join("one.cedar"), "permit (principal, action, resource").expect("written");
    std::fs::remove_file(path.join("two.cedar")).expect("removed");
    std::fs::write(path.join("three.cedar"), "").expect("written");
    let mut looks = crate::harness::pauses(Duration::from_millis(100));
    for _ in 0..10 {
        looks.tick().await;
        refusal(get_tenant(&daemon, "tenants/acme").await);
    }
    std::fs::write(path.join("one.cedar"), "permit (principal, action, resource);").expect("written");
    until(async || get_tenant(&daemon, "tenants/acme").await.is_ok()).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_change_and_why_it_was_refused_are_in_the_log() {
    let (_folder, path) = folder();
    let policies = path.join("mine.cedar");
    std::fs::write(&policies, NO_READS).expect("written");
    let broker = Binary::start(serve(&path, &policies).arg("--config").arg(path.join("keyward.toml")));
    std::fs::write(&policies, "\npermit (principal, action, resource) when { principal.name == \"x\" };")
        .expect("written");
    until(async || broker.log().contains("the changed policies are refused; those in force stay")).await;
    std::fs::write(&policies, "forbid (principal, action == Keyward::Action::\"ListPools\", resource);")
        .expect("written");
    until(async || broker.log().contains("changed policies are in force")).await;
    broker.signal("TERM");
    let (status, log) = broker.wait();
    assert!(status.success(), "{log}");
    let refused: Vec<_> = log.lines().filter(|line| line.contains("are refused")).collect();
    let [line] = refused.as_slice() else { panic!("complained {} times:\n{log}", refused.len()) };
    for wanted in ["ERROR", "mine.cedar", "line=2", "name"] {
        assert!(line.contains(wanted), "{wanted:?} is not in {line}");
    }
}

#[test]
fn neither_serve_nor_check_takes_a_bad_policy() {
    let (_folder, path) = folder();
    let policies = path.join("mine.cedar");
    std::fs::write(&policies, "// one\nforbid (principal, action, resource) when { 1 };\n").expect("written");
    for command in ["serve", "check"] {
        let mut command_line = match command {
            "serve" => serve(&path, &policies),
            _ => {
                serve(&path, &policies);
                let mut check = Binary::command();
                check.arg("check");
                check
            }
        };
        let output = command_line.arg("--config").arg(path.join("keyward.toml")).output().expect("keyward runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{command}: {told}");
        assert!(told.contains("permission.policies: ") && told.contains("mine.cedar:2: "), "{command}: {told}");
    }
    std::fs::remove_file(&policies).expect("removed");
    let output = serve(&path, &policies).arg("--config").arg(path.join("keyward.toml")).output().expect("keyward runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("mine.cedar: cannot be read: "), "{output:?}");
}

#[tokio::test]
async fn labels_come_from_the_records() {
    let (_folder, path) = folder();
    let policies = path.join("labels.cedar");
    let text = "permit (principal, action in [Keyward::Action::\"CreateTenant\", Keyward::Action::\"UpdateTenant\"], resource);\n\
                permit (principal, action, resource) when { resource.hasTag(\"env\") && resource.getTag(\"env\") == \"test\" };";
    std::fs::write(&policies, text).expect("written");
    let daemon = Daemon::start_at_rest_with(|config| {
        with_policies(&policies)(config);
        config.permission.replace_defaults = true;
    })
    .await
    .0;
    let denied = async |name: &str| refusal(get_tenant(&daemon, name).await);
    let absent = denied("tenants/acme").await;
    daemon.create_tenant("acme").await;
    assert_eq!(denied("tenants/acme").await, absent);
    for (env, may) in [("test", true), ("prod", false), ("test", true)] {
        let labels = std::collections::BTreeMap::from([("env".to_owned(), env.to_owned())]);
        let tenant = proto::Tenant { name: "tenants/acme".into(), labels, ..Default::default() };
        let request = proto::UpdateTenantRequest { tenant: Some(tenant), ..Default::default() };
        daemon.tenants().update_tenant(request).await.expect("updated");
        assert_eq!(get_tenant(&daemon, "tenants/acme").await.is_ok(), may, "{env}");
    }
    daemon.stop().await;
}

/// A configuration in `path` that works but for its policies, and the command that serves it.
fn serve(path: &Path, policies: &Path) -> std::process::Command {
    let key = path.join("master.key");
    if !key.exists() {
        keyward::embedded::MasterKey::generate_file(&key).expect("a master key");
    }
    let text = format!(
        "listen = \"127.0.0.1:0\"\ndata_dir = {:?}\ncallers.trust_loopback = true\nembedded.master_key_file = {key:?}\n\
         [permission]\npolicies = {policies:?}\nreload_interval = \"100ms\"\n",
        path.join("data")
    );
    std::fs::write(path.join("keyward.toml"), text).expect("written");
    let mut command = Binary::command();
    command.arg("serve");
    command
}
