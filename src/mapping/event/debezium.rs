//! `debezium`: what Debezium's connector for PostgreSQL writes, as JSON without schemas.
//!
//! Source: <https://debezium.io/documentation/reference/stable/connectors/postgresql.html>, and
//! what its engine 3.6 was seen to write.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::mapper::SourceLabel;
use super::super::outbox::Parts;
use super::super::text::write_integer;
use super::super::verdict::Verdict;
use super::commit::CommitText;
use super::{OutboxPen, Pen, Sheet};
use crate::chunk::{Operation, Transaction};
use crate::pgoutput::value::write_text_json;
use crate::relation::{Kind, Relation};

/// Whose form this is, and who wrote it. It stays as it is when walgate changes: a repeat is the
/// same to the byte.
const VERSION: &str = "3.6.3.walgate";

/// What stands for a value that Postgres did not send.
const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// Appends what stands for a value that Postgres did not send; `kind`: of the column, where its
/// value goes as it is.
pub(in crate::mapping) fn unavailable(kind: Option<&Kind>, out: &mut Vec<u8>) {
    match kind {
        Some(Kind::Bytea) => write_text_json(STANDARD.encode(UNAVAILABLE).as_bytes(), out),
        Some(Kind::Hstore) => {
            out.push(b'{');
            write_text_json(UNAVAILABLE.as_bytes(), out);
            out.push(b':');
            write_text_json(UNAVAILABLE.as_bytes(), out);
            out.push(b'}');
        }
        Some(Kind::Array { element, .. }) if **element == Kind::Integer => {
            let mut mark = b'[';
            for byte in UNAVAILABLE.bytes() {
                out.push(mark);
                mark = b',';
                write_integer(u32::from(byte), out);
            }
            out.push(b']');
        }
        Some(Kind::Array { element, .. }) => {
            out.push(b'[');
            unavailable(Some(element), out);
            out.push(b']');
        }
        _ => write_text_json(UNAVAILABLE.as_bytes(), out),
    }
}

/// `,"snapshot":"false","schema":"public","table":"customers"`
pub(super) fn head(relation: &Relation, operation: Operation) -> Vec<u8> {
    let mut head = Vec::new();
    let is_read = operation == Operation::Read;
    for (mark, text) in [
        (&b",\"snapshot\":"[..], if is_read { "true" } else { "false" }),
        (b",\"schema\":", &relation.namespace),
        (b",\"table\":", &relation.name),
    ] {
        head.extend_from_slice(mark);
        write_text_json(text.as_bytes(), &mut head);
    }
    head
}

/// A message is of no table.
const MESSAGE_HEAD: &[u8] = b",\"snapshot\":\"false\",\"schema\":\"\",\"table\":\"\"";

/// `"source":{"version":"…","connector":"postgresql","name":"walgate","db":"shop"`
pub(super) fn tail(source: &SourceLabel) -> Vec<u8> {
    let mut tail = Vec::new();
    for (mark, text) in [
        (&b"\"source\":{\"version\":"[..], VERSION),
        (b",\"connector\":", "postgresql"),
        (b",\"name\":", &source.slot),
        (b",\"db\":", &source.database),
    ] {
        tail.extend_from_slice(mark);
        write_text_json(text.as_bytes(), &mut tail);
    }
    tail
}

/// The digits of LSN and xid, and `,"ts_ms":…,"ts_us":…,"ts_ns":…`.
pub(super) fn commit(text: &mut CommitText, transaction: &Transaction) {
    let mut digits = itoa::Buffer::new();
    text.commit.extend_from_slice(digits.format(transaction.commit_lsn.0).as_bytes());
    if let Some(xid) = transaction.xid {
        write_integer(xid.0, &mut text.xid);
    }
    let micros = transaction.commit_time.map(|time| i128::from(time.unix_micros()));
    for (mark, time) in [
        (&b",\"ts_ms\":"[..], micros.map(|micros| micros.div_euclid(1000))),
        (b",\"ts_us\":", micros),
        (b",\"ts_ns\":", micros.map(|micros| micros.saturating_mul(1000))),
    ] {
        text.time.extend_from_slice(mark);
        match time {
            Some(time) => text.time.extend_from_slice(digits.format(time).as_bytes()),
            None => text.time.extend_from_slice(b"null"),
        }
    }
}

