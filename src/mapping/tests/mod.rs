//! What a change becomes, row by row; frames are built as Postgres sends them.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    As, Check, Decimal, Draft, Field, Format, From, Lookup, LookupEntry, Mapped, Mapping, Mask,
    OnDelete, OnUnchanged, Operations, Policy, PrefixPattern, Rest, Route, Selector, SinkMapper,
    Skip, SourceLabel, TablePattern, explain,
};
use crate::change::Cell;
use crate::chunk::{Chunk, Operation, Transaction};
use crate::lsn::{Lsn, Oid, Timestamp, Xid};
use crate::pgoutput::build::{self, Old};
use crate::relation::{Column, Kind, Relation, ReplicaIdentity};
use crate::secret::Secret;

mod event;
mod explained;
mod expressions;
mod fields;
mod filters;
mod formats;
mod invention;
mod keys;
mod looked_up;
mod masks;
mod outbox;
mod policies;
mod routes;

const COMMIT: &str =
    r#""commit":{"lsn":"0/17C8338","seq":3,"xid":790,"time":"2026-11-23T12:00:00.123456Z"}"#;
const SOURCE: &str =
    r#""source":{"system":"7444001122334455667","database":"shop","slot":"walgate"}"#;
const ID: &str = r#""id":"00000001-00000000017C8338-00000003""#;

fn column(name: &str, kind: Kind, in_identity: bool) -> Column {
    Column { name: name.to_owned(), type_oid: Oid(25), type_modifier: -1, in_identity, kind }
}

/// `customers(id int primary key, email text, bio text, settings jsonb, city text)`.
fn customers() -> Relation {
    Relation {
        oid: Oid(16_400),
        namespace: "public".to_owned(),
        name: "customers".to_owned(),
        identity: ReplicaIdentity::Default,
        columns: vec![
            column("id", Kind::Integer, true),
            column("email", Kind::Text, false),
            column("bio", Kind::Text, false),
            column("settings", Kind::Json, false),
            column("city", Kind::Text, false),
        ],
        primary_key: vec![0],
        formerly: None,
    }
}

fn full(mut relation: Relation) -> Relation {
    relation.identity = ReplicaIdentity::Full;
    relation.columns.iter_mut().for_each(|column| column.in_identity = true);
    relation
}

/// Reads cells as tests write them: `~` NULL, `?` not sent, else the text.
fn cells<'a>(texts: &[&'a str]) -> Vec<Cell<'a>> {
    texts
        .iter()
        .map(|text| match *text {
            "~" => Cell::Null,
            "?" => Cell::Unchanged,
            text => Cell::Value(text.as_bytes()),
        })
        .collect()
}

#[derive(Clone, Copy)]
enum Act<'a> {
    Read(&'a [&'a str]),
    Insert(&'a [&'a str]),
    Update(&'a [&'a str]),
    KeyUpdate(&'a [&'a str], &'a [&'a str]),
    FullUpdate(&'a [&'a str], &'a [&'a str]),
    Delete(&'a [&'a str]),
    FullDelete(&'a [&'a str]),
    Truncate,
    Message(&'a str, &'a [u8]),
    LooseMessage(&'a str, &'a [u8]),
}

fn chunk(relation: &Relation, act: Act<'_>) -> Arc<Chunk> {
    let mut frame = Vec::new();
    let out = &mut frame;
    let oid = relation.oid;
    let operation = match act {
        Act::Read(new) | Act::Insert(new) => {
            build::insert(oid, &cells(new), out).unwrap();
            if matches!(act, Act::Read(_)) { Operation::Read } else { Operation::Insert }
        }
        Act::Update(new) => {
            build::update(oid, None, &cells(new), out).unwrap();
            Operation::Update
        }
        Act::KeyUpdate(old, new) => {
            build::update(oid, Some(Old::Key(&cells(old))), &cells(new), out).unwrap();
            Operation::Update
        }
        Act::FullUpdate(old, new) => {
            build::update(oid, Some(Old::Full(&cells(old))), &cells(new), out).unwrap();
            Operation::Update
        }
        Act::Delete(old) => {
            build::delete(oid, Old::Key(&cells(old)), out).unwrap();
            Operation::Delete
        }
        Act::FullDelete(old) => {
            build::delete(oid, Old::Full(&cells(old)), out).unwrap();
            Operation::Delete
        }
        Act::Truncate => {
            build::truncate(&[oid], false, false, out).unwrap();
            Operation::Truncate
        }
        Act::Message(prefix, content) | Act::LooseMessage(prefix, content) => {
            build::message(true, Lsn(0x17C_8338), prefix, content, out).unwrap();
            Operation::Message
        }
    };
    let loose = matches!(act, Act::LooseMessage(..));
    let message = operation == Operation::Message;
    let transaction = Transaction {
        commit_lsn: Lsn(0x17C_8338),
        end_lsn: Some(Lsn(0x17C_8368)),
        xid: (!loose).then_some(Xid(790)),
        commit_time: (!loose).then_some(Timestamp::from_unix_micros(1_795_435_200_123_456)),
    };
    let relation = (!message).then(|| Arc::new(relation.clone()));
    let seq = if loose { 0 } else { 3 };
    let chunk = Chunk::of_one(1, transaction, relation, seq, operation, Bytes::from(frame));
    Arc::new(chunk.unwrap())
}

