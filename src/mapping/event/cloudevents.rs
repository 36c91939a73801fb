//! `cloudevents`: CloudEvents 1.0, structured JSON.
//!
//! Source: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>.
//! Extensions are strings, all of them: an Integer has 32 bits there and would not hold every xid.

use std::ops::Range;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::super::mapper::SourceLabel;
use super::super::outbox::{Part, Parts};
use super::super::text::{write_hex, write_integer, write_timestamp};
use super::super::verdict::Verdict;
use super::attribute::{write_json, write_text};
use super::commit::CommitText;
use super::{OutboxPen, Pen, Sheet, write_message};
use crate::chunk::{Operation, Transaction};
use crate::envelope::RouteLabel;
use crate::pgoutput::LogicalMessage;
use crate::relation::Relation;

/// What needs no escape in a part of a URI's path: RFC 3986's unreserved characters.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const JSON: &[u8] = b",\"datacontenttype\":\"application/json\"";

/// `","type":"walgate.insert","subject":"public.customers","datacontenttype":"application/json"`,
/// from the id's closing quote on.
pub(super) fn head(relation: &Relation, operation: Operation) -> Vec<u8> {
    let mut head = Vec::new();
    write_type(operation, &mut head);
    head.extend_from_slice(b",\"subject\":");
    write_text(&relation.quoted_name(), &mut head);
    // A truncate has no data.
    if operation != Operation::Truncate {
        head.extend_from_slice(JSON);
    }
    head
}

/// `,"source":"/postgres/shop/walgate","system":"…","route":"…","mapping":"…",…}`
pub(super) fn tail(source: &SourceLabel, label: &RouteLabel) -> Vec<u8> {
    let mut tail = Vec::new();
    let part = |text| utf8_percent_encode(text, ESCAPED);
    let uri = format!("/postgres/{}/{}", part(&source.database), part(&source.slot));
    for (mark, text) in [
        (&b",\"source\":"[..], uri.as_str()),
        (b",\"system\":", &source.system),
        (b",\"route\":", &label.name),
    ] {
        tail.extend_from_slice(mark);
        write_text(text, &mut tail);
    }
    if let Some((name, version)) = &label.mapping {
        tail.extend_from_slice(b",\"mapping\":");
        write_text(name, &mut tail);
        tail.extend_from_slice(b",\"mappingversion\":\"");
        write_integer(*version, &mut tail);
        tail.push(b'"');
    }
    tail.push(b'}');
    tail
}

/// `{"specversion":"1.0","id":"00000001-00000000017C8338-`, `,"lsn":"0/17C8338","seq":"`,
/// `,"xid":"790"` and `,"time":"2026-11-23T12:00:00.123456Z"`.
pub(super) fn commit(text: &mut CommitText, timeline: u32, transaction: &Transaction) {
    let lsn = transaction.commit_lsn.0;
    text.id.extend_from_slice(b"{\"specversion\":\"1.0\",\"id\":\"");
    text.push_id(timeline, lsn);
    text.commit.extend_from_slice(b",\"lsn\":\"");
    write_hex(lsn >> 32, 1, &mut text.commit);
    text.commit.push(b'/');
    write_hex(lsn & 0xFFFF_FFFF, 1, &mut text.commit);
    text.commit.extend_from_slice(b"\",\"seq\":\"");
    if let Some(xid) = transaction.xid {
        text.xid.extend_from_slice(b",\"xid\":\"");
        write_integer(xid.0, &mut text.xid);
        text.xid.push(b'"');
    }
    if let Some(time) = transaction.commit_time {
        text.time.extend_from_slice(b",\"time\":\"");
        write_timestamp(time, &mut text.time);
        text.time.push(b'"');
    }
}

/// Appends the event of a row.
pub(super) fn row(pen: &mut Pen<'_>, out: &mut Vec<u8>) -> Result<(), Verdict> {
    let sheet = pen.sheet;
    pen.write_keys(b"", out)?;
    pen.draft.body.start = out.len();
    // JSON that goes into a string; kept, so that no row costs an allocation.
    let mut text = std::mem::take(&mut pen.notes.text);
    let written = write_row(pen, &mut text, out);
    pen.notes.text = text;
    written?;
    end(&sheet, out);
    Ok(())
}

