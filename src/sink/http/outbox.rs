//! The headers that an event of an outbox brings for its own request.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::plan::{HEADER_VALUE_BYTES_MAX, Plan};
use crate::sink::outbox;

/// Headers that say how the body is sent, or are for the next hop: an event knows neither.
const TRANSPORT: [&str; 4] =
    ["content-encoding", "expect", "proxy-authorization", "proxy-connection"];

/// Adds the headers of `outbox`, the event's own, or says which of them stands in the way. What is
/// said holds no value, and a name only where it can be one.
pub(super) fn add_headers(
    outbox: &[u8],
    plan: &Plan,
    headers: &mut HeaderMap,
) -> Result<(), String> {
    let mut seen: Vec<HeaderName> = Vec::new();
    for (name, text) in outbox::headers(outbox)? {
        let name: HeaderName =
            name.parse().map_err(|_| "outbox.headers: a name that no header has".to_owned())?;
        if plan.owns(&name) || TRANSPORT.contains(&name.as_str()) {
            return Err(format!("header {name}: an event can't set it"));
        }
        if seen.contains(&name) {
            return Err(format!("header {name}: given twice"));
        }
        let value = text.and_then(value).map_err(|problem| format!("header {name}: {problem}"))?;
        headers.insert(name.clone(), value);
        seen.push(name);
    }
    Ok(())
}

fn value(text: String) -> Result<HeaderValue, &'static str> {
    if text.len() > HEADER_VALUE_BYTES_MAX {
        return Err("too long");
    }
    let mut value = HeaderValue::from_maybe_shared(bytes::Bytes::from(text))
        .map_err(|_| "a line end or control character in its value")?;
    value.set_sensitive(true);
    Ok(value)
}
