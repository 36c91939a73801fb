//! `walgate`: the whole event.

use super::super::mapper::SourceLabel;
use super::super::outbox::Parts;
use super::super::text::{write_hex, write_integer, write_name, write_timestamp};
use super::super::verdict::Verdict;
use super::commit::CommitText;
use super::{OutboxPen, Pen, Sheet, write_message};
use crate::chunk::{Operation, Transaction};
use crate::envelope::RouteLabel;
use crate::pgoutput::LogicalMessage;
use crate::pgoutput::value::write_text_json;
use crate::relation::Relation;

/// `","op":"insert","table":"public.customers","key":`, from the id's closing quote on.
pub(super) fn head(relation: &Relation, operation: Operation) -> Vec<u8> {
    let mut head = Vec::new();
    head.extend_from_slice(b"\",\"op\":\"");
    head.extend_from_slice(operation.as_str().as_bytes());
    head.extend_from_slice(b"\",\"table\":");
    write_text_json(relation.quoted_name().as_bytes(), &mut head);
    head.extend_from_slice(b",\"key\":");
    head
}

/// `,"source":{…},"route":"…","mapping":{…}}`
pub(super) fn tail(source: &SourceLabel, label: &RouteLabel) -> Vec<u8> {
    let mut tail = Vec::new();
    for (mark, text) in [
        (&b",\"source\":{\"system\":"[..], &source.system),
        (b",\"database\":", &source.database),
        (b",\"slot\":", &source.slot),
        (b"},\"route\":", &label.name),
    ] {
        tail.extend_from_slice(mark);
        write_text_json(text.as_bytes(), &mut tail);
    }
    if let Some((name, version)) = &label.mapping {
        tail.extend_from_slice(b",\"mapping\":{\"name\":");
        write_text_json(name.as_bytes(), &mut tail);
        tail.push(b',');
        write_name("version", &mut tail);
        write_integer(*version, &mut tail);
        tail.push(b'}');
    }
    tail.push(b'}');
    tail
}

/// `{"id":"00000001-00000000017C8338-`, `,"commit":{"lsn":"0/17C8338","seq":`, `,"xid":790` and
/// `,"time":"2026-11-23T12:00:00.123456Z"}`.
pub(super) fn commit(text: &mut CommitText, timeline: u32, transaction: &Transaction) {
    let lsn = transaction.commit_lsn.0;
    text.id.extend_from_slice(b"{\"id\":\"");
    text.push_id(timeline, lsn);
    text.commit.extend_from_slice(b",\"commit\":{\"lsn\":\"");
    write_hex(lsn >> 32, 1, &mut text.commit);
    text.commit.push(b'/');
    write_hex(lsn & 0xFFFF_FFFF, 1, &mut text.commit);
    text.commit.extend_from_slice(b"\",\"seq\":");
    if let Some(xid) = transaction.xid {
        text.xid.extend_from_slice(b",\"xid\":");
        write_integer(xid.0, &mut text.xid);
    }
    if let Some(time) = transaction.commit_time {
        text.time.extend_from_slice(b",\"time\":\"");
        write_timestamp(time, &mut text.time);
        text.time.push(b'"');
    }
    text.time.push(b'}');
}

/// Appends the event of a row.
#[inline]
pub(super) fn row(pen: &mut Pen<'_>, out: &mut Vec<u8>) -> Result<(), Verdict> {
    let sheet = pen.sheet;
    pen.draft.body.start = out.len();
    sheet.commit.write_id(sheet.seq, out);
    out.extend_from_slice(sheet.head);
    pen.write_keys(b",\"before_key\":", out)?;
    if pen.draft.key.is_none() {
        out.extend_from_slice(b"null");
    }
    out.extend_from_slice(b",\"data\":");
    pen.write_data(out)?;
    let before = out.len();
    out.extend_from_slice(b",\"before\":");
    if !pen.write_before(out)? {
        out.truncate(before);
    }
    for (name, list) in [
        (&b",\"unchanged\":["[..], &pen.notes.unchanged),
        (b",\"json_nulls\":[", &pen.notes.json_nulls),
    ] {
        if !list.is_empty() {
            out.extend_from_slice(name);
            out.extend_from_slice(list);
            out.push(b']');
        }
    }
    end(&sheet, out);
    Ok(())
}

/// Appends the event of an outbox.
pub(super) fn outbox(
    pen: &mut OutboxPen<'_>,
    parts: &Parts<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Verdict> {
    let sheet = pen.sheet;
    pen.draft.body.start = out.len();
    sheet.commit.write_id(sheet.seq, out);
    if let Some(prefix) = sheet.prefix {
        out.extend_from_slice(b"\",\"op\":\"message\",\"message\":{\"prefix\":");
        write_text_json(prefix.as_bytes(), out);
        out.extend_from_slice(b"},\"key\":");
    } else {
        out.extend_from_slice(sheet.head);
    }
    pen.write_key(parts, out)?;
    out.extend_from_slice(b",\"data\":");
    parts.write_payload(out);
    if parts.payload_is_json_null() {
        out.extend_from_slice(b",\"json_nulls\":[\"payload\"]");
    }
    out.extend_from_slice(b",\"outbox\":");
    pen.write_outbox(parts, out)?;
    end(&sheet, out);
    Ok(())
}

/// Appends the event of a logical message.
pub(super) fn message(sheet: &Sheet<'_>, message: &LogicalMessage<'_>, out: &mut Vec<u8>) {
    sheet.commit.write_id(sheet.seq, out);
    out.extend_from_slice(b"\",\"op\":\"message\",\"message\":");
    write_message(message, out);
    end(sheet, out);
}

/// Appends `,"commit":{…}` and the tail. A row that was there before has no xid.
fn end(sheet: &Sheet<'_>, out: &mut Vec<u8>) {
    let commit = sheet.commit;
    out.extend_from_slice(&commit.commit);
    write_integer(sheet.seq, out);
    if sheet.operation != Operation::Read {
        out.extend_from_slice(&commit.xid);
    }
    out.extend_from_slice(&commit.time);
    out.extend_from_slice(&sheet.road.tail);
}
