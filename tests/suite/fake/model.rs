//! What may go in and come out, by the service models that AWS publishes (see `peers::service_model`).
//!
//! The model is the judge of the fake as much as of its caller: a request is held against its input shape, an answer
//! against its output shape, and an error against the operation's list.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex_lite::Regex;
use serde_json::{Map, Value};

use super::Service;
use crate::peers::service_model;

/// Errors that every operation of every service may answer with; no model lists them.
const COMMON_ERRORS: &[&str] = &[
    "AccessDeniedException",
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "SerializationException",
    "ThrottlingException",
    "UnknownOperationException",
    "UnrecognizedClientException",
    "ValidationException",
];

/// Values that the documentation names and the model's enum lacks, by shape.
const DOCUMENTED_VALUES: &[(&str, &str)] = &[("ExplicitAuthFlowsType", "ALLOW_CLIENT_TOKEN_AUTH")];

pub struct Model {
    shapes: Map<String, Value>,
    operations: Map<String, Value>,
    patterns: BTreeMap<String, OnceLock<Regex>>,
}

/// Why a value does not fit its shape.
#[derive(Debug, PartialEq, Eq)]
pub struct Misfit {
    /// It could not even be read: a wrong type or an unknown member.
    pub is_unreadable: bool,
    pub text: String,
}

