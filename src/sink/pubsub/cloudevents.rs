//! CloudEvents in binary mode: what they say of themselves are attributes, the data is the message.
//!
//! Source: <https://github.com/googleapis/google-cloudevents/blob/main/docs/spec/pubsub.md>.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::message::{Attributes, CONTENT_TYPE};

/// What the attributes' names begin with.
pub(super) const PREFIX: &str = "ce-";

/// Takes an event in its structured form apart: adds the attributes and returns the data, empty
/// where the event has none.
pub(super) fn binary<'a>(event: &'a [u8], attributes: &mut Attributes) -> Result<&'a [u8], String> {
    let members: BTreeMap<&str, &RawValue> =
        serde_json::from_slice(event).map_err(|_| "cloudevents: not an event".to_owned())?;
    let mut data: &[u8] = b"";
    for (name, member) in members {
        if name == "data" {
            data = member.get().as_bytes();
            continue;
        }
        let text: String = serde_json::from_str(member.get())
            .map_err(|_| format!("attribute {PREFIX}{name}: no text"))?;
        match name {
            "datacontenttype" => attributes.add(CONTENT_TYPE.to_owned(), text)?,
            _ => attributes.add(format!("{PREFIX}{name}"), text)?,
        }
    }
    Ok(data)
}
