//! What an event of an outbox brings for its own message: the headers of its row.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

/// An event may bring so many headers; common servers take a hundred in all.
const HEADERS_MAX: usize = 64;

/// A header's name and its value, or what is the matter with that.
pub(in crate::sink) type Header = (String, Result<String, &'static str>);

#[derive(Deserialize)]
struct Outbox<'a> {
    #[serde(borrow)]
    headers: Option<BTreeMap<String, &'a RawValue>>,
}

/// Reads the headers of `outbox`: texts, or numbers and booleans as they are written, or what is
/// the matter with one; one that is null is none. What is said holds no value.
pub(in crate::sink) fn headers(outbox: &[u8]) -> Result<Vec<Header>, String> {
    let Outbox { headers } =
        serde_json::from_slice(outbox).map_err(|_| "outbox.headers: no JSON object".to_owned())?;
    let headers = headers.unwrap_or_default();
    if headers.len() > HEADERS_MAX {
        return Err(format!("outbox.headers: more than {HEADERS_MAX}"));
    }
    let read = headers.into_iter().filter_map(|(name, json)| Some((name, text(json).transpose()?)));
    Ok(read.collect())
}

fn text(json: &RawValue) -> Result<Option<String>, &'static str> {
    let raw = json.get();
    match raw.as_bytes().first() {
        Some(b'n') => Ok(None),
        Some(b'"') => serde_json::from_str(raw).map(Some).map_err(|_| "no text"),
        Some(b'{' | b'[') => Err("an object or a list"),
        _ => Ok(Some(raw.to_owned())),
    }
}
