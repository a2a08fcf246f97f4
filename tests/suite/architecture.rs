//! The arrows and invariants of ARCHITECTURE.md, held against the source.
//!
//! Files are read as tokens, so that comments and texts do not count, and code for tests does not either.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Which part of the crate may use which; a part that is not here may use none. What follows `::` is all that may be used.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("sealing", &[]),
    ("counts", &[]),
    ("traces", &["counts"]),
    ("broker", &["counts", "domain", "sealing", "traces"]),
    ("audit_file", &["broker::Audit", "broker::ports", "counts", "domain"]),
    ("aws", &["broker::ports", "counts", "domain", "runtime::http", "traces"]),
    ("embedded", &["broker::ports", "domain", "sealing"]),
    ("net", &[]),
    (
        "callers",
        &[
            "broker::background",
            "broker::flights",
            "broker::ports",
            "domain",
            "net",
            "runtime::http",
            "runtime::wall_clock",
        ],
    ),
    ("permission", &["domain"]),
    (
        "gate",
        &[
            "audit_file",
            "broker::background",
            "broker::Basis",
            "broker::Broker",
            "callers::Callers",
            "counts",
            "domain",
            "net",
            "permission::Permissions",
        ],
    ),
    ("grpc", &["broker::api", "broker::Basis", "counts", "domain", "gate", "net", "proto", "traces"]),
    ("oauth", &["broker::api", "broker::Basis", "callers", "counts", "domain", "gate", "net"]),
    ("http", &["broker::Broker", "counts", "runtime::readiness"]),
    ("proto", &[]),
    ("tour", &["proto"]),
    ("client", &["domain", "proto"]),
    ("runtime", &["broker::ports"]),
    (
        "config",
        &[
            "domain::grant",
            "domain::id",
            "domain::partition",
            "domain::quota",
            "domain::spiffe",
            "net::Address",
            "runtime",
        ],
    ),
    (
        "daemon",
        &[
            "audit_file",
            "aws",
            "broker",
            "callers",
            "config",
            "counts",
            "domain",
            "embedded",
            "gate",
            "grpc",
            "http",
            "net",
            "oauth",
            "permission",
            "runtime",
            "sealing",
            "traces",
        ],
    ),
    (
        "commands",
        &[
            "audit_file",
            "config",
            "daemon",
            "domain",
            "embedded",
            "net::Address",
            "net::Inherited",
            "net::InheritError",
            "runtime",
            "tour",
        ],
    ),
    ("lib", &[]),
    ("main", &["commands"]),
];

/// Crates that only these parts may name.
const CRATES: &[(&str, &[&str])] = &[
    ("rusqlite", &["embedded"]),
    ("tokio_rusqlite", &["embedded"]),
    ("aws_config", &["aws"]),
    ("aws_sdk_cognitoidentityprovider", &["aws"]),
    ("aws_sdk_dynamodb", &["aws"]),
    ("aws_sdk_kms", &["aws"]),
    ("aws_sdk_secretsmanager", &["aws"]),
    ("aws_smithy_http_client", &["aws"]),
    ("cedar_policy", &["permission"]),
    ("miette", &["permission"]),
    // In aws it is a module of this name.
    ("governor", &["aws", "callers", "runtime"]),
    ("jsonwebtoken", &["callers"]),
    ("envoy_types", &["grpc"]),
    ("reqwest", &["aws", "callers", "runtime"]),
    ("tonic", &["grpc", "daemon", "tour", "client", "proto"]),
    ("prost", &["grpc", "tour", "proto"]),
    ("prost_types", &["grpc", "client", "proto"]),
    ("axum", &["http", "oauth"]),
    // In gate for the type of headers.
    ("hyper", &["gate", "http", "net"]),
    ("hyper_util", &["http", "net"]),
    ("listenfd", &["net"]),
    ("prometheus_client", &["http"]),
    ("opentelemetry", &["traces"]),
    ("opentelemetry_otlp", &["traces"]),
    ("opentelemetry_sdk", &["traces"]),
    ("rustls", &["net"]),
    ("tokio_rustls", &["net"]),
    ("clap", &["commands"]),
    ("clap_complete", &["commands"]),
    ("clap_mangen", &["commands"]),
    ("anyhow", &["commands"]),
    ("tracing_subscriber", &["runtime"]),
    ("toml", &["config"]),
    ("x509_parser", &["callers"]),
];

