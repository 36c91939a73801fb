//! CloudEvents in binary mode: the attributes are headers, the value is the data.
//!
//! Source: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md>.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::message::text;

/// Takes an event in its structured form apart: adds the headers and returns the value, empty
/// where the event has no data.
pub(super) fn binary(event: &[u8], headers: &mut Vec<(String, Bytes)>) -> Result<Bytes, String> {
    let members: BTreeMap<&str, &RawValue> =
        serde_json::from_slice(event).map_err(|_| "cloudevents: not an event".to_owned())?;
    let mut value = Bytes::new();
    for (name, member) in members {
        if name == "data" {
            value = Bytes::copy_from_slice(member.get().as_bytes());
            continue;
        }
        let attribute: String =
            serde_json::from_str(member.get()).map_err(|_| format!("header ce_{name}: no text"))?;
        headers.push(match name {
            "datacontenttype" => text("content-type", attribute),
            _ => text(&format!("ce_{name}"), attribute),
        });
    }
    Ok(value)
}
