//! An audit file, read as somebody would who knows only its documentation.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;

/// The lines of the file, oldest first. Fails the test unless each carries the number and the SHA-256 that it must.
pub fn audit_lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("the audit file");
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut lines: Vec<Value> = Vec::new();
    let mut before = String::new();
    for line in whole.lines() {
        let json: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(json["line"], lines.len() + 1, "{line}");
        assert_eq!(json["previous_line"], before, "{line}");
        before = hex::encode(digest(&SHA256, line.as_bytes()));
        lines.push(json);
    }
    lines
}

/// The numbers of the registry's events in the file, in the order of its lines.
pub fn event_numbers(lines: &[Value]) -> Vec<u64> {
    lines
        .iter()
        .filter(|line| line["kind"] == "event")
        .map(|line| line["sequence"].as_u64().expect("a number"))
        .collect()
}

/// The lines of tokens and secrets that were handed out.
pub fn handed_out(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|line| line["kind"] == "handed_out").collect()
}
