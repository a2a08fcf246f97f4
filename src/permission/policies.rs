//! Policies as they are written: where they come from, and what is wrong with them, told by file and line.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use cedar_policy::{Policy, PolicyId, PolicySet};
use miette::Diagnostic;

/// The most files that a folder of policies may hold.
const MAX_FILES: usize = 100;
/// The most that all files may hold together, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The policies that come with the program, and what they are called where a file would be named.
const BUILT_IN: &str = include_str!("default.cedar");
const BUILT_IN_NAME: &str = "built-in";

/// What is wrong with policies: `/etc/keyward/policies/acme.cedar:12: unexpected token`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{} {problem}", file.display(), line.map(|line| format!("{line}:")).unwrap_or_default())]
pub struct PolicyError {
    pub file: PathBuf,
    /// From 1. `None` where it is about the file as a whole.
    pub line: Option<usize>,
    pub problem: String,
}

impl PolicyError {
    fn file(file: &Path, problem: impl Into<String>) -> Self {
        PolicyError { file: file.to_owned(), line: None, problem: problem.into() }
    }
}

/// Where policies come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// A file, or a folder whose files that end with `.cedar` are meant. `None`: the built-in policies alone.
    pub path: Option<PathBuf>,
    /// Whether the built-in policies do not apply.
    pub replace_defaults: bool,
}

/// One file of policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    pub name: PathBuf,
    pub text: String,
}

impl Origin {
    /// Everything there is, the built-in policies first, then files by name. At most 100 files of 1 MiB together.
    ///
    /// A path at which nothing is, and a folder without policies, are errors: policies that are gone may be ones that
    /// forbade something.
    pub fn read(&self) -> Result<Vec<Document>, PolicyError> {
        let mut documents = Vec::new();
        if !self.replace_defaults {
            documents.push(Document { name: BUILT_IN_NAME.into(), text: BUILT_IN.to_owned() });
        }
        let Some(path) = &self.path else { return Ok(documents) };
        let unreadable = |error: std::io::Error| PolicyError::file(path, format!("cannot be read: {error}"));
        let files = match fs::metadata(path).map_err(unreadable)?.is_dir() {
            true => files_of(path)?,
            false => vec![path.clone()],
        };
        let mut left = MAX_BYTES;
        for file in files {
            let text = read(&file, left)?;
            left -= text.len() as u64;
            documents.push(Document { name: file, text });
        }
        Ok(documents)
    }
}

/// The policies of a folder. Names that begin with a dot are not looked at: Kubernetes and editors keep theirs there.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>, PolicyError> {
    let unreadable = |error: std::io::Error| PolicyError::file(folder, format!("cannot be read: {error}"));
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".cedar") && !name.starts_with('.') {
            files.push(folder.join(&*name));
        }
        if files.len() > MAX_FILES {
            return Err(PolicyError::file(folder, format!("holds more than {MAX_FILES} files of policies")));
        }
    }
    if files.is_empty() {
        return Err(PolicyError::file(folder, "holds no file that ends with .cedar"));
    }
    files.sort();
    Ok(files)
}

fn read(file: &Path, most: u64) -> Result<String, PolicyError> {
    let unreadable = |error: std::io::Error| PolicyError::file(file, format!("cannot be read: {error}"));
    let mut text = String::new();
    fs::File::open(file).map_err(unreadable)?.take(most + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > most {
        return Err(PolicyError::file(file, format!("is too long: all policies may have {MAX_BYTES} bytes together")));
    }
    Ok(text)
}

impl Document {
    /// The policies in it. Each has its place for an id, such as `acme.cedar:12`.
    pub fn policies(&self) -> Result<Vec<Policy>, PolicyError> {
        let parsed: PolicySet = self.text.parse().map_err(|error: cedar_policy::ParseErrors| self.wrong(&error))?;
        if let Some(template) = parsed.templates().next() {
            let problem = format!("a template, which nothing links: {template}");
            return Err(PolicyError::file(&self.name, one_line(&problem)));
        }
        let mut policies: Vec<&Policy> = parsed.policies().collect();
        policies.sort_by_key(|policy| number(policy.id()));
        let mut from = 0;
        let mut placed = Vec::new();
        for policy in policies {
            let text = policy.to_cedar().unwrap_or_default();
            // They come in the order in which they are written, as they are written.
            let start = self.text.get(from..).and_then(|rest| rest.find(&text)).map_or(from, |found| from + found);
            from = start + text.len();
            placed.push(policy.new_id(PolicyId::new(self.place(start))));
        }
        Ok(placed)
    }

    /// `acme.cedar:12`, and the column where a policy does not begin its line.
    fn place(&self, offset: usize) -> String {
        let before = self.text.get(..offset).unwrap_or_default();
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let place = format!("{}:{}", self.name.display(), self.line(offset));
        if column == 1 { place } else { format!("{place}:{column}") }
    }

    fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
    }

    /// What is wrong with something that is written here.
    pub fn wrong(&self, error: &dyn Diagnostic) -> PolicyError {
        let place = error.labels().and_then(|mut labels| labels.next());
        let line = place.map(|place| self.line(place.offset()));
        let help = error.help().map(|help| format!(" ({help})")).unwrap_or_default();
        PolicyError { file: self.name.clone(), line, problem: one_line(&format!("{error}{help}")) }
    }

    /// Whether the policy of this id is one of these.
    pub fn holds(&self, id: &PolicyId) -> bool {
        let id: &str = id.as_ref();
        let rest = id.strip_prefix(&*self.name.to_string_lossy());
        rest.is_some_and(|rest| rest.starts_with(':') && rest.bytes().all(|b| b == b':' || b.is_ascii_digit()))
    }
}

/// Cedar numbers what it parses: `policy0`, `policy1`.
fn number(id: &PolicyId) -> usize {
    let id: &str = id.as_ref();
    id.trim_start_matches("policy").parse().unwrap_or(usize::MAX)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
