//! One key of a configuration: its value, the limits it has to keep to, and how both are shown.
//!
//! It knows no key by name.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// One key of a configuration.
pub(super) struct Setting {
    pub key: &'static str,
    pub value: Value,
    pub limits: Limits,
    pub about: &'static str,
}

pub(super) enum Value {
    Count(u64),
    Period(Duration),
    Flag(bool),
    Text(String),
    Texts(Vec<String>),
    Unset,
}

pub(super) enum Limits {
    None,
    Count(RangeInclusive<u64>),
    Period(RangeInclusive<Duration>),
    /// What a text must be, in words, and whether it is.
    Text(&'static str, fn(&str) -> bool),
    /// What each text must be, and how many there may be.
    Texts(&'static str, usize, fn(&str) -> bool),
}

impl Setting {
    /// What is wrong with the value, such as `must be 1 to 100`.
    pub(super) fn problem(&self) -> Option<String> {
        let fits = match (&self.limits, &self.value) {
            (Limits::Count(range), Value::Count(count)) => range.contains(count),
            (Limits::Period(range), Value::Period(period)) => range.contains(period),
            (Limits::Text(_, fits), Value::Text(text)) => fits(text),
            (Limits::Texts(_, most, fits), Value::Texts(texts)) => {
                texts.len() <= *most && texts.iter().all(|text| fits(text))
            }
            _ => true,
        };
        (!fits).then(|| format!("must be {}", self.limits))
    }
}

pub(super) const MILLI: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

impl Setting {
    pub(super) fn new(key: &'static str, value: Value, about: &'static str) -> Self {
        Setting { key, value, limits: Limits::None, about }
    }

    pub(super) fn within(self, least: u64, most: u64) -> Self {
        Setting { limits: Limits::Count(least..=most), ..self }
    }

    pub(super) fn lasting(self, shortest: Duration, longest: Duration) -> Self {
        Setting { limits: Limits::Period(shortest..=longest), ..self }
    }

    pub(super) fn each(self, words: &'static str, most: usize, fits: fn(&str) -> bool) -> Self {
        Setting { limits: Limits::Texts(words, most, fits), ..self }
    }

    pub(super) fn of(self, words: &'static str, fits: fn(&str) -> bool) -> Self {
        Setting { limits: Limits::Text(words, fits), ..self }
    }
}

/// A period as it is written in a configuration, such as `90d` or `1h 30m`.
pub fn parse_period(text: &str) -> Result<Duration, String> {
    use serde::de::IntoDeserializer as _;
    let text: serde::de::value::StrDeserializer<'_, serde::de::value::Error> = text.into_deserializer();
    humantime_serde::deserialize(text).map_err(|_| "must be a period such as 1h".to_owned())
}

pub(super) fn count(number: impl Into<u64>) -> Value {
    Value::Count(number.into())
}

pub(super) fn size(number: usize) -> Value {
    Value::Count(u64::try_from(number).unwrap_or(u64::MAX))
}

pub(super) fn period(duration: Duration) -> Value {
    Value::Period(duration)
}

pub(super) fn text(text: impl fmt::Display) -> Value {
    Value::Text(text.to_string())
}

pub(super) fn texts(texts: &[String]) -> Value {
    Value::Texts(texts.to_vec())
}

pub(super) fn is_region(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=32).contains(&text.len()) && text.bytes().all(allowed)
}

/// As it is written in TOML; nothing for what is not set.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Count(count) => write!(f, "{count}"),
            Value::Period(period) => write!(f, "\"{}\"", Short(*period)),
            Value::Flag(flag) => write!(f, "{flag}"),
            Value::Text(text) => f.write_str(&quoted(text)),
            Value::Texts(texts) => {
                write!(f, "[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
            }
            Value::Unset => Ok(()),
        }
    }
}

/// A basic string of TOML, on one line.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '\\' | '"' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limits::None => Ok(()),
            Limits::Count(range) => write!(f, "{} to {}", range.start(), range.end()),
            Limits::Period(range) => write!(f, "{} to {}", Short(*range.start()), Short(*range.end())),
            Limits::Text(words, _) => f.write_str(words),
            Limits::Texts(words, most, _) => write!(f, "at most {most}, each {words}"),
        }
    }
}

/// A period in its largest units, as it is read: `90d`, `1m 30s`.
struct Short(Duration);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_nanos();
        if rest == 0 {
            return f.write_str("0s");
        }
        let units = [("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND), ("ms", MILLI)];
        let units = units.into_iter().chain([("us", Duration::from_micros(1)), ("ns", Duration::from_nanos(1))]);
        let mut parts = Vec::new();
        for (unit, length) in units {
            let times = rest / length.as_nanos();
            rest %= length.as_nanos();
            if times > 0 {
                parts.push(format!("{times}{unit}"));
            }
        }
        f.write_str(&parts.join(" "))
    }
}
