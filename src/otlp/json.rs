//! How OTLP writes values in JSON: whole numbers of 64 bits as text, ids in hex, enums as numbers,
//! names in lowerCamelCase (pure). Source:
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>.

use serde_json::{Value, json};

/// Returns an attribute.
pub(super) fn attribute(name: &str, value: &Value) -> Value {
    json!({ "key": name, "value": any(value) })
}

/// Returns a value of any form that an attribute may have; what it may not is its text.
fn any(value: &Value) -> Value {
    match value {
        Value::String(text) => json!({ "stringValue": text }),
        Value::Bool(boolean) => json!({ "boolValue": boolean }),
        Value::Number(number) => match number.as_i64() {
            Some(number) => json!({ "intValue": number.to_string() }),
            None => json!({ "doubleValue": number }),
        },
        other => json!({ "stringValue": other.to_string() }),
    }
}

/// Returns a moment: nanoseconds since 1970.
pub(super) fn nanos(micros: i64) -> String {
    (i128::from(micros.max(0)) * 1_000).to_string()
}

/// Returns who it was measured by.
pub(super) fn scope() -> Value {
    json!({ "name": "walgate", "version": env!("CARGO_PKG_VERSION") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_forms_of_the_protocol() {
        for (value, form) in [
            (json!("a"), json!({ "stringValue": "a" })),
            (json!(true), json!({ "boolValue": true })),
            (json!(-7), json!({ "intValue": "-7" })),
            (json!(1.5), json!({ "doubleValue": 1.5 })),
            (json!(u64::MAX), json!({ "doubleValue": u64::MAX })),
        ] {
            assert_eq!(attribute("k", &value), json!({ "key": "k", "value": form }));
        }
        assert_eq!(nanos(1_700_000_000_000_001), "1700000000000001000");
        assert_eq!(nanos(-1), "0");
    }
}
