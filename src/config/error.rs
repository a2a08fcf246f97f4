//! Where in a file an error is: the path of the key and the line.
//!
//! It knows nothing of what the keys mean.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

/// What is wrong with the configuration: `keyward.toml:12: tokens.max_cached: must be 1 to 10000000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub file: Option<PathBuf>,
    /// From 1. `None` where the key is not in the file.
    pub line: Option<usize>,
    /// The path of the key, such as `tokens.max_cached`. `None` when it is the file itself.
    pub key: Option<String>,
    pub problem: String,
}

impl ConfigError {
    pub(super) fn file(path: &Path, problem: String) -> Self {
        ConfigError { file: Some(path.to_owned()), line: None, key: None, problem }
    }

    /// About a key that did not come from a file, or one of which the file is not at hand.
    pub fn key(key: &str, problem: impl Into<String>) -> Self {
        ConfigError { file: None, line: None, key: Some(key.to_owned()), problem: problem.into() }
    }

    /// The same, saying which file it is about.
    pub fn in_file(self, path: &Path) -> Self {
        ConfigError { file: Some(path.to_owned()), ..self }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            match self.line {
                Some(line) => write!(f, "{}:{line}: ", file.display())?,
                None => write!(f, "{}: ", file.display())?,
            }
        }
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.problem)
    }
}

impl std::error::Error for ConfigError {}

/// The text of a file, for finding keys in it.
pub(super) struct Document<'t> {
    text: &'t str,
    path: &'t Path,
}

impl<'t> Document<'t> {
    pub(super) fn new(text: &'t str, path: &'t Path) -> Self {
        Document { text, path }
    }

    /// A file that is not TOML, or holds an unknown key or a value of the wrong type.
    pub(super) fn unreadable(&self, error: &toml::de::Error) -> ConfigError {
        let span = error.span();
        let key = span.as_ref().and_then(|span| self.entries().into_iter().rev().find(|entry| entry.holds(span)));
        ConfigError {
            file: Some(self.path.to_owned()),
            line: span.map(|span| self.line(span.start)),
            key: key.map(|entry| shown(&entry.path)),
            problem: shown(error.message()),
        }
    }

    /// A value that cannot be used.
    pub(super) fn invalid(&self, key: &str, problem: String) -> ConfigError {
        // Of a key that is not there, the table that it would be in has a line too.
        let table = key.rsplit_once('.').map(|(table, _)| table).filter(|table| table.ends_with(']'));
        let entries = self.entries();
        let find = |path: &str| entries.iter().find(|entry| entry.path == path);
        let entry = find(key).or_else(|| table.and_then(find));
        ConfigError {
            file: Some(self.path.to_owned()),
            line: entry.map(|entry| self.line(entry.key.start)),
            key: Some(key.to_owned()),
            problem,
        }
    }

    fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
    }

    /// Every key with its path, outer ones before inner ones. None when it is not TOML.
    fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        if let Ok(table) = DeTable::parse(self.text) {
            collect(table.get_ref(), "", &mut entries);
        }
        entries
    }
}

/// The least that is left out of an error, in characters. An AWS secret key has 40, the master key 43 without its `=`.
const SECRET_CHARACTERS: usize = 40;

/// Words that quote the file, on one line, and without what may be a secret that was put where it does not belong.
fn shown(words: &str) -> String {
    let is_between = |c: char| !(c.is_ascii_alphanumeric() || "+/-_=".contains(c));
    let mut shown = String::new();
    for piece in words.split_inclusive(is_between) {
        let word = piece.trim_end_matches(is_between);
        shown.push_str(if word.len() < SECRET_CHARACTERS { word } else { "(left out)" });
        for c in piece[word.len()..].chars() {
            match c.is_control() {
                true => shown.extend(c.escape_default()),
                false => shown.push(c),
            }
        }
    }
    shown
}

struct Entry {
    path: String,
    key: Range<usize>,
    value: Range<usize>,
}

impl Entry {
    fn holds(&self, span: &Range<usize>) -> bool {
        let within = |outer: &Range<usize>| outer.start <= span.start && span.end <= outer.end;
        within(&self.key) || within(&self.value)
    }
}

fn collect(table: &DeTable<'_>, parent: &str, entries: &mut Vec<Entry>) {
    for (key, value) in table {
        let name = key.get_ref();
        let path = if parent.is_empty() { name.to_string() } else { format!("{parent}.{name}") };
        entries.push(Entry { path: path.clone(), key: key.span(), value: value.span() });
        match value.get_ref() {
            DeValue::Table(inner) => collect(inner, &path, entries),
            // Tables of a list are told apart by their place: `callers.grant[0].caller`.
            DeValue::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    if let DeValue::Table(inner) = item.get_ref() {
                        let path = format!("{path}[{at}]");
                        entries.push(Entry { path: path.clone(), key: item.span(), value: item.span() });
                        collect(inner, &path, entries);
                    }
                }
            }
            _ => {}
        }
    }
}
