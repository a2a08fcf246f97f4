//! `listen`, `[tls]` and `[limits]`: how connections come in, and the limits of each key.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::Config;
use super::setting::{DAY, HOUR, MILLI, MINUTE, SECOND, Setting, Value, count, period, size, text, texts};
use crate::domain::id::TenantId;
use crate::net::Address;

/// More is a mistake.
const MAX_ADDRESSES: usize = 8;
/// Each is a series more at whoever collects the metrics.
const MAX_TOLD_TENANTS: usize = 100;

/// Where gRPC is served: one address, or a list of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen(pub Vec<Address>);

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "must be an address or a list of addresses")]
        enum Written {
            One(String),
            Several(Vec<String>),
        }
        let written = match Written::deserialize(deserializer)? {
            Written::One(address) => vec![address],
            Written::Several(addresses) => addresses,
        };
        let read = written.iter().map(|address| address.parse()).collect::<Result<Vec<Address>, _>>();
        read.map(Listen).map_err(serde::de::Error::custom)
    }
}

/// `[status]`: what the daemon tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Status {
    /// Where `/metrics`, `/livez` and `/readyz` are served over plain HTTP, to whoever can reach it. Absent: nowhere.
    pub listen: Option<SocketAddr>,
    /// Tenants that are told of by name there: at most 100. Of all others only sums are.
    pub tenants: Vec<String>,
}

impl Status {
    /// Those that are to be told of. Each has the form of a tenant's id, or there would be no configuration.
    pub fn told_tenants(&self) -> Vec<TenantId> {
        self.tenants.iter().filter_map(|id| TenantId::parse("status.tenants", id).ok()).collect()
    }
}

/// `[tls]`: with it, TCP speaks TLS. A Unix socket never does.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The server's certificate chain in PEM, its own first. Absent, as the key: no TLS.
    pub certificate_file: Option<PathBuf>,
    /// Its key in PEM, which others may not read.
    pub key_file: Option<PathBuf>,
    /// The authorities of clients' certificates, in PEM, but for those of trust domains that have a file of their own. With
    /// neither, clients are not asked for certificates.
    pub client_ca_file: Option<PathBuf>,
    pub client_certificates: Demand,
    pub min_version: MinVersion,
    /// How often the files are looked at for changes: 1 s to 1 h.
    #[serde(with = "humantime_serde")]
    pub reload_interval: Duration,
}

impl Default for Tls {
    fn default() -> Self {
        Tls {
            certificate_file: None,
            key_file: None,
            client_ca_file: None,
            client_certificates: Demand::default(),
            min_version: MinVersion::default(),
            reload_interval: 10 * SECOND,
        }
    }
}

/// Whether a client must show a certificate. One that is shown must be good in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Demand {
    #[default]
    Optional,
    Required,
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum MinVersion {
    #[serde(rename = "1.2")]
    Tls12,
    #[default]
    #[serde(rename = "1.3")]
    Tls13,
}

/// `[limits]`: what connections and callers may take.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections at a time, those in their handshake included: 1 to 1,000,000. Of OAuth 2.0's front as many again.
    pub max_connections: usize,
    /// From a connection's beginning to its first HTTP/2 frame; with HTTP/1.1 also the head of a request, and its body: 100 ms to
    /// 1 min.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// How long a connection may have no call under way: 1 s to 1 d.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// The headers of one call, in bytes: 4,096 to 262,144.
    pub max_header_bytes: u32,
    /// Calls under way on all connections: 16 to 1,000,000.
    pub max_calls: usize,
    /// Calls of one caller a second: 1 to 1,000,000. A stream counts as one call.
    pub calls_per_second: u32,
    /// How many of them may come at once: 1 to 1,000,000.
    pub calls_burst: u32,
    /// Calls from one source address a second that fail to prove who makes them: 1 to 1,000. Ten seconds' worth of them may
    /// come at once.
    pub failures_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_connections: 4_096,
            handshake_timeout: 10 * SECOND,
            idle_timeout: 5 * MINUTE,
            max_header_bytes: 16_384,
            max_calls: 8_192,
            calls_per_second: 1_000,
            calls_burst: 2_000,
            failures_per_second: 5,
        }
    }
}

/// Every key of `[tls]`, in the order in which they are explained.
pub(super) fn tls(tls: &Tls) -> Vec<Setting> {
    let file = |key, path: &Option<PathBuf>, about| {
        let value = path.as_ref().map_or(Value::Unset, |path| text(path.display()));
        Setting::new(key, value, about).of("a file", |path| !path.is_empty())
    };
    let demand = match tls.client_certificates {
        Demand::Optional => "optional",
        Demand::Required => "required",
    };
    let min_version = match tls.min_version {
        MinVersion::Tls12 => "1.2",
        MinVersion::Tls13 => "1.3",
    };
    vec![
        file(
            "tls.certificate_file",
            &tls.certificate_file,
            "The server's certificate chain in PEM; with it TCP speaks TLS",
        ),
        file("tls.key_file", &tls.key_file, "Its key in PEM, which others may not read"),
        file(
            "tls.client_ca_file",
            &tls.client_ca_file,
            "The authorities of clients' certificates, but for trust domains with their own",
        ),
        Setting::new("tls.client_certificates", text(demand), "Whether clients must show a certificate")
            .of("\"optional\" or \"required\"", |_| true),
        Setting::new("tls.min_version", text(min_version), "The oldest version of TLS that is spoken")
            .of("\"1.2\" or \"1.3\"", |_| true),
        Setting::new(
            "tls.reload_interval",
            period(tls.reload_interval),
            "How often the files are looked at for changes",
        )
        .lasting(SECOND, HOUR),
    ]
}

