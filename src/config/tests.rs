use std::path::Path;
use std::time::Duration;

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("keyward.toml"))
}

/// `text` in a file that is otherwise right.
fn refusal(text: &str) -> String {
    let trust = if text.contains("callers") { "" } else { "\n[callers]\ntrust_loopback = true\n" };
    parse(&format!("{text}{trust}")).expect_err(text).to_string()
}

#[test]
fn the_least_file_gives_the_defaults() {
    let config = parse("[callers]\ntrust_loopback = true").expect("valid");
    let defaults = Config { callers: Callers { trust_loopback: true, ..Callers::default() }, ..Config::default() };
    assert_eq!(config, defaults);
    assert_eq!(config.listen, Listen(vec!["127.0.0.1:7443".parse().expect("an address")]));
    assert_eq!(config.audit.retention, Duration::from_secs(400 * 86_400));
}

#[test]
fn periods_are_read_in_words() {
    let config = parse("callers.trust_loopback = true\nrotation.recovery_window = '30d'\njournal.max_retry = '1h 30m'")
        .expect("valid");
    assert_eq!(config.rotation.recovery_window, Duration::from_secs(30 * 86_400));
    assert_eq!(config.journal.max_retry, Duration::from_secs(5_400));
}

#[test]
fn every_bad_key_is_named_with_its_line() {
    let cases = [
        ("listen = '0.0.0.0:7443'", "1: listen: must be a loopback address"),
        ("listen = '[::]:7443'", "1: listen: must be a loopback address"),
        ("listen = ['127.0.0.1:1', '192.0.2.1:1']", "1: listen: must be a loopback address"),
        ("listen = 'localhost'", "1: listen: must be an IP address with a port"),
        ("listen = 'unix:socket'", "1: listen: must have an absolute path"),
        ("listen = []", "1: listen: must be 1 to 8 addresses"),
        ("listen = 7443", "1: listen: must be an address or a list of addresses"),
        (
            "listen = '0.0.0.0:1'\n[callers]",
            "1: listen: must be a loopback address, such as 127.0.0.1:7443, or a Unix socket, since there is no TLS",
        ),
        ("[oauth]\nlisten = '0.0.0.0:1'", "2: oauth.listen: must be a loopback address"),
        ("[oauth]\nlisten = []", "2: oauth.listen: must be 1 to 8 addresses"),
        ("[oauth]\nlisten = 'unix:/x'", " oauth.public_url: must be set, since the first of oauth.listen"),
        ("[oauth]\npublic_url = 'https://a'", "2: oauth.public_url: must not be set without oauth.listen"),
        (
            "oauth.listen = '[::1]:1'\noauth.public_url = 'https://a/b'",
            "2: oauth.public_url: must be https:// and a host",
        ),
        ("[tls]\nkey_file = 'k'", " tls.certificate_file: must be set, since tls.key_file is"),
        ("[tls]\ncertificate_file = 'c'", " tls.key_file: must be set"),
        ("[tls]\nclient_ca_file = 'a'", "2: tls.client_ca_file: needs tls.certificate_file"),
        (
            "[tls]\ncertificate_file = ''\nkey_file = 'k'\n[callers]\nunix = true",
            "2: tls.certificate_file: must be a file",
        ),
        (
            "[tls]\nclient_certificates = 'required'",
            "2: tls.client_certificates: \"required\" needs tls.client_ca_file",
        ),
        (
            "[[callers.spiffe]]\ntrust_domain = 'a.org'\nx509_bundle_file = 'a'",
            "3: callers.spiffe[0].x509_bundle_file: needs tls.certificate_file",
        ),
        (
            "[tls]\ncertificate_file = 'c'\nkey_file = 'k'\nclient_ca_file = 'a'\n[[callers.spiffe]]\n\
             trust_domain = 'a.org'\n[[callers.spiffe]]\ntrust_domain = 'b.org'",
            "5: callers.spiffe[0].x509_bundle_file: must be set, since there is more than one trust domain",
        ),
        (
            "[tls]\ncertificate_file = 'c'\nkey_file = 'k'\n[[callers.spiffe]]\ntrust_domain = 'a.org'\n\
             x509_bundle_file = 'a'\n[[callers.spiffe]]\ntrust_domain = 'b.org'",
            "7: callers.spiffe[1].x509_bundle_file: must be set, since there is more than one trust domain",
        ),
        ("[tls]\nclient_certificates = 'maybe'", "2: tls.client_certificates: unknown variant"),
        ("[tls]\nmin_version = '1.1'", "2: tls.min_version: unknown variant"),
        ("[tls]\nreload_interval = '0s'", "2: tls.reload_interval: must be 1s to 1h"),
        (
            "[tls]\ncertificate_file = 'c'\nkey_file = 'k'\n[callers]\ntrust_loopback = true",
            "5: callers.trust_loopback: cannot be set together with TLS",
        ),
        ("backend = 'aws'", " aws.region: must be set"),
        ("backend = 'gcp'", "1: backend: must be \"embedded\" or \"aws\""),
        ("backend = 7", "1: backend: invalid type"),
        ("\ndata_dir = ''", "2: data_dir: must be a folder"),
        ("[aws]\nregion = 'EU'", "2: aws.region: must be"),
        ("[aws]\nregions = ['eu-central-1', '']", "2: aws.regions: must be"),
        ("[aws]\nname_prefix = 'my-cognito'", "2: aws.name_prefix: must be"),
        ("[aws]\ntoken_source = 'guess'", "2: aws.token_source: unknown variant"),
        ("[aws]\nadopted_pools = ['x']", "2: aws.adopted_pools: must be"),
        ("[aws]\nsms_role = 'arn:aws:ses:eu-central-1:123456789012:identity/a'", "2: aws.sms_role: must be"),
        ("[aws]\nsms_external_id = 'a b'", "2: aws.sms_external_id: must be"),
        ("[aws]\nemail_identity = 'somebody@example.com'", "2: aws.email_identity: must be"),
        ("[aws]\ncall_timeout = '2m'", "2: aws.call_timeout: must be 100ms to 1m"),
        ("[aws.endpoints]\ncognito = 'localhost'", "2: aws.endpoints.cognito: must be"),
        ("[aws.quotas]\nclient_authentication = 0", "2: aws.quotas.client_authentication: must be 1 to 1000000"),
        ("[embedded]\nmaster_key_file = ''", "2: embedded.master_key_file: must be a file"),
        ("[embedded]\nissuer_base = 'issuer.local'", "2: embedded.issuer_base: must be an http or https URL"),
        ("[embedded]\nissuer_base = 'https://a/'", "2: embedded.issuer_base: must be an http or https URL"),
        ("[embedded]\nregion = 'Local'", "2: embedded.region: must be 1 to 32 characters"),
        ("[embedded]\nlatency = '11s'", "2: embedded.latency: must be 0s to 10s"),
        ("[embedded]\nlatency = 11", "2: embedded.latency: invalid type"),
        ("[embedded]\nlatency = 'soon'", "2: embedded.latency: "),
        ("[callers]\ntrust_loopback = false", "2: callers.trust_loopback: nobody could call: name a way in"),
        ("[callers]\ntrust_loopback = 'yes'", "2: callers.trust_loopback: invalid type"),
        ("[callers]", " callers.trust_loopback: nobody could call"),
        ("[callers]\ntrust_loopback = true\nunix = true", "2: callers.trust_loopback: must not be true beside"),
        ("[callers]\nunix = true\n[callers.aws]\nbroker_id = 'x'", " callers.aws.accounts: must have an account"),
        ("[callers.aws]\naccounts = ['123456789012']\nregions = ['eu-central-1']", " callers.aws.broker_id: must be 1"),
        (
            "[callers.aws]\naccounts = ['1234']\nbroker_id = 'x'\nregions = ['eu-central-1']",
            "2: callers.aws.accounts: must be",
        ),
        ("[callers.aws]\naccounts = ['123456789012']\nbroker_id = 'x'", " callers.aws.regions: must have a Region"),
        (
            "[callers.aws]\naccounts = ['123456789012']\nbroker_id = 'x'\nregions = ['us-iso-east-1']",
            "4: callers.aws.regions: must each be a Region of a partition",
        ),
        (
            "[callers.aws]\naccounts = ['123456789012']\nbroker_id = 'x'\nregions = ['eu-central-1']\n\
             endpoint = 'http://sts.example'",
            "5: callers.aws.endpoint: must be an https URL",
        ),
        ("[[callers.spiffe]]\ntrust_domain = 'Example.org'", "2: callers.spiffe[0].trust_domain: must be"),
        (
            "[[callers.spiffe]]\ntrust_domain = 'a.org'\n[[callers.spiffe]]\ntrust_domain = 'a.org'",
            "4: callers.spiffe[1].trust_domain: must be there once",
        ),
        (
            "[[callers.spiffe]]\ntrust_domain = 'a.org'\njwt_bundle_file = 'x'",
            "1: callers.spiffe[0].audience: must be 1 to 200",
        ),
        (
            "[[callers.spiffe]]\ntrust_domain = 'a.org'\njwt_bundle_url = 'http://a.org'\naudience = 'k'",
            "3: callers.spiffe[0].jwt_bundle_url: must be an https URL",
        ),
        ("[[callers.issuer]]\nissuer = 'https://i'", "1: callers.issuer[0].audience: must be 1 to 200"),
        ("[[callers.issuer]]\naudience = 'k'", "1: callers.issuer[0].issuer: must be"),
        ("[[callers.issuer]]\nissuer = 'i'\naudience = 'k'", "2: callers.issuer[0].issuer: must be"),
        ("[[callers.issuer]]\nissuer = 'http://i'\naudience = 'k'", "2: callers.issuer[0].issuer: must be"),
        (
            "[[callers.issuer]]\nissuer = 'https://i'\naudience = 'k'\njwks_url = 'https://u@i/'",
            "4: callers.issuer[0].jwks_url: must be an https URL",
        ),
        (
            "[[callers.issuer]]\nissuer = 'https://i'\naudience = 'k'\njwks_url = 'https://i'\njwks_file = 'x'",
            "4: callers.issuer[0].jwks_url: must not be set beside",
        ),
        ("[[callers.issuer]]\nissuer = 'https://i'\nkeys = 'k'", "3: callers.issuer[0].keys: unknown field"),
        (
            "callers.unix = true\n[[callers.grant]]\ncaller = 'unix:1'\nrole = 'root'",
            "4: callers.grant[0].role: must be \"operator\" or \"verifier\"",
        ),
        (
            "callers.unix = true\n[[callers.grant]]\ncaller = '*'\nrole = 'operator'",
            "3: callers.grant[0].caller: must begin",
        ),
        (
            "callers.unix = true\n[[callers.grant]]\ncaller = 'unix:1'",
            "3: callers.grant[0].caller: must give something",
        ),
        ("[limits]\nfailures_per_second = 0", "2: limits.failures_per_second: must be 1 to 1000"),
        ("[permission]\npolicies = ''", "2: permission.policies: must be a file or a folder"),
        ("[permission]\nreplace_defaults = true", "2: permission.replace_defaults: must be false where"),
        ("[permission]\nreload_interval = '0s'", "2: permission.reload_interval: must be 100ms to 1h"),
        ("[pools]\napp_clients_per_shared_pool = 0", "2: pools.app_clients_per_shared_pool: must be 1 to 10000"),
        ("[pools]\napp_clients_per_shared_pool = -1", "2: pools.app_clients_per_shared_pool: invalid value"),
        ("pools.app_clients_per_shared_pool = 99999999999", "1: pools.app_clients_per_shared_pool: invalid value"),
        ("[pools]\nshared_pools_with_room = 0", "2: pools.shared_pools_with_room: must be 1 to 50"),
        ("[pools]\nshared_pools_with_room = 51", "2: pools.shared_pools_with_room: must be 1 to 50"),
        ("[tokens]\nmax_cached = 0", "2: tokens.max_cached: must be 1 to 10000000"),
        ("[tokens]\nmax_scope_sets_per_client = 101", "2: tokens.max_scope_sets_per_client: must be 1 to 100"),
        ("[tokens]\nmax_concurrent_fetches = 0", "2: tokens.max_concurrent_fetches: must be 1 to 1000"),
        ("[tokens]\nfetch_timeout = '0s'", "2: tokens.fetch_timeout: must be 100ms to 1m"),
        ("[tokens]\nretry_after_failure = '2m'", "2: tokens.retry_after_failure: must be 100ms to 1m"),
        ("[tokens]\n# a comment\n\nmax_cache = 1", "4: tokens.max_cache: unknown field `max_cache`"),
        ("[verification]\nleeway = '61s'", "2: verification.leeway: must be 0s to 1m"),
        ("[verification]\nmax_cached = 0", "2: verification.max_cached: must be"),
        ("[verification]\nkey_refetch_floor = '0s'", "2: verification.key_refetch_floor: must be 1s to 1h"),
        ("[verification]\nkey_max_age = '2d'", "2: verification.key_max_age: must be 1m to 1d"),
        ("[rotation]\nprove_timeout = '2h'", "2: rotation.prove_timeout: must be 1s to 1h"),
        ("[rotation]\njitter = 51", "2: rotation.jitter: must be 0 to 50"),
        ("[rotation]\njitter = 256", "2: rotation.jitter: invalid value"),
        ("[rotation]\nrecovery_window = '6d'", "2: rotation.recovery_window: must be 7d to 30d"),
        ("[journal]\nconcurrency = 65", "2: journal.concurrency: must be 1 to 64"),
        ("[journal]\npoll_interval = '10ms'", "2: journal.poll_interval: must be 1s to 1h"),
        ("[journal]\nfirst_retry = '0s'", "2: journal.first_retry: must be 100ms to 1h"),
        ("[journal]\nfirst_retry = '10s'\nmax_retry = '5s'", "3: journal.max_retry: must be 10s to 1d"),
        ("[journal]\nlease = '14s'", "2: journal.lease: must be 15s to 10m"),
        ("[journal]\nlease = '30s'\nclock_difference = '11s'", "2: journal.lease: must be 33s to 10m"),
        ("[journal]\nclock_difference = '0s'", "2: journal.clock_difference: must be 10ms to 1m"),
        ("[secrets]\nreveal = 1", "2: secrets.reveal: invalid type"),
        ("[secrets]\nprefix = ''", "2: secrets.prefix: must be 1 to 64 characters"),
        ("[secrets]\nprefix = 'a//b'", "2: secrets.prefix: must be 1 to 64 characters"),
        ("[audit]\nretention = '0d'", "2: audit.retention: must be 1d to 3650d"),
        ("[audit]\nfile = ''", "2: audit.file: must be a file"),
        ("[audit]\nrequired = 1", "2: audit.required: invalid type"),
        ("[grpc]\nmax_message_bytes = 1024", "2: grpc.max_message_bytes: must be 32768 to 4194304"),
        ("[grpc]\nmax_concurrent_streams = 0", "2: grpc.max_concurrent_streams: must be 1 to 100000"),
        ("[grpc]\nrequest_timeout = '0s'", "2: grpc.request_timeout: must be 1s to 10m"),
        ("[grpc]\nkeepalive_interval = '0s'", "2: grpc.keepalive_interval: must be 1s to 1h"),
        ("[limits]\nmax_connections = 0", "2: limits.max_connections: must be 1 to 1000000"),
        ("[limits]\nhandshake_timeout = '2m'", "2: limits.handshake_timeout: must be 100ms to 1m"),
        ("[limits]\nidle_timeout = '0s'", "2: limits.idle_timeout: must be 1s to 1d"),
        ("[limits]\nmax_header_bytes = 100", "2: limits.max_header_bytes: must be 4096 to 262144"),
        ("[limits]\nmax_connections = 1\nmax_calls = 15", "3: limits.max_calls: must be 16 to 1000000"),
        ("[limits]\nmax_calls = 4096", "2: limits.max_calls: must be above limits.max_connections"),
        ("[shutdown]\ndrain_deadline = '11m'", "2: shutdown.drain_deadline: must be 0s to 10m"),
        ("[log]\nformat = 'xml'", "2: log.format: unknown variant `xml`"),
        ("[log]\nfilter = 'keyward=loud'", "2: log.filter: must be a filter"),
        ("[token]\nmax_cached = 1", "1: token: unknown field `token`"),
        ("listen = ", "1: "),
    ];
    for (text, expected) in cases {
        let message = refusal(text);
        assert!(message.starts_with(&format!("keyward.toml:{expected}")), "{text:?} gave {message:?}");
        assert!(!message.contains('\n'), "{text:?} gave more than one line: {message:?}");
    }
}