fn write_row(pen: &mut Pen<'_>, text: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), Verdict> {
    let sheet = pen.sheet;
    begin(&sheet, out);
    write_part(b",\"partitionkey\":", pen.draft.key.as_ref(), text, out);
    write_part(b",\"beforekey\":", pen.draft.before_key.as_ref(), text, out);
    if sheet.operation != Operation::Truncate {
        out.extend_from_slice(b",\"data\":");
        pen.write_data(out)?;
    }
    text.clear();
    if pen.write_before(text)? {
        out.extend_from_slice(b",\"before\":");
        write_json(text, out);
    }
    for (mark, list) in [
        (&b",\"unchanged\":"[..], &pen.notes.unchanged),
        (b",\"jsonnulls\":", &pen.notes.json_nulls),
    ] {
        if !list.is_empty() {
            text.clear();
            text.push(b'[');
            text.extend_from_slice(list);
            text.push(b']');
            out.extend_from_slice(mark);
            write_json(text, out);
        }
    }
    Ok(())
}

/// Appends the event of an outbox.
pub(super) fn outbox(pen: &OutboxPen<'_>, parts: &Parts<'_>, out: &mut Vec<u8>) {
    let sheet = &pen.sheet;
    let mut text = Vec::new();
    match sheet.prefix {
        Some(prefix) => begin_message(sheet, prefix, out),
        None => begin(sheet, out),
    }
    write_part(b",\"partitionkey\":", pen.draft.key.as_ref(), &mut text, out);
    out.extend_from_slice(b",\"data\":");
    parts.write_payload(out);
    if parts.payload_is_json_null() {
        out.extend_from_slice(b",\"jsonnulls\":\"[\\\"payload\\\"]\"");
    }
    for (word, part) in parts.named() {
        let name = match word {
            "id" => "outboxid",
            "type" => "outboxtype",
            "aggregate_type" => "aggregatetype",
            _ => "aggregateid",
        };
        out.extend_from_slice(format!(",\"{name}\":").as_bytes());
        write_scalar(part, &mut text, out);
    }
    text.clear();
    // A headers column that holds null has none.
    if parts.write_headers(&mut text).is_ok() && text.first() == Some(&b'{') {
        out.extend_from_slice(b",\"outboxheaders\":");
        write_json(&text, out);
    }
    end(sheet, out);
}

/// Appends the event of a logical message.
pub(super) fn message(sheet: &Sheet<'_>, message: &LogicalMessage<'_>, out: &mut Vec<u8>) {
    begin_message(sheet, message.prefix, out);
    out.extend_from_slice(b",\"data\":");
    write_message(message, out);
    end(sheet, out);
}

fn begin(sheet: &Sheet<'_>, out: &mut Vec<u8>) {
    sheet.commit.write_id(sheet.seq, out);
    out.extend_from_slice(sheet.head);
    out.extend_from_slice(&sheet.commit.time);
}

/// The subject of a message is its prefix.
fn begin_message(sheet: &Sheet<'_>, prefix: &str, out: &mut Vec<u8>) {
    sheet.commit.write_id(sheet.seq, out);
    write_type(Operation::Message, out);
    if !prefix.is_empty() {
        out.extend_from_slice(b",\"subject\":");
        write_text(prefix, out);
    }
    out.extend_from_slice(JSON);
    out.extend_from_slice(&sheet.commit.time);
}

fn write_type(operation: Operation, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\",\"type\":\"walgate.");
    out.extend_from_slice(operation.as_str().as_bytes());
    out.push(b'"');
}

/// Appends an attribute that holds the JSON which lies in `part` of `out`.
fn write_part(mark: &[u8], part: Option<&Range<usize>>, text: &mut Vec<u8>, out: &mut Vec<u8>) {
    let Some(json) = part.and_then(|part| out.get(part.clone())) else { return };
    text.clear();
    text.extend_from_slice(json);
    out.extend_from_slice(mark);
    write_json(text, out);
}

/// Appends a string's content, or what else it is as it is written.
fn write_scalar(part: Part<'_>, text: &mut Vec<u8>, out: &mut Vec<u8>) {
    text.clear();
    part.write(text);
    match serde_json::from_slice::<String>(text) {
        Ok(text) => write_text(&text, out),
        Err(_) => write_json(text, out),
    }
}

/// Appends the attributes from `lsn` on. A row that was there before has no xid.
fn end(sheet: &Sheet<'_>, out: &mut Vec<u8>) {
    let commit = sheet.commit;
    out.extend_from_slice(&commit.commit);
    write_integer(sheet.seq, out);
    out.push(b'"');
    if sheet.operation != Operation::Read {
        out.extend_from_slice(&commit.xid);
    }
    out.extend_from_slice(&sheet.road.tail);
}