fn route() -> Route {
    let table = TablePattern::parse("public.customers").unwrap();
    let mut route = Route::new("r", Selector::Table(table), "crm");
    route.on = [
        Operation::Read,
        Operation::Insert,
        Operation::Update,
        Operation::Delete,
        Operation::Truncate,
    ]
    .into_iter()
    .collect();
    route
}

fn mapped(fields: Vec<Field>) -> Route {
    with_rest(fields, Rest::Omit)
}

fn with_rest(fields: Vec<Field>, rest: Rest) -> Route {
    let mask_key = Some(Secret::new("a key of the tests".to_owned()));
    let mapping = Mapping { rest, mask_key, ..Mapping::new("contact", 3, fields) };
    assert_eq!(mapping.problems(), []);
    Route { mapping: Some(Arc::new(mapping)), ..route() }
}

fn mapper(routes: Vec<Route>, format: Format) -> SinkMapper {
    let source = SourceLabel {
        system: "7444001122334455667".to_owned(),
        database: "shop".to_owned(),
        slot: "walgate".to_owned(),
    };
    SinkMapper::new(routes.into_iter().map(Arc::new).collect(), &source, format)
}

#[track_caller]
fn event(mapped: Mapped) -> Draft {
    match mapped {
        Mapped::Event(draft) => draft,
        other => panic!("not an event: {other:?}"),
    }
}

#[track_caller]
fn body(route: Route, relation: &Relation, act: Act<'_>) -> String {
    let mut out = b"before".to_vec();
    let draft = event(
        mapper(vec![route], Format::Walgate).map(&chunk(relation, act), 0, &mut out).unwrap(),
    );
    let envelope = draft.envelope(&Bytes::from(out));
    String::from_utf8(envelope.body.to_vec()).unwrap()
}

/// The event without what all of them share: between `table` and `commit`.
#[track_caller]
fn check(route: Route, relation: &Relation, act: Act<'_>, expected: &str) {
    let body = body(route, relation, act);
    let _: Value = serde_json::from_str(&body).expect("one JSON document");
    let start = body.find("\"key\":").unwrap();
    let end = body.find(",\"commit\":").unwrap();
    assert_eq!(&body[start..end], expected);
}

#[track_caller]
fn data(fields: Vec<Field>, act: Act<'_>, expected: &str) {
    let mut out = Vec::new();
    let draft = event(
        mapper(vec![mapped(fields)], Format::Mapped)
            .map(&chunk(&customers(), act), 0, &mut out)
            .unwrap(),
    );
    assert_eq!(String::from_utf8(out[draft.body].to_vec()).unwrap(), expected);
}

#[track_caller]
fn refused(fields: Vec<Field>, act: Act<'_>, field: &str, reason: &str) {
    let mut out = Vec::new();
    let result = mapper(vec![mapped(fields)], Format::Walgate)
        .map(&chunk(&customers(), act), 0, &mut out)
        .unwrap();
    let (name, text) = match &result {
        Mapped::Rejected { field, reason, .. } => (field.to_string(), reason.to_string()),
        Mapped::Skipped { reason: Skip::Policy { field, reason }, .. } => {
            assert!(out.is_empty());
            (field.to_string(), format!("skip: {reason}"))
        }
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!((name.as_str(), text.as_str()), (field, reason));
}

const ROW: &[&str] = &["42", "a@b.co", "~", "{\"a\": 1.50}", "Oslo"];