#[test]
fn every_key_with_limits_is_checked_and_explained() {
    let text = Config::default().explain();
    assert!(toml::from_str::<Config>(&text).is_ok(), "{text}");
    for key in
        ["fetch_timeout = \"10s\"", "retention = \"400d\"", "# master_key_file =", "jitter = 10", "reveal = false"]
    {
        assert!(text.contains(key), "{key} is missing in\n{text}");
    }
}

#[test]
fn what_is_explained_tells_defaults_from_what_was_set_and_reads_back_the_same() {
    let config = parse(
        "listen = '127.0.0.1:0'\ncallers.trust_loopback = true\ndata_dir = 'C:\\data \"x\"'\n\
         tokens.fetch_timeout = '1s 500ms'\nlog.format = 'json'",
    )
    .expect("valid");
    let text = config.explain();
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(line("fetch_timeout").contains("set; default \"10s\"; 100ms to 1m"), "{text}");
    assert!(line("max_cached").contains("# default; 1 to 10000000."), "{text}");
    assert_eq!(parse(&text).expect("reads back"), config);
}

#[test]
fn with_tls_it_may_be_reached_from_elsewhere_and_nobody_is_trusted_for_being_near() {
    let text = "listen = ['0.0.0.0:7443', 'unix:/run/keyward.sock']\n[tls]\ncertificate_file = 'c'\nkey_file = 'k'\n\
                client_ca_file = 'a'\nclient_certificates = 'required'\nmin_version = '1.2'";
    let config = parse(text).expect("valid");
    assert!(config.has_tls() && !config.callers.trust_loopback);
    assert_eq!((config.tls.client_certificates, config.tls.min_version), (Demand::Required, MinVersion::Tls12));
    assert_eq!(parse(&config.explain()).expect("reads back"), config);
    assert!(parse("listen = 'unix:/run/keyward.sock'\ncallers.trust_loopback = true").is_ok());
}