/// What the domain must be without: I/O, waiting, clocks.
const NOT_IN_DOMAIN: &[&str] =
    &["async", "await", "tokio", "moka", "fs", "io", "net", "env", "process", "thread", "Instant", "SystemTime", "now"];

const MAX_LINES: usize = 400;

#[test]
fn every_arrow_is_in_the_table() {
    let mut seen = 0;
    for file in sources() {
        let (_, allowed) = ARROWS.iter().find(|(part, _)| *part == file.part()).unwrap_or_else(|| {
            panic!("{} belongs to no part of the table", file.path.display());
        });
        for used in file.uses_of_the_crate() {
            let fits = |allowed: &&str| used == **allowed || used.starts_with(&format!("{allowed}::"));
            let own = used.split("::").next() == Some(file.part());
            assert!(own || allowed.iter().any(fits), "{}: an arrow to {used}", file.path.display());
            seen += 1;
        }
    }
    assert!(seen > 300, "only {seen} uses were found: the reader of sources is broken");
}

#[test]
fn crates_are_named_only_where_they_belong() {
    for (name, parts) in CRATES {
        let users: Vec<_> = sources().into_iter().filter(|file| file.names().contains(&(*name).to_owned())).collect();
        assert!(!users.is_empty(), "{name} is not used at all");
        for file in users {
            assert!(parts.contains(&file.part()), "{}: names {name}", file.path.display());
        }
    }
}

#[test]
fn the_domain_does_no_io_does_not_wait_and_reads_no_clock() {
    let files: Vec<_> = sources().into_iter().filter(|file| file.part() == "domain").collect();
    assert!(files.len() > 10);
    for file in files {
        let mut paths = Vec::new();
        all_paths(&file.tokens, &mut paths);
        // An address is a number; only what is done with it is I/O.
        paths.retain(|path| path.join("::") != "std::net::IpAddr");
        // `now` is an argument; what is called `now` and is a part of a path is somebody's clock.
        let names = paths.iter().flat_map(|path| path.iter().filter(|name| path.len() > 1 || *name != "now"));
        let forbidden: Vec<_> = names.filter(|name| NOT_IN_DOMAIN.contains(&name.as_str())).collect();
        assert!(forbidden.is_empty(), "{}: {forbidden:?}", file.path.display());
    }
}

#[test]
fn no_file_is_longer_than_a_person_reads() {
    for file in sources() {
        let text = fs::read_to_string(&file.path).expect("a source");
        let lines = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines; split it by topic", file.path.display());
    }
}

#[test]
fn every_place_that_architecture_md_and_security_md_name_is_there() {
    for page in ["ARCHITECTURE.md", "SECURITY.md"] {
        let text = fs::read_to_string(root().join(page)).expect("the page");
        check_places_of(page, &text);
        let problems: Vec<_> = quoted(&text).filter_map(|quoted| problem_of(quoted).err()).collect();
        assert_eq!(problems, Vec::<String>::new(), "named in {page}");
    }
}

#[test]
fn each_row_of_the_threats_names_what_holds_it() {
    let text = fs::read_to_string(root().join("SECURITY.md")).expect("the page");
    let (_, threats) = text.split_once("\n## Threats\n").expect("the threats");
    let (threats, _) = threats.split_once("\n## ").expect("their end");
    let rows: Vec<_> = threats.lines().filter(|line| line.starts_with("| ")).collect();
    let rows = rows.iter().filter(|row| !row.starts_with("| --- ") && !row.starts_with("| asset "));
    let mut seen = 0;
    for row in rows {
        let stops = row.split(" | ").nth(2).expect("what stops it");
        let is_held = quoted(stops).any(|quoted| problem_of(quoted) == Ok(true));
        assert!(is_held || stops.contains("not tested"), "no test is named: {row}");
        seen += 1;
    }
    assert!(seen > 25, "only {seen} threats were found");
}

