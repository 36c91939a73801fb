//! Records as HubSpot reads them: properties are texts.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::sink::keyed::{Record, text};

/// A record that HubSpot can't have: the name of the property that is an object or a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotFlat(pub(super) String);

/// Writes an input of an upsert. `trace` comes back with what became of it.
pub(super) fn input(record: &Record<'_>, id_property: &str, trace: &str) -> Result<Value, NotFlat> {
    let mut properties = Map::new();
    for field in &record.fields {
        let raw = field.value.get();
        let value = match raw.as_bytes().first() {
            Some(b'{' | b'[') => return Err(NotFlat(field.name.to_string())),
            // What clears a property.
            Some(b'n') => Cow::Borrowed(""),
            _ => text(field.value),
        };
        properties.insert(field.name.to_string(), Value::from(value));
    }
    Ok(json!({
        "id": record.id(),
        "idProperty": id_property,
        "properties": properties,
        "objectWriteTraceId": trace,
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::sink::row::Fields;

    fn of(fields: &str) -> Result<Value, NotFlat> {
        let id: &RawValue = serde_json::from_str("42").unwrap();
        let Fields(fields) = serde_json::from_str(fields).unwrap();
        input(&Record { scope: 0, id, fields, events: vec![0] }, "ext", "trace-1")
    }

    #[test]
    fn every_value_is_a_text_with_all_its_digits() {
        let fields = r#"{"a":12.50,"b":null,"c":true,"d":"x \"y\"","e":90071992547409931}"#;
        assert_eq!(
            of(fields).unwrap(),
            json!({
                "id": "42", "idProperty": "ext", "objectWriteTraceId": "trace-1",
                "properties": {
                    "a": "12.50", "b": "", "c": "true", "d": "x \"y\"", "e": "90071992547409931"
                }
            })
        );
        assert_eq!(of(r#"{"a":{"b":1}}"#), Err(NotFlat("a".to_owned())));
        assert_eq!(of(r#"{"a":[1]}"#), Err(NotFlat("a".to_owned())));
    }
}
