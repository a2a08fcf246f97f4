//! How the tour looks: headings, commands, answers and marks.
//!
//! It knows nothing of the contract but that a JSON text that begins with `eyJ` is a token, and shortens every such
//! text: so no whole token is ever written, whatever field it comes in.

use std::io::{self, Write};

use prost_reflect::DynamicMessage;
use tonic::Status;
use tonic_types::{ErrorDetail, StatusExt as _};

use super::report::{Check, Report};

/// Shorter texts are no tokens.
const TOKEN_LENGTH: usize = 80;
/// Where a command is broken into two lines.
const WIDTH: usize = 110;

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const CYAN: &str = "36";

pub(super) struct Screen<'w> {
    out: &'w mut (dyn Write + Send),
    color: bool,
    chapter: usize,
    /// Tokens that have a name, which stands for them in later commands.
    named: Vec<(String, String)>,
}

impl<'w> Screen<'w> {
    pub(super) fn new(out: &'w mut (dyn Write + Send), color: bool) -> Self {
        Screen { out, color, chapter: 0, named: Vec::new() }
    }

    pub(super) fn chapter(&mut self, title: &str, sentences: &str) -> io::Result<()> {
        self.chapter += 1;
        let title = self.paint(BOLD, &format!("{}. {title}", self.chapter));
        writeln!(self.out, "\n{title}\n{sentences}")
    }

    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// The grpcurl command that makes this call.
    pub(super) fn command(&mut self, address: &str, method: &str, request: &DynamicMessage) -> io::Result<()> {
        let json = serde_json::to_string(request).map_err(io::Error::other)?;
        let data = self.quoted(&json);
        let data = if data == "'{}'" { String::new() } else { format!(" -d {data}") };
        let gap = if data.len() + address.len() + method.len() > WIDTH - 20 { " \\\n    " } else { " " };
        let command = self.paint(BOLD, &format!("grpcurl -plaintext{data}{gap}{address} {method}"));
        writeln!(self.out, "\n$ {command}")
    }

    pub(super) fn answer(&mut self, answer: &DynamicMessage) -> io::Result<()> {
        let json = shortened(&serde_json::to_string_pretty(answer).map_err(io::Error::other)?);
        let json = if self.color { colored(&json) } else { json };
        writeln!(self.out, "{json}")
    }

    /// From now on `name` stands for `token` in commands.
    pub(super) fn name_token(&mut self, token: &str, name: &str) -> io::Result<()> {
        self.named.push((token.to_owned(), name.to_owned()));
        let line = self.paint(DIM, &format!("# below, ${name} is this accessToken"));
        writeln!(self.out, "{line}")
    }

    /// As grpcurl prints an error.
    pub(super) fn error(&mut self, status: &Status) -> io::Result<()> {
        let mut text = format!("ERROR:\n  Code: {:?}\n  Message: {}", status.code(), status.message());
        let details = status.get_error_details_vec();
        if !details.is_empty() {
            text.push_str("\n  Details:");
        }
        for (number, detail) in details.into_iter().enumerate() {
            let json = serde_json::to_string_pretty(&described(detail)).map_err(io::Error::other)?;
            let json = json.replace('\n', "\n    \t");
            text.push_str(&format!("\n  {})\t{json}", number + 1));
        }
        let text = self.paint(YELLOW, &shortened(&text));
        writeln!(self.out, "{text}")
    }

    pub(super) fn check(&mut self, check: &Check) -> io::Result<()> {
        let line = self.mark(check);
        writeln!(self.out, "{line}")
    }

    pub(super) fn summary(&mut self, report: &Report) -> io::Result<()> {
        let title = self.paint(BOLD, "What was expected");
        writeln!(self.out, "\n{title}")?;
        for check in &report.checks {
            let line = self.mark(check);
            writeln!(self.out, "  {line}")?;
        }
        let (all, failed) = (report.checks.len(), report.failures().count());
        let line = match failed {
            0 => self.paint(GREEN, &format!("All {all} expectations were met.")),
            _ => self.paint(RED, &format!("{failed} of {all} expectations were not met.")),
        };
        writeln!(self.out, "\n{line}")?;
        self.out.flush()
    }

