//! `[callers]`: who may call, and what they are to the broker. Files are named here and read by whoever composes the daemon.

use std::path::PathBuf;

use serde::Deserialize;

use super::Config;
use super::setting::{Setting, Value, is_region, text, texts};
use crate::domain::grant::Grant;
use crate::domain::partition::Partition;
use crate::domain::spiffe::TrustDomain;

/// `[callers]`: the ways to prove who one is, all off until they are set, and grants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Callers {
    /// Nobody is told apart: everyone who can connect to the loopback address acts as an operator. Not beside any other way.
    pub trust_loopback: bool,
    /// The user of the process at the other end of a Unix socket is a caller, `unix:1000`.
    pub unix: bool,
    /// A tenant's client is a caller by its own app client id and secret (HTTP Basic).
    pub client_secrets: bool,
    pub aws: CallersAws,
    /// At most 64.
    pub spiffe: Vec<SpiffeDomain>,
    /// At most 64.
    pub issuer: Vec<TokenIssuer>,
    /// At most 1,000.
    pub grant: Vec<CallerGrant>,
}

/// `[callers.aws]`: AWS identities, by a presigned request for `GetCallerIdentity`. Off unless `accounts` has one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallersAws {
    /// What `x-keyward-broker` must say, which is signed: a name that no other broker has.
    pub broker_id: String,
    /// Accounts whose identities are believed, 12 digits each.
    pub accounts: Vec<String>,
    /// Regions whose STS may be asked.
    pub regions: Vec<String>,
    /// In place of `https://sts.<region>.amazonaws.com`. Plain `http` for loopback alone.
    pub endpoint: String,
}

/// `[[callers.spiffe]]`: a trust domain whose SVIDs are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpiffeDomain {
    pub trust_domain: String,
    /// The authorities of its X.509-SVIDs, in PEM. Absent: those of `tls.client_ca_file`, which only a single trust domain may
    /// have. Read anew as the files of `[tls]` are.
    pub x509_bundle_file: Option<PathBuf>,
    /// The keys of its JWT-SVIDs; not beside `jwt_bundle_url`. Neither: no JWT-SVIDs of this domain.
    pub jwt_bundle_file: Option<PathBuf>,
    pub jwt_bundle_url: Option<String>,
    /// What the `aud` of its JWT-SVIDs must have.
    pub audience: String,
    /// CA certificates in PEM for the URL, in place of the well-known ones.
    pub ca_file: Option<PathBuf>,
}

/// `[[callers.issuer]]`: an issuer whose JWTs are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenIssuer {
    /// Its `iss`, byte for byte.
    pub issuer: String,
    /// What `aud` must have.
    pub audience: String,
    /// Where its keys are; not beside `jwks_file`. Neither: where its discovery document says.
    pub jwks_url: Option<String>,
    pub jwks_file: Option<PathBuf>,
    /// CA certificates in PEM for its URLs, in place of the well-known ones.
    pub ca_file: Option<PathBuf>,
    /// A file with a token that is shown at its URLs, as Kubernetes' API server asks for.
    pub token_file: Option<PathBuf>,
}

/// `[[callers.grant]]`: what the principals of a pattern are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallerGrant {
    /// A principal as audit events have it, with `{tenant}`, `{client}` and, at the very end, `*`.
    pub caller: String,
    /// `operator` or `verifier`.
    pub role: Option<String>,
    pub tenant: Option<String>,
    pub client: Option<String>,
}

impl CallerGrant {
    /// Fails with the key at fault and what is wrong with it.
    pub fn read(&self) -> Result<Grant, (&'static str, &'static str)> {
        Grant::new(&self.caller, self.role.as_deref(), self.tenant.as_deref(), self.client.as_deref())
    }
}

/// A list of tables, each with its keys: for what has no default.
pub(super) struct List {
    pub key: &'static str,
    pub tables: Vec<Vec<(&'static str, Value)>>,
}

const MAX_TRUSTED: usize = 64;
const MAX_GRANTS: usize = 1_000;
const URL: &str = "must be an https URL of at most 200 characters; http is for loopback alone";
const TEXT: &str = "must be 1 to 200 printable ASCII characters without spaces";

impl Config {
    /// Whether anybody could prove who they are.
    fn callers_can_prove(&self) -> bool {
        let callers = &self.callers;
        let by_token = !callers.spiffe.is_empty() || !callers.issuer.is_empty() || !callers.aws.accounts.is_empty();
        let by_certificate = self.asks_for_certificates();
        callers.unix || callers.client_secrets || by_token || by_certificate
    }

