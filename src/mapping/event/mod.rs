//! An event is written: what is at hand for it, and one file a format.
//!
//! What all events of a lane, a route or a transaction share is text already when a row comes: a
//! [`head`](Lane::head), a [tail](Road::tail) and a [`CommitText`], each in the road's format. Of
//! `mapped` there is none of it: it is data alone.

mod attribute;
mod cloudevents;
mod commit;
mod debezium;
mod outbox;
mod row;
mod walgate;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub(super) use self::commit::CommitText;
pub(super) use self::debezium::unavailable;
pub(super) use self::outbox::OutboxPen;
pub(super) use self::row::Pen;
use super::binding::Road;
use super::key::KeyHash;
use super::mapper::{Draft, Mapped, SourceLabel};
use super::rule::Format;
use super::verdict::{Skip, Verdict};
use crate::chunk::Operation;
use crate::envelope::RouteLabel;
use crate::pgoutput::LogicalMessage;
use crate::pgoutput::value::write_text_json;
use crate::relation::Relation;

/// What is at hand for an event, whatever it tells of.
#[derive(Clone, Copy)]
pub(super) struct Sheet<'a> {
    pub(super) road: &'a Road,
    pub(super) commit: &'a CommitText,
    /// As the event says it.
    pub(super) operation: Operation,
    /// The change's place in its transaction.
    pub(super) seq: u32,
    /// The lane's, for the operation; of a message none.
    pub(super) head: &'a [u8],
    /// Of a logical message.
    pub(super) prefix: Option<&'a str>,
}

impl Sheet<'_> {
    fn format(&self) -> Format {
        self.road.format
    }
}

/// Returns what the events of one operation on a table share.
pub(super) fn head(format: Format, relation: &Relation, operation: Operation) -> Vec<u8> {
    match format {
        Format::Walgate => walgate::head(relation, operation),
        Format::Mapped => Vec::new(),
        Format::Debezium => debezium::head(relation, operation),
        Format::CloudEvents => cloudevents::head(relation, operation),
    }
}

/// Returns what the events of a route share.
pub(super) fn tail(format: Format, source: &SourceLabel, label: &RouteLabel) -> Vec<u8> {
    match format {
        Format::Walgate => walgate::tail(source, label),
        Format::Mapped => Vec::new(),
        Format::Debezium => debezium::tail(source),
        Format::CloudEvents => cloudevents::tail(source, label),
    }
}

/// Writes the event of a logical message.
pub(super) fn message(
    sheet: &Sheet<'_>,
    message: &LogicalMessage<'_>,
    mut draft: Draft,
    out: &mut Vec<u8>,
) -> Mapped {
    draft.key_hash = KeyHash::message(message.prefix).finish();
    match sheet.format() {
        Format::Walgate => walgate::message(sheet, message, out),
        Format::Mapped => write_message(message, out),
        Format::Debezium => debezium::message(sheet, message.prefix, message.content, None, out),
        Format::CloudEvents => cloudevents::message(sheet, message, out),
    }
    draft.body.end = out.len();
    Mapped::Event(draft)
}

/// Appends the object of a logical message.
fn write_message(message: &LogicalMessage<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"prefix\":");
    write_text_json(message.prefix.as_bytes(), out);
    out.extend_from_slice(b",\"content\":");
    if std::str::from_utf8(message.content).is_ok() {
        write_text_json(message.content, out);
    } else {
        write_text_json(STANDARD.encode(message.content).as_bytes(), out);
        out.extend_from_slice(b",\"encoding\":\"base64\"");
    }
    out.push(b'}');
}

/// Says what became of a change whose event began at `start`.
fn finish(
    written: Result<(), Verdict>,
    mut draft: Draft,
    start: usize,
    out: &mut Vec<u8>,
) -> Mapped {
    match written {
        Ok(()) => {
            draft.body.end = out.len();
            Mapped::Event(draft)
        }
        Err(Verdict { field, reason, skip: true }) => {
            out.truncate(start);
            Mapped::Skipped { route: draft.route, reason: Skip::Policy { field, reason } }
        }
        Err(Verdict { field, reason, skip: false }) => {
            let end = draft.key.as_ref().map_or(start, |key| key.end);
            out.truncate(end);
            draft.body = end..end;
            draft.before_key = None;
            draft.outbox = None;
            Mapped::Rejected { draft, field, reason }
        }
    }
}
