//! `/v1/sinks/NAME/events`: what a receiver asks for, and what it gets.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use url::form_urlencoded;

use super::{Shown, answer};
use crate::config::unit;
use crate::delivery::{Asked, Cursor, Page, Refusal};

/// Answers one question.
pub(super) async fn answer(shown: &dyn Shown, sink: &str, query: &str) -> Response<Body> {
    let asked = match asked(query) {
        Ok(asked) => asked,
        Err(why) => return answer::refusal(StatusCode::BAD_REQUEST, &why),
    };
    if !shown.is_open() {
        let why = "the run is starting: it has no sinks yet; ask again";
        return answer::refusal(StatusCode::SERVICE_UNAVAILABLE, why);
    }
    let Some(polled) = shown.polled(sink) else {
        let why = format!("there is no sink \"{sink}\" of the kind poll");
        return answer::refusal(StatusCode::NOT_FOUND, &why);
    };
    match polled.fetch(asked, || shown.server_end()).await {
        Ok(page) => answer::body(StatusCode::OK, "application/json", document(&page)),
        Err(refusal) => answer::refusal(status(&refusal), &refusal.to_string()),
    }
}

/// Reads the question.
fn asked(query: &str) -> Result<Asked, String> {
    let mut asked = Asked::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "after" => {
                let after: Result<Cursor, _> = value.parse();
                let why = "\"after\" must be the \"next\" of an earlier answer";
                asked.after = Some(after.map_err(|_| why.to_owned())?);
            }
            "limit" => {
                let limit = value.parse().ok().filter(|limit| *limit > 0);
                asked.limit = Some(limit.ok_or("\"limit\" must be a whole number from 1")?);
            }
            "wait" => {
                let why = "\"wait\" must be a duration such as 500ms or 20s";
                asked.wait = unit::duration(&value).ok_or(why)?;
            }
            other => return Err(format!("unknown \"{other}\"; there are after, limit and wait")),
        }
    }
    Ok(asked)
}

/// Bodies are JSON already.
fn document(page: &Page) -> Vec<u8> {
    let bytes: usize = page.events.iter().map(|event| event.len() + 1).sum();
    let mut out = Vec::with_capacity(bytes + 80);
    out.extend_from_slice(b"{\"events\":[");
    for (index, event) in page.events.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(event);
    }
    out.extend_from_slice(b"],\"next\":\"");
    out.extend_from_slice(page.next.to_string().as_bytes());
    out.extend_from_slice(b"\"}");
    out
}

const fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Future { .. } => StatusCode::BAD_REQUEST,
        Refusal::Gone { .. } => StatusCode::GONE,
        Refusal::Closed { .. } => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Broken { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::lsn::{EventId, Lsn, Position};

    fn id(lsn: u64, seq: u32) -> EventId {
        EventId { timeline: 1, position: Position::new(Lsn(lsn), seq) }
    }

    #[test]
    fn a_question_is_read_whole_or_refused() {
        assert_eq!(asked(""), Ok(Asked::default()));
        let query = "after=00000001-00000000017C8338-00000003&limit=7&wait=20s";
        let expected = Asked {
            after: Some(id(0x17C_8338, 3).into()),
            limit: Some(7),
            wait: Duration::from_secs(20),
        };
        assert_eq!(asked(query), Ok(expected));
        for wrong in [
            "after=",
            "after=7",
            "after=00000001-00000000017C8338-0000000g",
            "after=+0000001-00000000017C8338-00000003",
            "after=00000001-00000000017C8338-00000003-",
            "after=00000001_00000000017C8338_00000003",
            "limit=0",
            "limit=-1",
            "limit=x",
            "limit=",
            "wait=20",
            "wait=-1s",
            "until=3",
        ] {
            assert!(asked(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_handed_out_is_one_document() {
        let events = vec![Bytes::from_static(b"{\"a\":1}"), Bytes::from_static(b"{\"b\":2}")];
        let page = Page { events, next: id(255, 1).into() };
        let text = String::from_utf8(document(&page)).unwrap();
        assert_eq!(
            text,
            r#"{"events":[{"a":1},{"b":2}],"next":"00000001-00000000000000FF-00000001"}"#
        );
        let empty = Page { events: Vec::new(), next: id(0, 0).into() };
        let text = String::from_utf8(document(&empty)).unwrap();
        assert_eq!(text, r#"{"events":[],"next":"00000001-0000000000000000-00000000"}"#);
    }
}
