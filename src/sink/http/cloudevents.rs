//! CloudEvents in binary mode: the attributes are headers, the body is the data.
//!
//! Source: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>.

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::value::RawValue;

use super::plan::{HEADER_VALUE_BYTES_MAX, Plan};

/// What the headers of attributes begin with.
pub(super) const PREFIX: &str = "ce-";

/// What is percent-encoded in a header: everything but the printable signs of ASCII, of which
/// these are too.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// Takes an event in its structured form apart: adds the headers and returns the body, or says
/// which attribute stands in the way.
pub(super) fn binary(event: &[u8], plan: &Plan, headers: &mut HeaderMap) -> Result<Bytes, String> {
    let members: BTreeMap<&str, &RawValue> =
        serde_json::from_slice(event).map_err(|_| "cloudevents: not an event".to_owned())?;
    let mut body = None;
    for (name, value) in members {
        if name == "data" {
            body = Some(Bytes::copy_from_slice(value.get().as_bytes()));
        } else if name != "datacontenttype" {
            let (name, value) = header(name, value)?;
            headers.insert(name, value);
        }
    }
    if body.is_none() && !plan.owns(&CONTENT_TYPE) {
        headers.remove(CONTENT_TYPE);
    }
    Ok(body.unwrap_or_default())
}

fn header(attribute: &str, value: &RawValue) -> Result<(HeaderName, HeaderValue), String> {
    let wrong = |what: &str| format!("header {PREFIX}{attribute}: {what}");
    let text: String = serde_json::from_str(value.get()).map_err(|_| wrong("no text"))?;
    let text = utf8_percent_encode(&text, ESCAPED).to_string();
    if text.len() > HEADER_VALUE_BYTES_MAX {
        return Err(wrong(&format!("longer than {HEADER_VALUE_BYTES_MAX} bytes")));
    }
    let name = format!("{PREFIX}{attribute}").parse().map_err(|_| wrong("no name"))?;
    let mut value = HeaderValue::try_from(text).map_err(|_| wrong("no value"))?;
    value.set_sensitive(true);
    Ok((name, value))
}
