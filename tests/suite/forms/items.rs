//! Items of a table as lines of JSON, as DynamoDB's own, but for bodies, which are JSON themselves and stand as text (`T`).

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Value, json};

type Item = HashMap<String, AttributeValue>;

pub fn line(item: &Item) -> String {
    let attributes = item.iter().map(|(name, value)| (name.clone(), json_of(value)));
    Value::Object(attributes.collect::<Map<_, _>>()).to_string()
}

pub fn item(line: &str) -> Item {
    let Ok(Value::Object(attributes)) = serde_json::from_str(line) else { panic!("no item: {line}") };
    attributes.iter().map(|(name, value)| (name.clone(), value_of(value))).collect()
}

fn json_of(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(number) => json!({ "N": number }),
        AttributeValue::B(bytes) => match std::str::from_utf8(bytes.as_ref()) {
            Ok(text) if text.starts_with('{') => json!({ "T": text }),
            _ => json!({ "B": hex::encode(bytes.as_ref()) }),
        },
        AttributeValue::L(list) => json!({ "L": list.iter().map(json_of).collect::<Vec<_>>() }),
        other => panic!("{other:?} is in no item of ours"),
    }
}

fn value_of(json: &Value) -> AttributeValue {
    let text = |name: &str| json[name].as_str().map(str::to_owned);
    if let Some(list) = json["L"].as_array() {
        return AttributeValue::L(list.iter().map(value_of).collect());
    }
    let bytes = |bytes: Vec<u8>| AttributeValue::B(Blob::new(bytes));
    let read = text("S").map(AttributeValue::S).or_else(|| text("N").map(AttributeValue::N));
    let read = read.or_else(|| text("T").map(|text| bytes(text.into_bytes())));
    let read = read.or_else(|| text("B").map(|text| bytes(hex::decode(text).expect("hexadecimal"))));
    read.unwrap_or_else(|| panic!("no value: {json}"))
}
