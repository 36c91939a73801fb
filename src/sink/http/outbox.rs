//! The headers that an event of an outbox brings for its own request.

use std::collections::BTreeMap;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::plan::{HEADER_VALUE_BYTES_MAX, Plan};

/// An event may bring so many headers; common servers take a hundred in all.
const HEADERS_MAX: usize = 64;

/// Headers that say how the body is sent, or are for the next hop: an event knows neither.
const TRANSPORT: [&str; 4] =
    ["content-encoding", "expect", "proxy-authorization", "proxy-connection"];

#[derive(Deserialize)]
struct Outbox<'a> {
    #[serde(borrow)]
    headers: Option<BTreeMap<String, &'a RawValue>>,
}

/// Adds the headers of `outbox`, the event's own, or says which of them stands in the way. What is
/// said holds no value, and a name only where it can be one.
pub(super) fn add_headers(
    outbox: &[u8],
    plan: &Plan,
    headers: &mut HeaderMap,
) -> Result<(), String> {
    let Outbox { headers: own } =
        serde_json::from_slice(outbox).map_err(|_| "outbox.headers: no JSON object".to_owned())?;
    let own = own.unwrap_or_default();
    if own.len() > HEADERS_MAX {
        return Err(format!("outbox.headers: more than {HEADERS_MAX}"));
    }
    let mut seen: Vec<HeaderName> = Vec::new();
    for (name, json) in &own {
        let name: HeaderName =
            name.parse().map_err(|_| "outbox.headers: a name that no header has".to_owned())?;
        if plan.owns(&name) || TRANSPORT.contains(&name.as_str()) {
            return Err(format!("header {name}: an event can't set it"));
        }
        if seen.contains(&name) {
            return Err(format!("header {name}: given twice"));
        }
        let Some(value) = value(json).map_err(|problem| format!("header {name}: {problem}"))?
        else {
            continue;
        };
        headers.insert(name.clone(), value);
        seen.push(name);
    }
    Ok(())
}

/// Reads a header's value: a text, or a number or boolean as it is written; null is none.
fn value(json: &RawValue) -> Result<Option<HeaderValue>, &'static str> {
    let raw = json.get();
    let text = match raw.as_bytes().first() {
        Some(b'n') => return Ok(None),
        Some(b'"') => serde_json::from_str(raw).map_err(|_| "no text")?,
        Some(b'{' | b'[') => return Err("an object or a list"),
        _ => raw.to_owned(),
    };
    if text.len() > HEADER_VALUE_BYTES_MAX {
        return Err("too long");
    }
    let mut value = HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| "a line end or control character in its value")?;
    value.set_sensitive(true);
    Ok(Some(value))
}
