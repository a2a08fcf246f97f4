//! Each key once: its value, its limits, and what it is for. What is checked and what is explained come from here, so
//! that they cannot differ.

use super::setting::{DAY, HOUR, MILLI, MINUTE, SECOND, Setting, Value, count, is_region, period, size, text};
use super::{Backend, Config, net, oauth};
use crate::runtime::telemetry::{self, Format};

/// Every key of `config`, in the order in which they are explained.
pub(super) fn settings(config: &Config) -> Vec<Setting> {
    let Config { embedded, pools, quotas, tokens, verification, rotation, journal, secrets, .. } = config;
    let backend = match config.backend {
        Backend::Embedded => "embedded",
        Backend::Aws => "aws",
    };
    let format = match config.log.format {
        Format::Text => "text",
        Format::Json => "json",
    };
    let master_key_file = match &embedded.master_key_file {
        Some(path) => text(path.display()),
        None => Value::Unset,
    };
    let audit_file = match &config.audit.file {
        Some(path) => text(path.display()),
        None => Value::Unset,
    };
    let aws = super::aws::settings(&config.aws);
    let mut settings = vec![
        net::listen(&config.listen),
        Setting::new("backend", text(backend), "Where user pools and secrets are kept")
            .of("\"embedded\" or \"aws\"", |_| true),
        Setting::new("data_dir", text(config.data_dir.display()), "The folder of the database")
            .of("a folder", |path| !path.is_empty()),
        Setting::new("embedded.master_key_file", master_key_file, "Holds base64 of 32 bytes; else KEYWARD_MASTER_KEY")
            .of("a file", |path| !path.is_empty()),
        Setting::new("embedded.issuer_base", text(&embedded.issuer_base), "What issuers begin with")
            .of("an http or https URL without a slash at its end, at most 200 characters", is_base_url),
        Setting::new("embedded.region", text(&embedded.region), "The Region that pools are in")
            .of("1 to 32 characters of [a-z0-9-]", is_region),
        Setting::new("embedded.latency", period(embedded.latency), "Added to every call of the backend")
            .lasting(std::time::Duration::ZERO, SECOND * 10),
    ];
    settings.extend(aws);
    settings.extend(config.registry.settings());
    settings.extend(net::tls(&config.tls));
    settings.extend(super::callers::settings(&config.callers));
    settings.extend(super::permission::settings(&config.permission));
    settings.extend([
        Setting::new(
            "pools.app_clients_per_shared_pool",
            count(pools.app_clients_per_shared_pool),
            "A shared pool that has so many takes no more",
        )
        .within(1, 10_000),
        Setting::new(
            "pools.shared_pools_with_room",
            size(pools.shared_pools_with_room),
            "So many shared pools are kept that have room; tenants go to them in turn",
        )
        .within(1, 50),
        Setting::new(
            "quotas.user_pools_per_region",
            count(quotas.user_pools_per_region),
            "User pools that the account may have in a Region",
        )
        .within(1, 10_000),
        Setting::new(
            "quotas.app_clients_per_user_pool",
            count(quotas.app_clients_per_user_pool),
            "App clients that a user pool may have",
        )
        .within(1, 10_000),
        Setting::new(
            "quotas.resource_servers_per_user_pool",
            count(quotas.resource_servers_per_user_pool),
            "Resource servers that a user pool may have, and so the catalogue",
        )
        .within(1, 300),
        Setting::new(
            "quotas.custom_domains_per_region",
            count(quotas.custom_domains_per_region),
            "Domains of tenants' own that the account may have in a Region",
        )
        .within(0, 1_000),
        Setting::new("tokens.max_cached", count(tokens.max_cached), "Clients whose tokens are held in memory")
            .within(1, 10_000_000),
        Setting::new(
            "tokens.max_scope_sets_per_client",
            size(tokens.max_scope_sets_per_client),
            "Different scope sets that one client may use",
        )
        .within(1, 100),
        Setting::new("tokens.max_concurrent_fetches", size(tokens.max_concurrent_fetches), "Fetches at once")
            .within(1, 1_000),
        Setting::new("tokens.fetch_timeout", period(tokens.fetch_timeout), "The longest that a fetch may take")
            .lasting(MILLI * 100, MINUTE),
        Setting::new(
            "tokens.retry_after_failure",
            period(tokens.retry_after_failure),
            "How long a failed fetch is not repeated",
        )
        .lasting(MILLI * 100, MINUTE),
        Setting::new(
            "tokens.price_per_million_usd",
            count(tokens.price_per_million_usd),
            "What a million tokens cost, US dollars, for the metrics",
        )
        .within(0, 1_000_000),
        Setting::new(
            "verification.leeway",
            period(verification.leeway),
            "How far an issuer's clock may be off, a caller's too",
        )
        .lasting(std::time::Duration::ZERO, MINUTE),
        Setting::new("verification.max_cached", count(verification.max_cached), "Verified signatures held in memory")
            .within(1, 10_000_000),
        Setting::new(
            "verification.key_refetch_floor",
            period(verification.key_refetch_floor),
            "The shortest time between two reads of an issuer's keys",
        )
        .lasting(SECOND, HOUR),
        Setting::new("verification.key_max_age", period(verification.key_max_age), "When keys are read anew")
            .lasting(MINUTE, DAY),
        Setting::new("verification.max_watchers", size(verification.max_watchers), "Streams of WatchTrust at once")
            .within(1, 10_000),
        Setting::new(
            "verification.max_staleness",
            period(verification.max_staleness),
            "How long those who follow WatchTrust go on without it",
        )
        .lasting(SECOND, HOUR),
        Setting::new("rotation.prove_timeout", period(rotation.prove_timeout), "How long a new secret is tried")
            .lasting(SECOND, HOUR),
        Setting::new("rotation.jitter", count(rotation.jitter), "By how much rotations may be early, percent")
            .within(0, 50),
        Setting::new(
            "rotation.recovery_window",
            period(rotation.recovery_window),
            "How long a deleted secret can be brought back",
        )
        .lasting(DAY * 7, DAY * 30),
        Setting::new("journal.concurrency", size(journal.concurrency), "Pieces of work at once").within(1, 64),
        Setting::new("journal.poll_interval", period(journal.poll_interval), "How often due work is looked for")
            .lasting(SECOND, HOUR),
        Setting::new(
            "journal.first_retry",
            period(journal.first_retry),
            "The wait after a first failure, then doubled",
        )
        .lasting(MILLI * 100, HOUR),
        Setting::new("journal.max_retry", period(journal.max_retry), "The longest such wait, not below first_retry")
            .lasting(journal.first_retry.min(DAY), DAY),
        Setting::new(
            "journal.lease",
            period(journal.lease),
            "How long a broker that is not heard of keeps others from its work",
        )
        .lasting(3 * journal.clock_difference.clamp(MILLI * 10, MINUTE), MINUTE * 10),
        Setting::new(
            "journal.clock_difference",
            period(journal.clock_difference),
            "How far brokers' clocks may differ",
        )
        .lasting(MILLI * 10, MINUTE),
        Setting::new("secrets.reveal", Value::Flag(secrets.reveal), "Whether RevealClientSecret answers"),
        Setting::new("secrets.prefix", text(&secrets.prefix), "What secrets' names begin with")
            .of("1 to 64 characters of [A-Za-z0-9_.-], with single slashes between them", is_prefix),
        Setting::new("audit.retention", period(config.audit.retention), "How long audit events are kept")
            .lasting(DAY, DAY * 3_650),
        Setting::new(
            "audit.denials_per_minute",
            count(config.audit.denials_per_minute),
            "Denials of one caller that are each an event; those beyond are counted",
        )
        .within(1, 100_000),
        Setting::new("audit.file", audit_file, "Gets a line for each event, and each token and secret handed out")
            .of("a file", |path| !path.is_empty()),
        Setting::new(
            "audit.required",
            Value::Flag(config.audit.required),
            "Whether nothing is handed out that is not in audit.file",
        ),
        Setting::new("grpc.max_message_bytes", size(config.grpc.max_message_bytes), "The largest message read, bytes")
            .within(32_768, 4_194_304),
        Setting::new(
            "grpc.max_concurrent_streams",
            count(config.grpc.max_concurrent_streams),
            "Calls under way on one connection",
        )
        .within(1, 100_000),
        Setting::new("grpc.request_timeout", period(config.grpc.request_timeout), "The longest that a call may take")
            .lasting(SECOND, MINUTE * 10),
        Setting::new("grpc.keepalive_interval", period(config.grpc.keepalive_interval), "Silence before a ping")
            .lasting(SECOND, HOUR),
    ]);
    settings.extend(oauth::oauth(&config.oauth));
    settings.extend(config.sign_in.settings());
    settings.extend(net::limits(&config.limits));
    settings.extend(net::status(&config.status));
    settings.extend(config.traces.settings());
    settings.extend([
        Setting::new(
            "shutdown.drain_deadline",
            period(config.shutdown.drain_deadline),
            "How long calls are waited for",
        )
        .lasting(std::time::Duration::ZERO, MINUTE * 10),
        Setting::new("log.format", text(format), "How log lines look").of("\"text\" or \"json\"", |_| true),
        Setting::new("log.filter", text(&config.log.filter), "What is logged; RUST_LOG wins over it")
            .of("a filter such as \"info,keyward::broker=debug\"", |filter| telemetry::check_filter(filter).is_ok()),
    ]);
    settings
}

fn is_base_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"?#\\".contains(&byte));
    plain
        && text.len() <= 200
        && !text.ends_with('/')
        && rest.is_some_and(|rest| !rest.starts_with('/') && !rest.is_empty())
}

fn is_prefix(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    text.len() <= 64 && text.split('/').all(|part| !part.is_empty() && part.bytes().all(allowed))
}
