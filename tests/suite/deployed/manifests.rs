//! The units of systemd and the manifests of Kubernetes agree with the daemon that they run. That they are right by
//! themselves is for systemd-analyze, kustomize and kubernetes-validate to say, which `.ci/run` asks.

use std::path::Path;
use std::time::Duration;

use keyward::config::{Backend, Config};
use keyward::daemon;
use keyward::net::Address;

const UNIT: &str = include_str!("../../../deploy/systemd/keyward.service");
const SOCKET: &str = include_str!("../../../deploy/systemd/keyward.socket");
const DEPLOYMENT: &str = include_str!("../../../deploy/kubernetes/base/deployment.yaml");
const BASE: &str = include_str!("../../../deploy/kubernetes/base/keyward.toml");
const UNDER_SYSTEMD: &str = include_str!("../../../deploy/systemd/keyward.toml");
const SIDECAR: &str = include_str!("../../../deploy/kubernetes/sidecar/component/sidecar.yaml");
const BESIDE: &str = include_str!("../../../deploy/kubernetes/sidecar/component/keyward.toml");
const SERVICE_BESIDE: &str = include_str!("../../../deploy/kubernetes/sidecar/example/gateway.yaml");

/// What Kubernetes gives a pod that says nothing else.
const USUAL_GRACE: u64 = 30;

fn config(text: &str) -> Config {
    Config::parse(text, Path::new("keyward.toml")).unwrap_or_else(|error| panic!("{error}"))
}

/// The values of a key, in the order in which they are there.
fn values<'t>(text: &'t str, key: &'t str) -> impl Iterator<Item = &'t str> {
    text.lines().filter_map(move |line| {
        let rest = line.trim_start().trim_start_matches("- ").strip_prefix(key)?;
        Some(rest.split(" #").next().unwrap_or_default().trim())
    })
}

fn number(text: &str, key: &str) -> u64 {
    let value = values(text, key).next().unwrap_or_else(|| panic!("there is no {key}"));
    value.trim_end_matches('s').parse().unwrap_or_else(|_| panic!("{key} {value} is no number"))
}

fn ports(config: &Config) -> Vec<String> {
    let of_listen = config.listen.0.iter().filter_map(|address| match address {
        Address::Tcp(address) => Some(address.port()),
        Address::Unix(_) => None,
    });
    of_listen.chain(config.status.listen.map(|address| address.port())).map(|port| port.to_string()).collect()
}

#[test]
fn a_pod_has_as_long_to_end_as_the_daemon_takes() {
    let pause = number(DEPLOYMENT, "seconds:");
    let takes = Duration::from_secs(pause) + daemon::longest_stop(&config(BASE));
    assert_eq!(Duration::from_secs(number(DEPLOYMENT, "terminationGracePeriodSeconds:")), takes);
    // A service that ends at once leaves the whole of it.
    assert!(daemon::longest_stop(&config(BESIDE)) <= Duration::from_secs(USUAL_GRACE));
}

#[test]
fn systemd_waits_as_long_as_a_daemon_takes_that_says_nothing() {
    let takes = daemon::longest_stop(&config(UNDER_SYSTEMD));
    assert!(Duration::from_secs(number(UNIT, "TimeoutStopSec=")) >= takes);
    assert_eq!(values(UNIT, "Type=").next(), Some("notify"));
    assert!(number(UNIT, "WatchdogSec=") >= 10, "a busy machine would have it killed");
}

#[test]
fn ports_folders_and_files_are_those_of_the_configuration() {
    let base = config(BASE);
    assert_eq!(values(DEPLOYMENT, "containerPort:").collect::<Vec<_>>(), ports(&base));
    let beside = config(BESIDE);
    assert_eq!(values(SIDECAR, "containerPort:").collect::<Vec<_>>(), ports(&beside));
    for (manifest, config) in [(DEPLOYMENT, &base), (SIDECAR, &beside)] {
        let folders: Vec<_> = values(manifest, "mountPath:").map(Path::new).collect();
        assert!(folders.contains(&config.data_dir.as_path()), "nothing can be written at {:?}", config.data_dir);
        for file in [&config.tls.certificate_file, &config.tls.key_file].into_iter().flatten() {
            assert!(folders.contains(&file.parent().expect("a folder")), "{file:?} is mounted nowhere");
        }
        assert!(manifest.contains("args: [serve, --config, /etc/keyward/keyward.toml]"));
        assert!(folders.contains(&Path::new("/etc/keyward")));
        assert_eq!(config.backend, Backend::Aws);
        assert!(
            config.registry.table.is_some() && config.registry.token_key_kms.is_some(),
            "several brokers need both"
        );
    }
    for address in &beside.listen.0 {
        let Address::Unix(path) = address else { panic!("{address} can be reached from elsewhere") };
        let folder = path.parent().expect("a folder").to_str().expect("UTF-8");
        assert!(values(SERVICE_BESIDE, "mountPath:").any(|mounted| mounted == folder), "the service does not reach it");
    }
    let user = values(SERVICE_BESIDE, "runAsUser:").next().expect("a user");
    assert!(beside.callers.grant.iter().any(|grant| grant.caller == format!("unix:{user}")), "it may do nothing");
}

#[test]
fn what_systemd_listens_on_is_in_the_configuration_and_what_it_hands_over_is_where_that_looks() {
    let config = config(UNDER_SYSTEMD);
    let sockets = values(SOCKET, "ListenStream=").map(|address| address.parse::<Address>().expect("an address"));
    assert_eq!(sockets.collect::<Vec<_>>(), config.listen.0);
    let handed = values(UNIT, "LoadCredential=").map(|credential| credential.split(':').next().unwrap_or_default());
    let handed: Vec<_> = handed.map(|name| format!("/run/credentials/keyward.service/{name}")).collect();
    let key = config.embedded.master_key_file.as_ref().expect("a master key").to_str().expect("UTF-8");
    assert_eq!(handed, [key]);
    let state = format!("/var/lib/{}", values(UNIT, "StateDirectory=").next().expect("a folder"));
    assert_eq!(config.data_dir, Path::new(&state));
    let log = config.audit.file.as_ref().expect("an audit file");
    let logs = format!("/var/log/{}", values(UNIT, "LogsDirectory=").next().expect("a folder"));
    assert_eq!(log.parent(), Some(Path::new(&logs)));
}

#[test]
fn nobody_is_root_and_nothing_can_be_written_but_what_is_mounted() {
    for manifest in [DEPLOYMENT, SIDECAR, SERVICE_BESIDE] {
        let containers = manifest.matches("image:").count();
        for line in ["allowPrivilegeEscalation: false", "readOnlyRootFilesystem: true", "drop: [ALL]", "memory:"] {
            assert!(manifest.matches(line).count() >= containers, "{line}");
        }
        assert!(manifest.contains("runAsNonRoot: true") && manifest.contains("type: RuntimeDefault"));
        assert!(values(manifest, "runAsUser:").all(|user| user != "0"));
    }
}