#[test]
fn a_test_that_is_not_there_is_no_test() {
    for good in [
        "tests/suite/net/tls.rs::every_connection_proves_itself_anew",
        "tests/suite/callers",
        "permission::tests",
        "permission::tests::verifiers_verify_and_nothing_else",
        "callers::certificate::tests::an_authority_is_never_a_caller",
        "embedded::tests::audit_log",
        "sealing::tests::a_changed_value_does_not_open",
    ] {
        assert_eq!(problem_of(good), Ok(true), "{good}");
    }
    for other in ["audit.file", "broker::flights", "src/net/", "client:tenants/acme", "Serving::drain", "unix:1000"] {
        assert_eq!(problem_of(other), Ok(false), "{other}");
    }
    for bad in [
        "tests/suite/net/tls.rs::every_connection_proves_itself",
        "tests/suite/net/tls.rs::court",
        "tests/suite/nothing.rs::every_connection_proves_itself_anew",
        "permission::tests::verifiers_verify",
        "permission::nothing",
        "domain::pool::tests",
        "sealing::a_changed_value_does_not_open",
        "sealing::tests::tests",
        "permission::tests::of_tenant",
    ] {
        assert!(problem_of(bad).is_err(), "{bad}");
    }
}

/// What stands in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether this names tests, as `tests/suite/net/tls.rs::a_test`, `permission::tests` or `permission::tests::a_test`.
/// Fails for a module, a function or a test that is not there.
fn problem_of(name: &str) -> Result<bool, String> {
    let missing = || format!("there is no {name}");
    let of_suite = name.starts_with("tests/");
    let (file, mut inner): (PathBuf, Vec<&str>) = match name.split_once(".rs::") {
        _ if of_suite && !name.contains("::") => return Ok(root().join(name).exists()),
        Some((file, test)) if of_suite => (root().join(format!("{file}.rs")), vec![test]),
        _ => {
            let segments: Vec<_> = name.split("::").collect();
            let is_path = segments
                .iter()
                .all(|segment| segment.bytes().all(|b| b.is_ascii_lowercase() || b"_0123456789".contains(&b)));
            if segments.len() < 2 || !is_path {
                return Ok(false);
            }
            module(&segments).ok_or_else(missing)?
        }
    };
    let text = fs::read_to_string(&file).map_err(|_| missing())?;
    let is_for_tests = of_suite || is_for_tests(&file);
    if inner.first() == Some(&"tests") && text.contains("\nmod tests {") {
        inner.remove(0);
    } else if !is_for_tests {
        let program = text.split("\n#[cfg(test)]").next().unwrap_or_default();
        return match inner[..] {
            [] => Ok(false),
            [function] if program.contains(&format!("fn {function}(")) => Ok(false),
            _ => Err(missing()),
        };
    }
    match inner[..] {
        [] => Ok(true),
        [test] if has_test(&text, test) => Ok(true),
        _ => Err(missing()),
    }
}

/// The file of a module of the crate, and what is left of the path in it.
fn module<'p>(segments: &[&'p str]) -> Option<(PathBuf, Vec<&'p str>)> {
    (1..=segments.len()).rev().find_map(|length| {
        let (path, inner) = segments.split_at(length);
        let elsewhere = || path.strip_suffix(&["tests"]).and_then(|parent| tests_elsewhere(&file_of(parent)?));
        Some((file_of(path).or_else(elsewhere)?, inner.to_vec()))
    })
}

fn file_of(module: &[&str]) -> Option<PathBuf> {
    let base = root().join("src").join(module.join("/"));
    [base.with_extension("rs"), base.join("mod.rs")].into_iter().find(|file| file.is_file())
}

/// Where a file says that its module `tests` is, by `#[path = "…"]`.
fn tests_elsewhere(file: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(file).ok()?;
    let (before, _) = text.split_once("\nmod tests;")?;
    let path = before.lines().next_back()?.strip_prefix("#[path = \"")?.strip_suffix("\"]")?;
    Some(file.parent()?.join(path)).filter(|file| file.is_file())
}

/// Whether the file is `tests.rs`, `…_tests.rs`, or in a folder `tests`.
fn is_for_tests(file: &Path) -> bool {
    let stem = file.file_stem().is_some_and(|stem| stem == "tests" || stem.to_string_lossy().ends_with("_tests"));
    stem || file.parent().is_some_and(|folder| folder.ends_with("tests"))
}

/// Whether a function of this name stands after `#[test]` or the like.
fn has_test(text: &str, name: &str) -> bool {
    let mut is_after_attribute = false;
    for line in text.lines().map(str::trim_start) {
        let is_attribute = line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let function = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "));
        if is_after_attribute && function.is_some_and(|rest| rest.split('(').next() == Some(name)) {
            return true;
        }
        is_after_attribute = is_attribute || (is_after_attribute && (line.starts_with("#[") || line.starts_with("//")));
    }
    false
}