#[test]
fn a_master_key_comes_from_a_file_or_the_environment() {
    let none = Embedded::default();
    let message = none.master_key_source_with(false).expect_err("none").to_string();
    assert!(message.contains("embedded.master_key_file") && message.contains("KEYWARD_MASTER_KEY"), "{message}");
    assert_eq!(none.master_key_source_with(true), Ok(MasterKeySource::Variable("KEYWARD_MASTER_KEY")));
    let file = Embedded { master_key_file: Some("key".into()), ..Embedded::default() };
    assert_eq!(file.master_key_source_with(true), Ok(MasterKeySource::File("key".into())));
}

#[test]
fn dev_listens_on_loopback_alone() {
    let config = Config::dev("127.0.0.1:0".parse().expect("address"), "data".into()).expect("valid");
    assert!(config.callers.trust_loopback);
    assert_eq!(config.embedded.master_key_file, Some(Path::new("data").join("master.key")));
    assert!(Config::dev("[::1]:0".parse().expect("address"), "data".into()).is_ok());
    let error = Config::dev("192.0.2.1:7443".parse().expect("address"), "data".into()).expect_err("refused");
    assert!(error.to_string().starts_with("listen: must be a loopback address"), "{error}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Config::load(Path::new("/nonexistent/keyward.toml")).expect_err("missing");
    assert!(error.to_string().starts_with("/nonexistent/keyward.toml: "), "{error}");
}

#[test]
fn lists_of_tables_are_explained_and_read_back_the_same() {
    let text = "[callers]\nunix = true\nclient_secrets = true\n[callers.aws]\nbroker_id = 'keyward.example.org'\n\
                accounts = ['123456789012']\nregions = ['eu-central-1']\nendpoint = 'http://127.0.0.1:1'\n\
                [[callers.spiffe]]\ntrust_domain = 'example.org'\njwt_bundle_file = '/b.json'\naudience = 'keyward'\n\
                [[callers.spiffe]]\ntrust_domain = 'example.com'\n\
                [[callers.issuer]]\nissuer = 'https://kubernetes.default.svc'\naudience = 'keyward'\nca_file = '/ca'\n\
                token_file = '/token'\n[[callers.issuer]]\nissuer = 'x'\naudience = 'k'\njwks_url = 'http://[::1]:1/k'\n\
                [[callers.grant]]\ncaller = 'spiffe://example.org/t/{tenant}/{client}'\n\
                [[callers.grant]]\ncaller = 'unix:0'\nrole = 'operator'\n[limits]\ncalls_per_second = 7\n";
    let config = parse(text).expect("valid");
    let explained = config.explain();
    assert_eq!(parse(&explained).expect(&explained), config);
    assert!(explained.contains("[[callers.grant]]\ncaller = \"unix:0\"\nrole = \"operator\"\n"), "{explained}");
}

#[test]
fn an_error_is_one_line_and_has_no_key_that_was_put_in_the_wrong_place() {
    const KEY: &str = "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=";
    for misplaced in [
        format!("embedded = '{KEY}'"),
        format!("tokens.max_cached = '{KEY}'"),
        format!("tls.reload_interval = '{KEY}'"),
        format!("tls.min_version = '{KEY}'"),
        format!("backend = '{KEY}'"),
        format!("listen = '{KEY}'"),
        format!("listen = 'unix:{KEY}'"),
        format!("[embedded]\n'{KEY}' = 1"),
        format!("['{KEY}']"),
        KEY.to_owned(),
        format!("[[callers.grant]]\ncaller = '{KEY}'"),
    ] {
        let shown = refusal(&misplaced);
        assert!(!shown.contains(&KEY[..40]), "{shown}");
    }
    assert_eq!(
        refusal(&format!("embedded = '{KEY}'")),
        "keyward.toml:1: embedded: invalid type: string \"(left out)\", expected struct Embedded"
    );
    assert_eq!(
        refusal("embedded.\"\\u001b[2J\\n\" = 1"),
        "keyward.toml:1: embedded.\\u{1b}[2J\\n: unknown field `\\u{1b}[2J\\n`, expected one of `master_key_file`, `issuer_base`, \
         `region`, `latency`"
    );
}

#[test]
fn what_is_explained_reads_back_the_same_whatever_a_text_has() {
    for text in ["\"\\", "a\\nb", "\t\r\n", "\u{1b}[2J\0\u{7f}\u{85}", "\u{e4}\u{1f511}"] {
        let config = Config { data_dir: text.into(), ..valid() };
        let explained = config.explain();
        assert_eq!(parse(&explained).expect(&explained), config);
    }
}

fn valid() -> Config {
    parse("callers.trust_loopback = true").expect("valid")
}
