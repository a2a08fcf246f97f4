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
    ("broker", &["domain"]),
    ("audit_file", &["broker::Audit", "broker::ports", "domain"]),
    ("aws", &["broker::ports", "domain", "runtime::http", "runtime::wall_clock"]),
    ("embedded", &["broker::ports", "domain"]),
    ("net", &[]),
    ("callers", &["broker::flights", "broker::ports", "domain", "net", "runtime::http", "runtime::wall_clock"]),
    ("permission", &["domain"]),
    (
        "grpc",
        &[
            "audit_file",
            "broker::api",
            "broker::Broker",
            "callers::Callers",
            "domain",
            "net",
            "permission::Permissions",
            "proto",
        ],
    ),
    ("proto", &[]),
    ("tour", &["proto"]),
    ("runtime", &["broker::ports"]),
    ("config", &["domain::grant", "domain::partition", "domain::spiffe", "net::Address", "runtime"]),
    (
        "daemon",
        &[
            "audit_file",
            "aws",
            "broker",
            "callers",
            "config",
            "domain",
            "embedded",
            "grpc",
            "net",
            "permission",
            "runtime",
        ],
    ),
    ("commands", &["audit_file", "config", "daemon", "domain", "embedded", "net::Address", "runtime", "tour"]),
    ("lib", &[]),
    ("main", &["commands"]),
];

/// Crates that only these parts may name.
const CRATES: &[(&str, &[&str])] = &[
    ("rusqlite", &["embedded"]),
    ("tokio_rusqlite", &["embedded"]),
    ("aws_config", &["aws"]),
    ("aws_sdk_cognitoidentityprovider", &["aws"]),
    ("aws_sdk_secretsmanager", &["aws"]),
    ("aws_smithy_http_client", &["aws"]),
    ("cedar_policy", &["permission"]),
    ("miette", &["permission"]),
    ("governor", &["aws", "callers", "runtime"]),
    ("jsonwebtoken", &["broker", "callers", "embedded"]),
    ("reqwest", &["aws", "callers", "runtime"]),
    ("tonic", &["grpc", "daemon", "tour", "proto"]),
    ("prost", &["grpc", "tour", "proto"]),
    ("prost_types", &["grpc", "proto"]),
    ("hyper", &["net"]),
    ("hyper_util", &["net"]),
    ("rustls", &["net"]),
    ("tokio_rustls", &["net"]),
    ("clap", &["commands"]),
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
        check_places_of(page);
    }
}

fn check_places_of(page: &str) {
    let text = fs::read_to_string(root().join(page)).expect("the page");
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
    for module in quoted_modules(&text) {
        assert!(has_tests(module) || is_function(module), "{page} names {module}, where no test is");
    }
}

/// What is quoted and reads as a module of ours, such as `embedded::tests::file`.
fn quoted_modules(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2).filter(|quoted| {
        let is_name =
            |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let first = quoted.split("::").next().unwrap_or_default();
        let is_ours =
            root().join("src").join(first).exists() || root().join("src").join(format!("{first}.rs")).exists();
        is_ours && quoted.split("::").all(is_name)
    })
}

/// Whether a module of the library, or one below it, has tests.
fn has_tests(module: &str) -> bool {
    let path = root().join("src").join(module.replace("::", "/"));
    let file = path.with_extension("rs");
    let is_test = |file: &PathBuf| {
        fs::read_to_string(file).is_ok_and(|text| text.contains("mod tests") || text.contains("test]"))
    };
    is_test(&file) || (path.is_dir() && rust_files(&path, |_| true).iter().any(is_test))
}

fn is_function(path: &str) -> bool {
    let Some((module, name)) = path.rsplit_once("::") else { return false };
    let file = root().join("src").join(module.replace("::", "/")).with_extension("rs");
    fs::read_to_string(file).is_ok_and(|text| text.contains(&format!("fn {name}(")))
}

#[test]
fn every_threat_that_security_md_says_is_stopped_has_the_test_that_holds_it() {
    let text = fs::read_to_string(root().join("SECURITY.md")).expect("the page");
    let (_, threats) = text.split_once("## Threats").expect("threats");
    let (threats, _) = threats.split_once("\n## ").expect("what comes next");
    let mut rows = 0;
    for row in threats.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [asset, threat, stops, _] = cells[..] else { panic!("not four cells: {row}") };
        if threat == "threat" {
            continue;
        }
        let is_held = stops.contains("tests/") || quoted_modules(stops).next().is_some();
        assert!(is_held || stops.contains("(AWS's to hold, not ours)"), "{asset}: {threat}: no test is named");
        rows += 1;
    }
    assert!(rows > 25, "only {rows} threats were found");
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
    let is_source = |name: &str| name != "tests" && name != "tests.rs" && !name.ends_with("_tests.rs");
    rust_files(&root().join("src"), is_source).into_iter().map(Source::read).collect()
}

/// Below a folder, without files and folders whose names are not wanted.
fn rust_files(folder: &Path, is_wanted: fn(&str) -> bool) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        match is_wanted(&name) {
            true if path.is_dir() => files.extend(rust_files(&path, is_wanted)),
            true if name.ends_with(".rs") => files.push(path),
            _ => {}
        }
    }
    files
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
