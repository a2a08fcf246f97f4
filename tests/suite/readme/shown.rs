//! What a page shows, and whether something is as shown.

use serde_json::{Deserializer, Value};

const OPEN: &str = "…";

/// A fenced block.
pub struct Block<'p> {
    pub lang: &'p str,
    /// Of the fence, from 1.
    pub line: usize,
    pub text: String,
}

pub fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(lang) = line.strip_prefix("```") {
            let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
            blocks.push(Block { lang, line: number + 1, text: inside.map(|line| format!("{line}\n")).collect() });
        }
    }
    blocks
}

/// Line by line; a line that is `…` stands for any number of lines.
pub fn text_matches(shown: &str, came: &str) -> Result<(), String> {
    let mut came = came.trim_matches('\n').lines();
    let mut may_skip = false;
    for wanted in shown.lines() {
        if wanted == OPEN {
            may_skip = true;
            continue;
        }
        let found = if may_skip {
            came.any(|line| fits(wanted, line))
        } else {
            came.next().is_some_and(|line| fits(wanted, line))
        };
        if !found {
            return Err(format!("there is no line {wanted:?} where it is shown"));
        }
        may_skip = false;
    }
    match came.next() {
        Some(further) if !may_skip => Err(format!("a line is not shown: {further:?}")),
        _ => Ok(()),
    }
}

/// One JSON text after the other.
pub fn json_matches(shown: &str, came: &str) -> Result<(), String> {
    let read = |text: &str| Deserializer::from_str(text).into_iter::<Value>().collect::<Result<Vec<_>, _>>();
    let shown = read(&quoted(shown)).map_err(|error| format!("what is shown is no JSON: {error}"))?;
    let came = read(came).map_err(|error| format!("what came is no JSON: {error}"))?;
    if shown.len() != came.len() {
        return Err(format!("{} answers are shown, {} came", shown.len(), came.len()));
    }
    shown.iter().zip(&came).try_for_each(|(shown, came)| value_matches("", shown, came))
}

fn value_matches(at: &str, shown: &Value, came: &Value) -> Result<(), String> {
    match (shown, came) {
        (Value::Object(shown), Value::Object(came)) => {
            for (key, value) in shown.iter().filter(|(key, _)| *key != OPEN) {
                let at = format!("{at}.{key}");
                value_matches(&at, value, came.get(key).ok_or_else(|| format!("{at} did not come"))?)?;
            }
            match came.keys().find(|key| !shown.contains_key(*key)) {
                Some(key) if !shown.contains_key(OPEN) => Err(format!("{at}.{key} is not shown")),
                _ => Ok(()),
            }
        }
        (Value::Array(shown), Value::Array(came)) => {
            let wanted: Vec<_> = shown.iter().filter(|value| *value != OPEN).collect();
            let is_open = wanted.len() < shown.len();
            if came.len() < wanted.len() || (came.len() > wanted.len() && !is_open) {
                return Err(format!("{at} has {} entries", came.len()));
            }
            wanted.iter().zip(came).try_for_each(|(shown, came)| value_matches(&format!("{at}[]"), shown, came))
        }
        (Value::String(wanted), Value::String(text)) if fits(wanted, text) => Ok(()),
        _ if shown == came => Ok(()),
        _ => Err(format!("{at} is {came}, shown is {shown}")),
    }
}

/// Whether `text` is `wanted`, where each `…` stands for one character or more.
fn fits(wanted: &str, text: &str) -> bool {
    match wanted.split_once(OPEN) {
        None => wanted == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|left| {
            left.char_indices()
                .skip(1)
                .map(|(at, _)| at)
                .chain((!left.is_empty()).then_some(left.len()))
                .any(|at| fits(rest, &left[at..]))
        }),
    }
}

/// Puts each `…` that is not in a text into quotation marks: as a field in an object, as an entry in an array.
fn quoted(shown: &str) -> String {
    let (mut text, mut within, mut in_text) = (String::new(), Vec::new(), false);
    for c in shown.chars() {
        match c {
            '"' => in_text = !in_text,
            '{' | '[' if !in_text => within.push(c),
            '}' | ']' if !in_text => drop(within.pop()),
            '…' if !in_text => {
                text.push_str(if within.last() == Some(&'{') { "\"…\": \"…\"" } else { "\"…\"" });
                continue;
            }
            _ => {}
        }
        text.push(c);
    }
    text
}

#[test]
fn what_is_left_open_fits_anything_and_nothing_else_does() {
    assert!(fits("a…c", "abbc") && fits("…", "x") && fits("eyJ…", "eyJx") && fits("a … b … c", "a 1 b 2 c"));
    assert!(!fits("a…c", "ac") && !fits("…", "") && !fits("a", "b") && !fits("a…c", "abd"));
    assert!(text_matches("a\n…\nd\n", "a\nb\nc\nd\n").is_ok() && text_matches("a\n…\n", "a").is_ok());
    assert!(text_matches("a\nc\n", "a\nb\nc\n").is_err() && text_matches("a\n", "a\nb\n").is_err());
    let came = r#"{"a": 1, "b": ["x", "y"], "c": {"d": "eyJ1"}}"#;
    for good in [r#"{"a": 1, …}"#, r#"{"b": ["x", …], …}"#, r#"{"a": 1, "b": ["x", "y"], "c": {"d": "eyJ…"}}"#]
    {
        assert_eq!(json_matches(good, came), Ok(()), "{good}");
    }
    for bad in [r#"{"a": 1}"#, r#"{"a": 2, …}"#, r#"{"b": ["x"], …}"#, r#"{"z": "…", …}"#, r#"{"c": {}, …}"#, ""]
    {
        assert!(json_matches(bad, came).is_err(), "{bad}");
    }
}
