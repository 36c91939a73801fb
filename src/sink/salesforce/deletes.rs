//! Deletes by external id: up to 25 in a composite request.

use std::fmt::Write as _;

use hyper::Method;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use url::form_urlencoded::byte_serialize;

use super::verdict::Problem;
use super::{Salesforce, Sending};
use crate::sink::keyed::{Record, text};
use crate::sink::row::{Field, Fields};
use crate::sink::web::client::{Ask, Heard};

/// Subrequests of one request.
/// <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_composite_composite.htm>
const PARTS_MAX: usize = 25;

/// What became of the subrequests.
#[derive(Deserialize)]
struct Composite<'a> {
    #[serde(borrow, rename = "compositeResponse")]
    each: Vec<Part<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    http_status_code: u16,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

/// What a query found.
#[derive(Deserialize)]
struct Found<'a> {
    #[serde(borrow)]
    records: Vec<&'a RawValue>,
}

impl Salesforce {
    /// Deletes records; one that is not there is as good. Returns whether to go on.
    pub(super) async fn delete(
        &self,
        object: &str,
        records: &[&Record<'_>],
        sending: &mut Sending,
    ) -> bool {
        for part in records.chunks(PARTS_MAX) {
            let (plain, other): (Vec<&Record<'_>>, Vec<_>) =
                part.iter().partition(|record| is_plain(&record.id()));
            let base = format!("{}/sobjects/{object}", self.base);
            let mut paths: Vec<(String, &[usize])> = plain
                .iter()
                .map(|record| {
                    let path = format!("{base}/{}/{}", self.external_id, record.id());
                    (path, record.events.as_slice())
                })
                .collect();
            match self.find(object, &other, sending).await {
                Ok(found) => paths
                    .extend(found.into_iter().map(|(id, events)| (format!("{base}/{id}"), events))),
                Err(true) => {}
                Err(false) => return false,
            }
            if !paths.is_empty() && !self.delete_at(&paths, sending).await {
                return false;
            }
        }
        true
    }

    /// Looks up the ids of records whose external id can't stand in a path: an end such as `.com`
    /// is read as a format there.
    async fn find<'r>(
        &self,
        object: &str,
        records: &[&'r Record<'_>],
        sending: &mut Sending,
    ) -> Result<Vec<(String, &'r [usize])>, bool> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let name = &self.external_id;
        let mut query = format!("SELECT Id, {name} FROM {object} WHERE {name} IN (");
        for (index, record) in records.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let _ = write!(query, "{separator}{}", literal(record.id));
        }
        query.push(')');
        let query: String = byte_serialize(query.as_bytes()).collect();
        let ask = Ask::new(Method::GET, format!("{}/query?q={query}", self.base));
        let events: Vec<usize> =
            records.iter().flat_map(|record| &record.events).copied().collect();
        let heard = self.ask_for(&ask, &events, sending).await?;
        let Ok(Found { records: rows }) = serde_json::from_slice(&heard.body) else {
            let failure = self.client.nonsense(&heard, "no answer to a query");
            return Err(sending.board.failed_at_once(&events, &failure));
        };
        let rows = rows.iter().filter_map(|row| serde_json::from_str(row.get()).ok());
        let rows: Vec<Fields<'_>> = rows.collect();
        let mut found = Vec::new();
        for record in records {
            let same = |row: &&Fields<'_>, eq: fn(&str, &str) -> bool| {
                value(row, name).is_some_and(|value| eq(&text(value), &record.id()))
            };
            // Letters in another case are another record only where there is one of just these.
            let row = rows.iter().find(|row| same(row, |a, b| a == b));
            let row = row.or_else(|| rows.iter().find(|row| same(row, str::eq_ignore_ascii_case)));
            match row.and_then(|row| value(row, "Id")) {
                Some(id) => found.push((text(id).into_owned(), record.events.as_slice())),
                None => sending.board.done(&record.events),
            }
        }
        Ok(found)
    }

    async fn delete_at(&self, paths: &[(String, &[usize])], sending: &mut Sending) -> bool {
        let parts: Vec<_> = paths
            .iter()
            .enumerate()
            .map(|(index, (path, _))| {
                json!({ "method": "DELETE", "url": path, "referenceId": format!("d{index}") })
            })
            .collect();
        let body = json!({ "allOrNone": false, "compositeRequest": parts }).to_string();
        let ask = Ask::new(Method::POST, format!("{}/composite", self.base)).json(body);
        let events: Vec<usize> = paths.iter().flat_map(|(_, events)| *events).copied().collect();
        let heard = match self.ask_for(&ask, &events, sending).await {
            Ok(heard) => heard,
            Err(goes_on) => return goes_on,
        };
        let read = serde_json::from_slice::<Composite<'_>>(&heard.body);
        let Some(Composite { each }) = read.ok().filter(|read| read.each.len() == paths.len())
        else {
            let failure = self.client.nonsense(&heard, "not one answer a delete");
            return sending.board.failed_at_once(&events, &failure);
        };
        for ((_, events), part) in paths.iter().zip(each) {
            self.deleted(&heard, events, &part, sending);
        }
        true
    }

    fn deleted(&self, heard: &Heard, events: &[usize], part: &Part<'_>, sending: &mut Sending) {
        let raw = part.body.map_or("", RawValue::get);
        let problems: Vec<Problem> = serde_json::from_str(raw).unwrap_or_default();
        match part.http_status_code {
            200..=299 => sending.board.done(events),
            404 if problems.iter().any(Problem::is_gone) => sending.board.done(events),
            status => {
                let mut failure = self.refusal_of(heard, &problems, raw);
                failure.status = Some(status);
                if status == 300 {
                    failure.category = crate::failure::Category::Rejected;
                }
                sending.board.fail(events, &failure);
            }
        }
    }
}

/// Whether an id means itself in a path.
fn is_plain(id: &str) -> bool {
    id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// Writes an id as a query has it.
fn literal(id: &RawValue) -> String {
    if !id.get().starts_with('"') {
        return id.get().to_owned();
    }
    let text = text(id).replace('\\', "\\\\").replace('\'', "\\'");
    format!("'{text}'")
}

fn value<'a>(Fields(row): &Fields<'a>, name: &str) -> Option<&'a RawValue> {
    let field = row.iter().find(|Field { name: of, .. }| of.eq_ignore_ascii_case(name));
    field.map(|field| field.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_can_end_no_literal() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        assert_eq!(literal(&raw(r#""a'b\\c""#)), r"'a\'b\\c'");
        assert_eq!(literal(&raw("4.5")), "4.5");
        assert!(is_plain("a-1_B") && !is_plain("a@b.com") && !is_plain("a/b") && !is_plain("4.5"));
    }
}