/// Every key of `[limits]`.
pub(super) fn limits(limits: &Limits) -> Vec<Setting> {
    vec![
        Setting::new("limits.max_connections", size(limits.max_connections), "Connections at a time")
            .within(1, 1_000_000),
        Setting::new(
            "limits.handshake_timeout",
            period(limits.handshake_timeout),
            "From a connection's beginning to its first HTTP/2 frame",
        )
        .lasting(MILLI * 100, MINUTE),
        Setting::new(
            "limits.idle_timeout",
            period(limits.idle_timeout),
            "How long a connection may have no call under way",
        )
        .lasting(SECOND, DAY),
        Setting::new("limits.max_header_bytes", count(limits.max_header_bytes), "The headers of one call, bytes")
            .within(4_096, 262_144),
        Setting::new("limits.max_calls", size(limits.max_calls), "Calls under way on all connections")
            .within(16, 1_000_000),
        Setting::new("limits.calls_per_second", count(limits.calls_per_second), "Calls of each caller a second")
            .within(1, 1_000_000),
        Setting::new("limits.calls_burst", count(limits.calls_burst), "How many of them may come at once")
            .within(1, 1_000_000),
        Setting::new(
            "limits.failures_per_second",
            count(limits.failures_per_second),
            "Calls of each source address that fail to prove who makes them; ten seconds' worth may come at once",
        )
        .within(1, 1_000),
    ]
}

/// As it is written: one address, or a list.
pub(super) fn listen(Listen(addresses): &Listen) -> Setting {
    let written: Vec<String> = addresses.iter().map(Address::to_string).collect();
    let value = match &written[..] {
        [one] => text(one),
        several => texts(several),
    };
    Setting::new("listen", value, "Where gRPC is served; port 0 takes a free one")
        .of("an IP address with a port, or unix: with an absolute path, or a list of them", |_| true)
}

/// Every key of `[status]`.
pub(super) fn status(status: &Status) -> Vec<Setting> {
    let value = status.listen.map_or(Value::Unset, text);
    vec![
        Setting::new("status.listen", value, "Where /metrics, /livez and /readyz are served over plain HTTP")
            .of("an IP address with a port", |_| true),
        Setting::new("status.tenants", texts(&status.tenants), "Tenants whose fetches are told there one by one").each(
            "a tenant's id",
            MAX_TOLD_TENANTS,
            |id| TenantId::parse("status.tenants", id).is_ok(),
        ),
    ]
}

impl Config {
    /// Whether TCP speaks TLS.
    pub fn has_tls(&self) -> bool {
        self.tls.certificate_file.is_some()
    }

    /// Whether clients are asked for certificates.
    pub(super) fn asks_for_certificates(&self) -> bool {
        self.tls.client_ca_file.is_some() || self.callers.spiffe.iter().any(|domain| domain.x509_bundle_file.is_some())
    }

    /// What keeps connections from being safe.
    pub(super) fn problem_of_connections(&self) -> Option<(&'static str, String)> {
        let problem = |key, why: &str| Some((key, why.to_owned()));
        let Config { tls, listen: Listen(addresses), .. } = self;
        if addresses.is_empty() || addresses.len() > MAX_ADDRESSES {
            return Some(("listen", format!("must be 1 to {MAX_ADDRESSES} addresses")));
        }
        match (&tls.certificate_file, &tls.key_file) {
            (Some(_), None) => return problem("tls.key_file", "must be set, since tls.certificate_file is"),
            (None, Some(_)) => return problem("tls.certificate_file", "must be set, since tls.key_file is"),
            (None, None) if tls.client_ca_file.is_some() => {
                return problem(
                    "tls.client_ca_file",
                    "needs tls.certificate_file: without TLS nobody shows a certificate",
                );
            }
            _ => {}
        }
        if tls.client_certificates == Demand::Required && !self.asks_for_certificates() {
            return problem(
                "tls.client_certificates",
                "\"required\" needs tls.client_ca_file or an x509_bundle_file of [[callers.spiffe]]: by whom would they be good?",
            );
        }
        if self.limits.max_calls <= self.limits.max_connections {
            return problem(
                "limits.max_calls",
                "must be above limits.max_connections, so that each connection can have a call",
            );
        }
        if self.oauth.listen.is_some() && !(1..=MAX_ADDRESSES).contains(&self.oauth.addresses().len()) {
            return Some(("oauth.listen", format!("must be 1 to {MAX_ADDRESSES} addresses")));
        }
        let open = [("listen", &addresses[..]), ("oauth.listen", self.oauth.addresses())];
        let open = open.into_iter().find(|(_, addresses)| addresses.iter().any(|address| !address.is_local()));
        if let Some((key, _)) = open.filter(|_| self.callers.trust_loopback) {
            let why = "must be a loopback address, such as 127.0.0.1:7443, or a Unix socket, since \
                       callers.trust_loopback makes everyone who can connect an operator";
            return problem(key, why);
        }
        if let Some((key, _)) = open.filter(|_| !self.has_tls()) {
            let why = "must be a loopback address, such as 127.0.0.1:7443, or a Unix socket, since there is no TLS; \
                       set tls.certificate_file and tls.key_file to be reached from elsewhere";
            return problem(key, why);
        }
        if self.has_tls() && self.callers.trust_loopback {
            let why = "cannot be set together with TLS: everyone who can connect would act as an operator, whatever \
                       they prove";
            return problem("callers.trust_loopback", why);
        }
        None
    }
}