    /// What keeps callers from being told apart, and the key at fault.
    pub(super) fn problem_of_callers(&self) -> Option<(String, String)> {
        let callers = &self.callers;
        let found = |key: String, problem: &str| Some((key, problem.to_owned()));
        match (callers.trust_loopback, self.callers_can_prove()) {
            (false, false) => {
                let why = "nobody could call: name a way in (tls.client_ca_file, callers.unix, callers.client_secrets, [[callers.spiffe]], \
                           [[callers.issuer]], [callers.aws]), or set this to true, and everyone who can connect to the \
                           loopback address acts as an operator";
                return found("callers.trust_loopback".to_owned(), why);
            }
            (true, true) => {
                let why = "must not be true beside another way in: everyone would be an operator, whatever they prove";
                return found("callers.trust_loopback".to_owned(), why);
            }
            (true, false) | (false, true) => {}
        }
        let lengths = [
            ("callers.spiffe", callers.spiffe.len(), MAX_TRUSTED),
            ("callers.issuer", callers.issuer.len(), MAX_TRUSTED),
            ("callers.grant", callers.grant.len(), MAX_GRANTS),
        ];
        for (key, length, most) in lengths {
            if length > most {
                return found(key.to_owned(), &format!("must be at most {most}"));
            }
        }
        if let Some((key, problem)) = callers.aws.problem() {
            return found(format!("callers.aws.{key}"), problem);
        }
        for (at, domain) in callers.spiffe.iter().enumerate() {
            let is_again = callers.spiffe[..at].iter().any(|other| other.trust_domain == domain.trust_domain);
            let problem = domain.problem().or(is_again.then_some(("trust_domain", AGAIN)));
            if let Some((key, problem)) = problem.or_else(|| self.problem_of_bundle(domain)) {
                return found(format!("callers.spiffe[{at}].{key}"), problem);
            }
        }
        for (at, issuer) in callers.issuer.iter().enumerate() {
            let is_again = callers.issuer[..at].iter().any(|other| other.issuer == issuer.issuer);
            if let Some((key, problem)) = issuer.problem().or(is_again.then_some(("issuer", AGAIN))) {
                return found(format!("callers.issuer[{at}].{key}"), problem);
            }
        }
        for (at, grant) in callers.grant.iter().enumerate() {
            if let Err((key, problem)) = grant.read() {
                return found(format!("callers.grant[{at}].{key}"), problem);
            }
        }
        None
    }
}

impl Config {
    fn problem_of_bundle(&self, domain: &SpiffeDomain) -> Problem {
        let (is_set, is_one_of_several) = (domain.x509_bundle_file.is_some(), self.callers.spiffe.len() > 1);
        if is_set && !self.has_tls() {
            return Some(("x509_bundle_file", "needs tls.certificate_file: without TLS nobody shows a certificate"));
        }
        let why = "must be set, since there is more than one trust domain: the authorities of one must not name \
                   workloads of another";
        (!is_set && is_one_of_several && self.asks_for_certificates()).then_some(("x509_bundle_file", why))
    }
}

const AGAIN: &str = "must be there once";

type Problem = Option<(&'static str, &'static str)>;

impl CallersAws {
    fn problem(&self) -> Problem {
        let is_used = !self.accounts.is_empty();
        if !is_used && *self != CallersAws::default() {
            return Some(("accounts", "must have an account, since other keys of [callers.aws] are set"));
        }
        if is_used && !is_plain(&self.broker_id) {
            return Some(("broker_id", TEXT));
        }
        if is_used && self.regions.is_empty() {
            return Some(("regions", "must have a Region whose STS may be asked"));
        }
        if self.regions.iter().any(|region| Partition::of(region).is_none()) {
            return Some(("regions", "must each be a Region of a partition whose names are public"));
        }
        (!self.endpoint.is_empty() && !is_url(&self.endpoint)).then_some(("endpoint", URL))
    }
}

impl SpiffeDomain {
    fn problem(&self) -> Problem {
        if TrustDomain::parse(&self.trust_domain).is_none() {
            return Some(("trust_domain", "must be 1 to 255 characters of [a-z0-9._-]"));
        }
        let has_keys = self.jwt_bundle_file.is_some() || self.jwt_bundle_url.is_some();
        if self.jwt_bundle_file.is_some() && self.jwt_bundle_url.is_some() {
            return Some(("jwt_bundle_url", "must not be set beside jwt_bundle_file"));
        }
        if self.jwt_bundle_url.as_ref().is_some_and(|url| !is_url(url)) {
            return Some(("jwt_bundle_url", URL));
        }
        if has_keys && !is_plain(&self.audience) {
            return Some(("audience", TEXT));
        }
        if !has_keys && !self.audience.is_empty() {
            return Some(("audience", "is for JWT-SVIDs, whose jwt_bundle_file or jwt_bundle_url is not set"));
        }
        (self.ca_file.is_some() && self.jwt_bundle_url.is_none())
            .then_some(("ca_file", "is for jwt_bundle_url, which is not set"))
    }
}

impl TokenIssuer {
    fn problem(&self) -> Problem {
        // What has no URL of its own is asked for at the issuer's.
        let is_discovered = self.jwks_url.is_none() && self.jwks_file.is_none();
        if !is_plain(&self.issuer) || self.issuer.contains('#') || (is_discovered && !is_url(&self.issuer)) {
            return Some((
                "issuer",
                "must be 1 to 200 printable ASCII characters without spaces and #, and an https URL \
                                    where neither jwks_url nor jwks_file is set",
            ));
        }
        if !is_plain(&self.audience) {
            return Some(("audience", TEXT));
        }
        if self.jwks_url.is_some() && self.jwks_file.is_some() {
            return Some(("jwks_url", "must not be set beside jwks_file"));
        }
        if self.jwks_url.as_ref().is_some_and(|url| !is_url(url)) {
            return Some(("jwks_url", URL));
        }
        if self.jwks_file.is_some() && self.ca_file.is_some() {
            return Some(("ca_file", "is for URLs, and the keys are in a file"));
        }
        (self.jwks_file.is_some() && self.token_file.is_some())
            .then_some(("token_file", "is for URLs, and the keys are in a file"))
    }
}

fn is_plain(text: &str) -> bool {
    (1..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte))
}

