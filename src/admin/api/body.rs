//! Bodies of what changes something: read strictly, so that nothing means more than whoever wrote
//! it meant.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Number;

use crate::admin::refusal::Refusal;

/// A body as JSON; an empty one is an empty object.
///
/// Whatever changes something takes one: a form of another site can't send it without asking first,
/// and nobody here says yes.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let kind = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        if !kind.is_some_and(|kind| kind.starts_with(b"application/json")) {
            let message = "send the header content-type: application/json";
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|error| Refusal::new(error.status(), error.body_text()))?;
        let body: &[u8] = if body.is_empty() { b"{}" } else { &body };
        let read = serde_json::from_slice(body);
        read.map(Self).map_err(|error| Refusal::wrong(format!("the body: {error}")))
    }
}

/// Takes a whole number, which JSON may write as `3.0`.
fn whole<T: TryFrom<i64>>(number: &Number) -> Option<T> {
    let float = number.as_f64().filter(|float| float.fract() == 0.0);
    let exact = float.and_then(|float| format!("{float:.0}").parse().ok());
    T::try_from(number.as_i64().or(exact)?).ok()
}

pub(super) fn ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<i64>, D::Error> {
    let numbers = Vec::<Number>::deserialize(deserializer)?;
    let ids: Option<Vec<i64>> = numbers.iter().map(whole).collect();
    match ids {
        Some(ids) if !ids.is_empty() => Ok(ids),
        _ => Err(D::Error::custom("\"ids\" are whole numbers, one at least")),
    }
}

/// Takes the number of something that is there.
pub(super) fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let id = whole(&Number::deserialize(deserializer)?).filter(|id| *id > 0);
    id.map(Some).ok_or_else(|| D::Error::custom("a number from 1 is needed"))
}

pub(super) fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let version = whole(&Number::deserialize(deserializer)?);
    version.map(Some).ok_or_else(|| D::Error::custom("a version is a whole number"))
}

/// Takes nothing but `true`.
pub(super) fn yes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match bool::deserialize(deserializer)? {
        true => Ok(true),
        false => Err(D::Error::custom("\"all\" can only be true")),
    }
}

/// Takes a text that is there: what is left out is none, `null` and an empty one are refused, so
/// that nothing means more than whoever wrote it meant.
pub(super) fn there<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() { Err(D::Error::custom("a text is empty")) } else { Ok(Some(text)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_is_one_however_it_is_written() {
        let of = |text: &str| whole::<u32>(&serde_json::from_str(text).unwrap());
        assert_eq!(of("3"), Some(3));
        assert_eq!(of("3.0"), Some(3));
        assert_eq!(of("3e2"), Some(300));
        for wrong in ["3.5", "-1", "4294967296", "1e300"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