fn check_places_of(page: &str, text: &str) {
    let is_place =
        |word: &&str| ["src/", "tests/", "proto/", "deploy/", "fuzz/"].iter().any(|start| word.starts_with(start));
    let words = text.split(|c: char| c.is_whitespace() || "`(),;:".contains(c)).filter(is_place);
    let mut seen = 0;
    for word in words {
        let path = word.trim_end_matches('.');
        assert!(root().join(path).exists(), "{page} names {path}");
        seen += 1;
    }
    assert!(seen > 15, "only {seen} places were found in {page}");
}

struct Source {
    path: PathBuf,
    /// `["broker", "tokens"]` for `src/broker/tokens.rs`.
    module: Vec<String>,
    tokens: Vec<TokenTree>,
}

impl Source {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).expect("a source");
        let inner = path.strip_prefix(root().join("src")).expect("below src").with_extension("");
        let mut module: Vec<_> = inner.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if module.last().is_some_and(|last| last == "mod") {
            module.pop();
        }
        let tokens = TokenStream::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Source { path, module, tokens: without_tests(tokens) }
    }

    fn part(&self) -> &str {
        &self.module[0]
    }

    /// Every name, each as often as it occurs.
    fn names(&self) -> Vec<String> {
        let mut paths = Vec::new();
        all_paths(&self.tokens, &mut paths);
        paths.concat()
    }

    /// What follows `crate::`, `keyward::`, or a chain of `super::` that leads to the root, two segments at the most.
    fn uses_of_the_crate(&self) -> Vec<String> {
        let mut paths = Vec::new();
        all_paths(&self.tokens, &mut paths);
        let from_root = |path: Vec<String>| match path.first().map(String::as_str) {
            Some("crate" | "keyward") => Some(path[1..].to_vec()),
            Some("super") => {
                let up = path.iter().take_while(|segment| *segment == "super").count();
                (up >= self.module.len()).then(|| path[up..].to_vec())
            }
            _ => None,
        };
        let paths = paths.into_iter().filter_map(from_root).filter(|path| !path.is_empty());
        paths.map(|path| path.iter().take(2).cloned().collect::<Vec<_>>().join("::")).collect()
    }
}

/// All paths in the tokens, those of a group in braces with what is before the group.
fn all_paths(tokens: &[TokenTree], paths: &mut Vec<Vec<String>>) {
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(name) => {
                let mut path = vec![name.to_string()];
                at += 1;
                while is_separator(tokens, at) {
                    at += 2;
                    match tokens.get(at) {
                        Some(TokenTree::Ident(name)) => path.push(name.to_string()),
                        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                            let mut inner = Vec::new();
                            all_paths(&group.stream().into_iter().collect::<Vec<_>>(), &mut inner);
                            paths.extend(inner.into_iter().map(|rest| [path.clone(), rest].concat()));
                        }
                        _ => break,
                    }
                    at += 1;
                }
                paths.push(path);
            }
            TokenTree::Group(group) => {
                all_paths(&without_tests(group.stream()), paths);
                at += 1;
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => at += 1,
        }
    }
}

fn is_separator(tokens: &[TokenTree], at: usize) -> bool {
    let is_colon = |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    is_colon(at) && is_colon(at + 1)
}

/// Leaves out every item that `#[cfg(test)]` stands before.
fn without_tests(tokens: TokenStream) -> Vec<TokenTree> {
    let mut kept = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let is_attribute = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '#');
        let is_test = |next: &TokenTree| next.to_string().replace(' ', "") == "[cfg(test)]";
        if !(is_attribute && tokens.peek().is_some_and(is_test)) {
            kept.push(token);
            continue;
        }
        let is_end = |token: &TokenTree| match token {
            TokenTree::Punct(punct) => punct.as_char() == ';',
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            TokenTree::Ident(_) | TokenTree::Literal(_) => false,
        };
        let _item = tokens.by_ref().find(is_end);
    }
    kept
}

/// Every file of the program that is not for tests alone.
fn sources() -> Vec<Source> {
    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() && name != "tests" {
                collect(&path, files);
            } else if name.ends_with(".rs") && name != "tests.rs" && !name.ends_with("_tests.rs") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    collect(&root().join("src"), &mut files);
    files.into_iter().map(Source::read).collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
