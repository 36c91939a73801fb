//! The config's JSON Schema (draft 2020-12), from the description of its keys.

use serde_json::{Map, Value, json};

use super::keys::{Key, Otherwise, ROOT, Section, Shape};

/// Returns the JSON Schema of the config file.
#[must_use]
pub fn schema() -> Value {
    let mut schema = section(&ROOT);
    if let Value::Object(fields) = &mut schema {
        fields.shift_insert(
            0,
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        fields.shift_insert(1, "title".to_owned(), json!("walgate.toml"));
    }
    schema
}

fn section(section: &Section) -> Value {
    let here = || section.keys.iter().filter(|key| key.otherwise != Otherwise::Later);
    let properties: Map<String, Value> =
        here().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> =
        here().filter(|key| key.otherwise == Otherwise::Required).map(|key| key.name).collect();
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if let (Value::Object(fields), false) = (&mut schema, required.is_empty()) {
        fields.insert("required".to_owned(), json!(required));
    }
    schema
}

fn property(key: &Key) -> Value {
    let mut schema = shape(&key.shape);
    if let Value::Object(fields) = &mut schema {
        fields.insert("description".to_owned(), json!(key.doc));
        if let Some(default) = default(key) {
            fields.insert("default".to_owned(), default);
        }
    }
    schema
}

/// Every default of the description is JSON as well as TOML.
fn default(key: &Key) -> Option<Value> {
    match key.otherwise {
        Otherwise::Toml(text) => serde_json::from_str(text).ok(),
        Otherwise::Required | Otherwise::None | Otherwise::Later => None,
    }
}

fn shape(shape_: &Shape) -> Value {
    // What is replaced later may be anything, so a reference passes every pattern.
    let text =
        |pattern: &str| json!({ "type": "string", "pattern": format!("^{pattern}$|\\$\\{{") });
    match shape_ {
        Shape::Text | Shape::Path => json!({ "type": "string", "minLength": 1 }),
        Shape::Secret => json!({ "type": "string" }),
        Shape::Integer(min, u32::MAX) => json!({ "type": "integer", "minimum": min }),
        Shape::Integer(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Shape::Boolean => json!({ "type": "boolean" }),
        Shape::Ratio => json!({ "type": "number", "exclusiveMinimum": 0, "maximum": 1 }),
        Shape::Duration(_) => text("[0-9]+(ms|s|m|h|d)"),
        Shape::Size => text("(0|[0-9]+([KMGT]i?)?B)"),
        Shape::Rate => text("[0-9]+/[smh]"),
        Shape::ByteRate => text("[0-9]+([KMGT]i?)?B/[smh]"),
        Shape::Word(words, _) => json!({
            "anyOf": [{ "enum": words }, { "type": "string", "pattern": "\\$\\{" }]
        }),
        Shape::Any | Shape::Cell => json!({}),
        Shape::Table(inner) => section(inner),
        Shape::Named(inner) => json!({ "type": "object", "additionalProperties": section(inner) }),
        Shape::Secrets => {
            json!({ "type": "object", "additionalProperties": { "type": "string" } })
        }
        Shape::Values | Shape::Cells => json!({ "type": "object", "additionalProperties": {} }),
        Shape::List(item) => json!({ "type": "array", "items": shape(item) }),
        Shape::Either(shapes) => json!({ "anyOf": shapes.iter().map(shape).collect::<Vec<_>>() }),
    }
}