    fn mark(&self, check: &Check) -> String {
        match &check.found {
            None => format!("{} {}", self.paint(GREEN, "✓"), check.expectation),
            Some(found) => {
                let found = shortened(found);
                format!("{} {}: {}", self.paint(RED, "✗"), check.expectation, self.paint(RED, &found))
            }
        }
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.color { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// In single quotes for a shell; named tokens become variables, which a shell reads outside of them.
    fn quoted(&self, json: &str) -> String {
        let mut text = json.replace('\'', r"'\''");
        for (token, name) in &self.named {
            text = text.replace(token.as_str(), &format!(r#"'"${name}"'"#));
        }
        format!("'{}'", shortened(&text))
    }
}

/// `eyJraWQ…(912 characters)` instead of each token in a JSON text.
fn shortened(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(start) = rest.find("eyJ") {
        let (before, from) = rest.split_at(start);
        let is_token = |c: char| c.is_ascii_alphanumeric() || "-_.=".contains(c);
        let length = from.find(|c: char| !is_token(c)).unwrap_or(from.len());
        let (token, after) = from.split_at(length);
        text.push_str(before);
        match length {
            TOKEN_LENGTH.. => text.push_str(&format!("{}…({length} characters)", &token[..7])),
            _ => text.push_str(token),
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

/// Keys, texts and everything else in colours of their own.
fn colored(json: &str) -> String {
    let mut text = String::with_capacity(json.len() * 2);
    let mut rest = json;
    while let Some(start) = rest.find('"') {
        let (before, from) = rest.split_at(start);
        let mut escaped = false;
        let end = from.char_indices().skip(1).find(|&(_, c)| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let (string, after) = from.split_at(end.map_or(from.len(), |(at, _)| at + 1));
        let style = if after.starts_with(':') { CYAN } else { GREEN };
        text.push_str(&format!("{before}\x1b[{style}m{string}\x1b[0m"));
        rest = after;
    }
    text.push_str(rest);
    text
}

/// The details that the contract promises, as canonical JSON.
fn described(detail: ErrorDetail) -> serde_json::Value {
    use serde_json::json;
    match detail {
        ErrorDetail::ErrorInfo(info) => {
            let metadata: std::collections::BTreeMap<_, _> = info.metadata.into_iter().collect();
            let mut json = json!({ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "domain": info.domain,
                "reason": info.reason });
            if !metadata.is_empty() {
                json["metadata"] = json!(metadata);
            }
            json
        }
        ErrorDetail::BadRequest(bad) => {
            let field = |violation: &tonic_types::FieldViolation| {
                json!({ "field": violation.field,
                "description": violation.description })
            };
            let violations: Vec<_> = bad.field_violations.iter().map(field).collect();
            json!({ "@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations })
        }
        ErrorDetail::RetryInfo(retry) => {
            let delay = retry.retry_delay.unwrap_or_default();
            json!({ "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": format!("{}s", delay.as_secs_f64()) })
        }
        _ => json!({ "@type": "another detail" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_shortened_wherever_they_are() {
        let token = format!("eyJraWQi.{}", "x".repeat(900));
        let json = format!("{{\"accessToken\": \"{token}\", \"other\": \"eyJshort\", \"again\": [\"{token}\"]}}");
        let text = shortened(&json);
        assert_eq!(
            text,
            r#"{"accessToken": "eyJraWQ…(909 characters)", "other": "eyJshort", "again": ["eyJraWQ…(909 characters)"]}"#
        );
        assert_eq!(shortened(&token), "eyJraWQ…(909 characters)");
    }

    #[test]
    fn a_command_is_quoted_for_a_shell_and_names_its_tokens() {
        let token = format!("eyJraWQi.{}", "x".repeat(900));
        let mut out = Vec::new();
        let mut screen = Screen::new(&mut out, false);
        screen.name_token(&token, "ACME_TOKEN").expect("written");
        let quoted = screen.quoted(&format!(r#"{{"token":"{token}","reason":"it's over"}}"#));
        assert_eq!(quoted, r#"'{"token":"'"$ACME_TOKEN"'","reason":"it'\''s over"}'"#);
    }

    #[test]
    fn colours_change_no_text() {
        let json = "{\n  \"a\\\"b\": \"c:\\\\\",\n  \"n\": [1, true, \"ü\"]\n}";
        let plain =
            [CYAN, GREEN, "0"].iter().fold(colored(json), |text, style| text.replace(&format!("\x1b[{style}m"), ""));
        assert_eq!(plain, json);
        assert!(colored(json).contains("\x1b[36m\"a\\\"b\"\x1b[0m: \x1b[32m\"c:\\\\\"\x1b[0m"));
    }
}