/// Appends the event of a row.
pub(super) fn row(pen: &mut Pen<'_>, out: &mut Vec<u8>) -> Result<(), Verdict> {
    let sheet = pen.sheet;
    pen.write_keys(b"", out)?;
    pen.draft.body.start = out.len();
    out.extend_from_slice(b"{\"before\":");
    if sheet.operation == Operation::Delete {
        pen.write_data(out)?;
        out.extend_from_slice(b",\"after\":null,");
    } else {
        if !pen.write_before(out)? {
            out.extend_from_slice(b"null");
        }
        out.extend_from_slice(b",\"after\":");
        pen.write_data(out)?;
        out.push(b',');
    }
    write_source(&sheet, sheet.head, out);
    write_end(&sheet, out);
    out.push(b'}');
    Ok(())
}

/// Appends the event of an outbox.
pub(super) fn outbox(pen: &OutboxPen<'_>, parts: &Parts<'_>, out: &mut Vec<u8>) {
    let (sheet, outbox) = (&pen.sheet, pen.draft.outbox.clone());
    if let Some(prefix) = sheet.prefix {
        let mut payload = Vec::new();
        parts.write_payload(&mut payload);
        return message(sheet, prefix, &payload, outbox, out);
    }
    out.extend_from_slice(b"{\"before\":null,\"after\":");
    parts.write_payload(out);
    out.push(b',');
    write_source(sheet, sheet.head, out);
    write_end(sheet, out);
    write_outbox(outbox, out);
    out.push(b'}');
}

/// Appends the event of a logical message; `outbox`: where in `out` the JSON of that lies.
pub(super) fn message(
    sheet: &Sheet<'_>,
    prefix: &str,
    content: &[u8],
    outbox: Option<std::ops::Range<usize>>,
    out: &mut Vec<u8>,
) {
    out.push(b'{');
    write_source(sheet, MESSAGE_HEAD, out);
    write_end(sheet, out);
    out.extend_from_slice(b",\"message\":{\"prefix\":");
    write_text_json(prefix.as_bytes(), out);
    out.extend_from_slice(b",\"content\":");
    write_text_json(STANDARD.encode(content).as_bytes(), out);
    out.push(b'}');
    write_outbox(outbox, out);
    out.push(b'}');
}

fn write_outbox(outbox: Option<std::ops::Range<usize>>, out: &mut Vec<u8>) {
    if let Some(outbox) = outbox.filter(|outbox| outbox.end <= out.len()) {
        out.extend_from_slice(b",\"outbox\":");
        out.extend_from_within(outbox);
    }
}

/// Appends `"source":{…}`. A row that was there before has no xid.
fn write_source(sheet: &Sheet<'_>, head: &[u8], out: &mut Vec<u8>) {
    let commit = sheet.commit;
    out.extend_from_slice(&sheet.road.tail);
    out.extend_from_slice(head);
    out.extend_from_slice(&commit.time);
    out.extend_from_slice(b",\"txId\":");
    out.extend_from_slice(xid(sheet).unwrap_or(b"null"));
    out.extend_from_slice(b",\"lsn\":");
    out.extend_from_slice(&commit.commit);
    out.extend_from_slice(b",\"sequence\":\"[\\\"");
    out.extend_from_slice(&commit.commit);
    out.extend_from_slice(b"\\\",\\\"");
    write_integer(sheet.seq, out);
    out.extend_from_slice(b"\\\"]\",\"xmin\":null,\"origin\":null,\"origin_lsn\":null}");
}

/// Appends the members from `transaction` on.
fn write_end(sheet: &Sheet<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"transaction\":");
    if let Some(xid) = xid(sheet) {
        out.extend_from_slice(b"{\"id\":\"");
        out.extend_from_slice(xid);
        out.push(b':');
        out.extend_from_slice(&sheet.commit.commit);
        out.extend_from_slice(b"\",\"total_order\":");
        out.extend_from_slice(
            itoa::Buffer::new().format(u64::from(sheet.seq).saturating_add(1)).as_bytes(),
        );
        out.extend_from_slice(b",\"data_collection_order\":null}");
    } else {
        out.extend_from_slice(b"null");
    }
    out.extend_from_slice(b",\"op\":\"");
    out.push(match sheet.operation {
        Operation::Read => b'r',
        Operation::Insert => b'c',
        Operation::Update => b'u',
        Operation::Delete => b'd',
        Operation::Truncate => b't',
        Operation::Message => b'm',
    });
    out.push(b'"');
    out.extend_from_slice(&sheet.commit.time);
}

fn xid<'a>(sheet: &Sheet<'a>) -> Option<&'a [u8]> {
    let xid = sheet.commit.xid.as_slice();
    (sheet.operation != Operation::Read && !xid.is_empty()).then_some(xid)
}