/// HTTPS, or HTTP to this machine, without user information, query or fragment.
fn is_url(url: &str) -> bool {
    let (rest, is_plain_http) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (rest, false),
        (None, Some(rest)) => (rest, true),
        (None, None) => return false,
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let is_loopback = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    is_plain(url) && !url.contains(['?', '#', '@']) && !host.is_empty() && (!is_plain_http || is_loopback)
}

/// Every key of the section that is not in a list, in the order in which they are explained.
pub(super) fn settings(callers: &Callers) -> Vec<Setting> {
    let flag = |key, flag, about| Setting::new(key, Value::Flag(flag), about);
    let aws = &callers.aws;
    vec![
        flag(
            "callers.trust_loopback",
            callers.trust_loopback,
            "Every caller acts as an operator; not beside any other way in",
        ),
        flag("callers.unix", callers.unix, "The user at the other end of a Unix socket is a caller, unix:1000"),
        flag(
            "callers.client_secrets",
            callers.client_secrets,
            "A tenant's client is a caller by its app client id and secret, by HTTP Basic",
        ),
        Setting::new(
            "callers.aws.broker_id",
            text(&aws.broker_id),
            "What the signed header x-keyward-broker must say; no other broker's name",
        ),
        Setting::new("callers.aws.accounts", texts(&aws.accounts), "AWS accounts whose identities are believed").each(
            "12 digits",
            1_000,
            |account| account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()),
        ),
        Setting::new("callers.aws.regions", texts(&aws.regions), "Regions whose STS may be asked").each(
            "an AWS Region such as eu-central-1",
            40,
            is_region,
        ),
        Setting::new("callers.aws.endpoint", text(&aws.endpoint), "In place of STS's own, for tests; empty for that"),
    ]
}

/// The section's lists, as they are set.
pub(super) fn lists(callers: &Callers) -> [List; 3] {
    let file = |path: &Option<PathBuf>| path.as_ref().map_or(Value::Unset, |path| text(path.display()));
    let maybe = |value: &Option<String>| value.as_ref().map_or(Value::Unset, text);
    let some = |value: &str| if value.is_empty() { Value::Unset } else { text(value) };
    let spiffe = callers.spiffe.iter().map(|domain| {
        vec![
            ("trust_domain", text(&domain.trust_domain)),
            ("x509_bundle_file", file(&domain.x509_bundle_file)),
            ("jwt_bundle_file", file(&domain.jwt_bundle_file)),
            ("jwt_bundle_url", maybe(&domain.jwt_bundle_url)),
            ("audience", some(&domain.audience)),
            ("ca_file", file(&domain.ca_file)),
        ]
    });
    let issuer = callers.issuer.iter().map(|issuer| {
        vec![
            ("issuer", text(&issuer.issuer)),
            ("audience", text(&issuer.audience)),
            ("jwks_url", maybe(&issuer.jwks_url)),
            ("jwks_file", file(&issuer.jwks_file)),
            ("ca_file", file(&issuer.ca_file)),
            ("token_file", file(&issuer.token_file)),
        ]
    });
    let grant = callers.grant.iter().map(|grant| {
        vec![
            ("caller", text(&grant.caller)),
            ("role", maybe(&grant.role)),
            ("tenant", maybe(&grant.tenant)),
            ("client", maybe(&grant.client)),
        ]
    });
    [
        List { key: "callers.spiffe", tables: spiffe.collect() },
        List { key: "callers.issuer", tables: issuer.collect() },
        List { key: "callers.grant", tables: grant.collect() },
    ]
}