impl Model {
    pub fn of(service: Service) -> &'static Model {
        static COGNITO: OnceLock<Model> = OnceLock::new();
        static SECRETS_MANAGER: OnceLock<Model> = OnceLock::new();
        match service {
            Service::Cognito => COGNITO.get_or_init(|| Model::read("cognito-idp")),
            Service::SecretsManager => SECRETS_MANAGER.get_or_init(|| Model::read("secretsmanager")),
            Service::Oauth => panic!("OAuth 2.0 has no service model"),
        }
    }

    /// That of a service by its name there, which may be one that is not faked.
    pub fn read(name: &str) -> Model {
        let mut model = service_model(name);
        let mut part = |name: &str| match model[name].take() {
            Value::Object(part) => part,
            other => panic!("{name} of a service model is {other}"),
        };
        let (shapes, operations) = (part("shapes"), part("operations"));
        let pattern = |shape: &Value| Some((shape.get("pattern")?.as_str()?.to_owned(), OnceLock::new()));
        let patterns = shapes.values().filter_map(pattern).collect();
        Model { shapes, operations, patterns }
    }

    pub fn knows(&self, operation: &str) -> bool {
        self.operations.contains_key(operation)
    }

    pub fn check_input(&self, operation: &str, input: &Value) -> Result<(), Misfit> {
        self.check(self.shape_of(operation, "input"), input, "")
    }

    /// An operation without an output answers with nothing.
    pub fn check_output(&self, operation: &str, output: &Value) -> Result<(), Misfit> {
        if self.operations[operation].get("output").is_none() {
            let is_empty = output.as_object().is_some_and(Map::is_empty);
            return if is_empty { Ok(()) } else { unreadable(operation, "answers with nothing") };
        }
        self.check(self.shape_of(operation, "output"), output, "")
    }

    pub fn declares(&self, operation: &str, error: &str) -> bool {
        let errors = self.operations[operation]["errors"].as_array();
        errors.is_some_and(|errors| errors.iter().any(|declared| declared["shape"] == error))
    }

    /// The HTTP status of an error; `None` when the operation cannot answer with it.
    pub fn status_of(&self, operation: &str, error: &str) -> Option<u16> {
        if !self.knows(operation) || COMMON_ERRORS.contains(&error) {
            return COMMON_ERRORS.contains(&error).then_some(400);
        }
        let is_fault = |shape: &Value| shape.get("fault") == Some(&Value::Bool(true));
        self.declares(operation, error).then(|| if is_fault(&self.shapes[error]) { 500 } else { 400 })
    }

    fn shape_of(&self, operation: &str, side: &str) -> &str {
        self.operations[operation][side]["shape"].as_str().expect("a shape's name")
    }

    fn check(&self, name: &str, value: &Value, path: &str) -> Result<(), Misfit> {
        let shape = &self.shapes[name];
        let inner = |part: &str| shape[part]["shape"].as_str().expect("a shape's name");
        match shape["type"].as_str().expect("a type") {
            "structure" => {
                let Some(given) = value.as_object() else { return unreadable(path, "is not a structure") };
                self.check_members(shape, given, path)
            }
            "list" => {
                let Some(items) = value.as_array() else { return unreadable(path, "is not a list") };
                self.check_size(shape, items.len(), path)?;
                let mut items = items.iter().enumerate();
                items.try_for_each(|(at, item)| self.check(inner("member"), item, &format!("{path}[{at}]")))
            }
            "map" => {
                let Some(entries) = value.as_object() else { return unreadable(path, "is not a map") };
                self.check_size(shape, entries.len(), path)?;
                entries.iter().try_for_each(|(key, value)| {
                    self.check(inner("key"), &Value::String(key.clone()), &format!("{path}.key"))?;
                    self.check(inner("value"), value, &format!("{path}.{key}"))
                })
            }
            "string" => {
                let Some(text) = value.as_str() else { return unreadable(path, "is not a string") };
                self.check_text(name, shape, text, path)
            }
            "integer" | "long" => {
                let Some(number) = value.as_i64() else { return unreadable(path, "is not a whole number") };
                let bound = |key: &str| shape.get(key).and_then(Value::as_i64);
                let fits = bound("min").is_none_or(|min| min <= number) && bound("max").is_none_or(|max| number <= max);
                if fits { Ok(()) } else { unfit(path, &format!("{number} is out of range")) }
            }
            "blob" => {
                let bytes = value.as_str().and_then(|text| STANDARD.decode(text).ok());
                let Some(bytes) = bytes else { return unreadable(path, "is not base64") };
                self.check_size(shape, bytes.len(), path)
            }
            "boolean" if !value.is_boolean() => unreadable(path, "is not a boolean"),
            "timestamp" | "double" | "float" if !value.is_number() => unreadable(path, "is not a number"),
            "boolean" | "timestamp" | "double" | "float" => Ok(()),
            other => panic!("{name} has the type {other}"),
        }
    }

    fn check_members(&self, shape: &Value, given: &Map<String, Value>, path: &str) -> Result<(), Misfit> {
        let members = shape["members"].as_object().expect("members");
        let required = shape.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required.filter_map(Value::as_str) {
            if !given.contains_key(name) {
                return unfit(&format!("{path}.{name}"), "is required");
            }
        }
        given.iter().try_for_each(|(name, value)| {
            let path = format!("{path}.{name}");
            let Some(member) = members.get(name) else { return unreadable(&path, "is not known") };
            self.check(member["shape"].as_str().expect("a shape's name"), value, &path)
        })
    }

    fn check_text(&self, name: &str, shape: &Value, text: &str, path: &str) -> Result<(), Misfit> {
        self.check_size(shape, text.chars().count(), path)?;
        if let Some(allowed) = shape.get("enum").and_then(Value::as_array) {
            let is_allowed = allowed.iter().any(|value| value == text) || DOCUMENTED_VALUES.contains(&(name, text));
            return if is_allowed { Ok(()) } else { unfit(path, "is none of the values of its enum") };
        }
        match shape.get("pattern").and_then(Value::as_str) {
            // The pattern has no dot, but the documentation's own examples of this member have.
            Some(pattern) if name == "DomainType" && text.contains('.') => {
                let is_fine = text.split('.').all(|label| self.pattern(pattern).is_match(label));
                if is_fine { Ok(()) } else { unfit(path, &format!("has a label that does not match {pattern}")) }
            }
            Some(pattern) if !self.pattern(pattern).is_match(text) => unfit(path, &format!("does not match {pattern}")),
            _ => Ok(()),
        }
    }

    fn check_size(&self, shape: &Value, size: usize, path: &str) -> Result<(), Misfit> {
        let bound = |key: &str| shape.get(key).and_then(Value::as_u64).map(|bound| bound as usize);
        let fits = bound("min").is_none_or(|min| min <= size) && bound("max").is_none_or(|max| size <= max);
        if fits { Ok(()) } else { unfit(path, &format!("has the length {size}")) }
    }

    /// AWS means the whole text, and by `\w` and `\s` ASCII, which is how regex-lite reads them. It does not know the
    /// categories of Unicode: all of them but separators and control characters stand for whatever is printed.
    fn pattern(&self, pattern: &str) -> &Regex {
        self.patterns[pattern].get_or_init(|| {
            let known = pattern.replace(r"\p{L}\p{M}\p{S}\p{N}\p{P}", r"!-~\x{a1}-\x{10ffff}").replace(r"\p{Z}", " ");
            Regex::new(&format!("^(?:{known})$")).unwrap_or_else(|error| panic!("{pattern}: {error}"))
        })
    }
}

fn unreadable(path: &str, rule: &str) -> Result<(), Misfit> {
    Err(Misfit { is_unreadable: true, text: format!("{} {rule}", path.trim_start_matches('.')) })
}

/// What was given is not repeated: it may be a secret.
fn unfit(path: &str, rule: &str) -> Result<(), Misfit> {
    Err(Misfit { is_unreadable: false, text: format!("{} {rule}", path.trim_start_matches('.')) })
}
