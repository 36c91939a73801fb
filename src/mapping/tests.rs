//! What a change becomes, row by row; frames are built as Postgres sends them.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    As, Draft, Field, Format, From, Mapped, Mapping, OnDelete, OnUnchanged, Operations, Policy,
    PrefixPattern, Rest, Route, Selector, SinkMapper, Skip, SourceLabel, TablePattern,
};
use crate::change::Cell;
use crate::chunk::{Chunk, Entry, Operation, Transaction};
use crate::lsn::{Lsn, Oid, Timestamp, Xid};
use crate::pgoutput::build::{self, Old};
use crate::relation::{Column, Kind, Relation, ReplicaIdentity};

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
    Arc::new(Chunk {
        timeline: 1,
        transactions: vec![Transaction {
            commit_lsn: Lsn(0x17C_8338),
            end_lsn: Some(Lsn(0x17C_8368)),
            xid: (!loose).then_some(Xid(790)),
            commit_time: (!loose).then_some(Timestamp::from_unix_micros(1_795_435_200_123_456)),
        }],
        relations: if message { vec![] } else { vec![Arc::new(relation.clone())] },
        entries: vec![Entry {
            offset: 0,
            length: u32::try_from(frame.len()).unwrap(),
            transaction: 0,
            relation: (!message).then_some(0),
            seq: if loose { 0 } else { 3 },
            operation,
        }],
        frames: Bytes::from(frame),
    })
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
    let mapping = Mapping { name: "contact".to_owned(), version: 3, fields, rest };
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

#[test]
fn an_event_has_the_contracts_fields_in_their_order() {
    let route = mapped(vec![Field::column("external_id", "id"), Field::column("email", "email")]);
    let expected = format!(
        "{{{ID},\"op\":\"insert\",\"table\":\"public.customers\",\"key\":{{\"id\":42}},\
         \"data\":{{\"external_id\":42,\"email\":\"a@b.co\"}},{COMMIT},{SOURCE},\
         \"route\":\"r\",\"mapping\":{{\"name\":\"contact\",\"version\":3}}}}"
    );
    assert_eq!(body(route, &customers(), Act::Insert(ROW)), expected);
}

#[test]
fn without_a_mapping_every_column_goes_as_it_is() {
    let row = r#""key":{"id":42},"data":{"id":42,"email":"a@b.co","bio":null,"settings":{"a": 1.50},"city":"Oslo"}"#;
    check(route(), &customers(), Act::Insert(ROW), row);
    check(route(), &customers(), Act::Update(ROW), row);
    assert!(!body(route(), &customers(), Act::Insert(ROW)).contains("\"mapping\""));
}

#[test]
fn a_read_has_a_time_and_no_xid() {
    let body = body(route(), &customers(), Act::Read(ROW));
    assert!(
        body.contains(
            r#""commit":{"lsn":"0/17C8338","seq":3,"time":"2026-11-23T12:00:00.123456Z"}"#
        )
    );
    assert!(body.contains(r#""op":"read""#));
}

#[test]
fn what_was_not_sent_is_named_and_never_null() {
    let row = &["42", "a@b.co", "?", "?", "~"];
    check(
        route(),
        &customers(),
        Act::Update(row),
        r#""key":{"id":42},"data":{"id":42,"email":"a@b.co","city":null},"unchanged":["bio","settings"]"#,
    );
    let renamed = mapped(vec![Field::column("about.text", "bio"), Field::column("id", "id")]);
    check(
        renamed,
        &customers(),
        Act::Update(row),
        r#""key":{"id":42},"data":{"id":42},"unchanged":["about.text"]"#,
    );
}

#[test]
fn a_full_old_row_fills_what_was_not_sent() {
    let relation = full(customers());
    let old = &["42", "old@b.co", "long", "null", "Oslo"];
    check(
        route(),
        &relation,
        Act::FullUpdate(old, &["42", "a@b.co", "?", "?", "Oslo"]),
        r#""key":{"id":42},"data":{"id":42,"email":"a@b.co","bio":"long","settings":null,"city":"Oslo"},"before":{"id":42,"email":"old@b.co","bio":"long","settings":null,"city":"Oslo"},"json_nulls":["settings"]"#,
    );
}

#[test]
fn a_json_null_is_told_from_an_sql_null() {
    let settings = r#""key":{"id":1},"data":{"settings":null}"#;
    let route = || mapped(vec![Field::column("settings", "settings")]);
    check(route(), &customers(), Act::Insert(&["1", "~", "~", "~", "~"]), settings);
    check(
        route(),
        &customers(),
        Act::Insert(&["1", "~", "~", "null", "~"]),
        &format!("{settings},\"json_nulls\":[\"settings\"]"),
    );
}

#[test]
fn a_delete_carries_its_key_or_the_whole_old_row() {
    check(
        route(),
        &customers(),
        Act::Delete(&["42", "~", "~", "~", "~"]),
        r#""key":{"id":42},"data":{"id":42}"#,
    );
    check(
        route(),
        &full(customers()),
        Act::FullDelete(&["42", "a@b.co", "~", "1", "~"]),
        r#""key":{"id":42},"data":{"id":42,"email":"a@b.co","bio":null,"settings":1,"city":null}"#,
    );
    let nested = mapped(vec![Field::column("address.city", "city"), Field::column("id", "id")]);
    check(
        nested,
        &customers(),
        Act::Delete(&["42", "~", "~", "~", "~"]),
        r#""key":{"id":42},"data":{"id":42}"#,
    );
}

#[test]
fn a_changed_key_says_the_old_one() {
    let old = &["41", "~", "~", "~", "~"];
    let act = Act::KeyUpdate(old, &["42", "a@b.co", "~", "1", "~"]);
    let expected = r#""key":{"id":42},"before_key":{"id":41},"data":{"email":"a@b.co"}"#;
    let route = || mapped(vec![Field::column("email", "email")]);
    check(route(), &customers(), act, expected);

    let mut out = Vec::new();
    let moved = event(
        mapper(vec![route()], Format::Mapped).map(&chunk(&customers(), act), 0, &mut out).unwrap(),
    );
    assert_eq!(&out[moved.body.clone()], br#"{"email":"a@b.co"}"#);
    assert_eq!(&out[moved.key.clone().unwrap()], br#"{"id":42}"#);
    let hash_of = |act| {
        let mut out = Vec::new();
        let chunk = chunk(&customers(), act);
        event(mapper(vec![route()], Format::Walgate).map(&chunk, 0, &mut out).unwrap()).key_hash
    };
    assert_eq!(moved.before_key_hash, Some(hash_of(Act::Delete(old))));
    assert_eq!(moved.key_hash, hash_of(Act::Insert(&["42", "~", "~", "~", "~"])));
    assert_ne!(moved.key_hash, hash_of(Act::Delete(old)));
}

#[test]
fn with_a_full_old_row_only_a_changed_key_is_said() {
    let relation = full(customers());
    let same = body(route(), &relation, Act::FullUpdate(ROW, &["42", "x", "~", "1", "~"]));
    assert!(!same.contains("before_key"));
    let moved = body(route(), &relation, Act::FullUpdate(ROW, &["43", "x", "~", "1", "~"]));
    assert!(moved.contains(r#""before_key":{"id":42}"#));
}

#[test]
fn before_holds_only_what_was_sent() {
    check(
        mapped(vec![
            Field::column("external_id", "id"),
            Field::new("source", From::Value(json!("shop"))),
        ]),
        &customers(),
        Act::KeyUpdate(&["41", "~", "~", "~", "~"], ROW),
        r#""key":{"id":42},"before_key":{"id":41},"data":{"external_id":42,"source":"shop"},"before":{"external_id":41}"#,
    );
}

#[test]
fn an_old_value_rejects_nothing() {
    let mut email = Field::column("email", "email");
    email.required = true;
    let mut id = Field::column("bio", "bio");
    id.convert = Some(As::Integer);
    check(
        mapped(vec![email, id]),
        &full(customers()),
        Act::FullUpdate(&["42", "~", "x", "1", "~"], &["42", "a@b.co", "7", "1", "~"]),
        r#""key":{"id":42},"data":{"email":"a@b.co","bio":7},"before":{"email":null}"#,
    );
}

#[test]
fn a_key_is_the_routes_else_the_primary_else_the_identity_else_none() {
    let row = Act::Insert(ROW);
    let key = |route: Route, relation: &Relation| {
        let value: Value = serde_json::from_str(&body(route, relation, row)).unwrap();
        value["key"].to_string()
    };
    let own = Route { key: Some(vec!["city".to_owned(), "id".to_owned()]), ..route() };
    assert_eq!(key(own, &customers()), r#"{"city":"Oslo","id":42}"#);
    let mut by_index = customers();
    by_index.identity = ReplicaIdentity::Index;
    by_index.columns[0].in_identity = false;
    by_index.columns[1].in_identity = true;
    assert_eq!(key(route(), &by_index), r#"{"email":"a@b.co"}"#);
    let mut keyless = full(customers());
    keyless.primary_key.clear();
    assert_eq!(key(route(), &keyless), "null");
    assert_eq!(key(route(), &full(customers())), r#"{"id":42}"#);
}

#[test]
fn a_table_without_a_key_has_one_hash() {
    let mut relation = full(customers());
    relation.primary_key.clear();
    let hash = |act| {
        let mut out = Vec::new();
        let draft = event(
            mapper(vec![route()], Format::Walgate)
                .map(&chunk(&relation, act), 0, &mut out)
                .unwrap(),
        );
        assert_eq!(draft.key, None);
        draft.key_hash
    };
    assert_eq!(hash(Act::Insert(ROW)), hash(Act::Insert(&["1", "~", "~", "~", "~"])));
    assert_eq!(hash(Act::Insert(ROW)), hash(Act::Truncate));
}

#[test]
fn a_toasted_key_is_taken_from_the_old_row() {
    let own = || Route { key: Some(vec!["bio".to_owned()]), ..route() };
    let new = &["42", "a@b.co", "?", "1", "~"];
    let old = &["42", "a@b.co", "long", "1", "~"];
    let body = body(own(), &full(customers()), Act::FullUpdate(old, new));
    assert!(body.contains(r#""key":{"bio":"long"},"data""#));
    let mut out = Vec::new();
    let result = mapper(vec![own()], Format::Walgate).map(
        &chunk(&customers(), Act::Update(new)),
        0,
        &mut out,
    );
    let Ok(Mapped::Rejected { draft, field, .. }) = result else { panic!("{result:?}") };
    assert_eq!((&*field, draft.key, draft.body.is_empty()), ("bio", None, true));
}

#[test]
fn a_truncate_has_neither_key_nor_data_and_goes_only_when_asked_for() {
    check(route(), &customers(), Act::Truncate, r#""key":null,"data":null"#);
    let by_default = Route { on: Operations::default(), ..route() };
    let mut out = Vec::new();
    let result = mapper(vec![by_default], Format::Walgate)
        .map(&chunk(&customers(), Act::Truncate), 0, &mut out)
        .unwrap();
    assert!(matches!(result, Mapped::Unrouted));
    assert!(out.is_empty());
}

#[test]
fn the_first_route_whose_table_and_operation_fit_takes_a_change() {
    let all = Route { selector: Selector::Table(TablePattern::parse("*.*").unwrap()), ..route() };
    let deletes = Route {
        name: "deletes".into(),
        on: [Operation::Delete].into_iter().collect(),
        ..all.clone()
    };
    let mut mapper = mapper(vec![deletes, all], Format::Walgate);
    let mut name = |act| {
        let mut out = Vec::new();
        event(mapper.map(&chunk(&customers(), act), 0, &mut out).unwrap()).route.name.clone()
    };
    assert_eq!(name(Act::Delete(ROW)), "deletes");
    assert_eq!(name(Act::Insert(ROW)), "r");
}

#[test]
fn a_delete_can_be_ignored_or_become_an_update() {
    let gone = Act::Delete(&["42", "~", "~", "~", "~"]);
    let ignore = Route { on_delete: OnDelete::Ignore, ..route() };
    let mut out = Vec::new();
    let result = mapper(vec![ignore], Format::Walgate).map(&chunk(&customers(), gone), 0, &mut out);
    assert!(matches!(result, Ok(Mapped::Skipped { reason: Skip::OnDelete, .. })));

    let Value::Object(set) = json!({ "deleted": true, "state": { "now": "gone" } }) else {
        panic!()
    };
    let fields =
        vec![Field::column("id", "id"), Field::new("state.now", From::Value(json!("there")))];
    let marked = Route { on_delete: OnDelete::Set(set), ..mapped(fields) };
    check(
        marked.clone(),
        &customers(),
        gone,
        r#""key":{"id":42},"data":{"id":42,"state":{"now":"gone"},"deleted":true}"#,
    );
    assert!(body(marked.clone(), &customers(), gone).contains(r#""op":"update""#));
    assert!(!body(marked, &customers(), Act::Insert(ROW)).contains("deleted"));
}

#[test]
fn a_null_follows_its_policy() {
    let nothing = Act::Insert(&["1", "~", "~", "~", "~"]);
    let email = |policy: Option<Policy>, required| Field {
        on_null: policy,
        required,
        ..Field::column("email", "email")
    };
    data(vec![email(None, false)], nothing, r#"{"email":null}"#);
    data(vec![email(Some(Policy::Omit), false)], nothing, "{}");
    data(vec![email(Some(Policy::Default(json!("-"))), true)], nothing, r#"{"email":"-"}"#);
    refused(vec![email(None, true)], nothing, "email", "is NULL");
    refused(vec![email(Some(Policy::Skip), true)], nothing, "email", "skip: is NULL");
}

#[test]
fn a_missing_column_follows_its_policy() {
    let row = Act::Insert(ROW);
    let gone = |policy| Field { on_missing: policy, ..Field::column("plan", "Plan") };
    refused(vec![gone(None)], row, "plan", "the table has no column \"Plan\"");
    refused(vec![gone(Some(Policy::Skip))], row, "plan", "skip: the table has no column \"Plan\"");
    data(vec![gone(Some(Policy::Null))], row, r#"{"plan":null}"#);
    data(vec![gone(Some(Policy::Omit))], row, "{}");
    data(vec![gone(Some(Policy::Default(json!({ "a": 1 }))))], row, r#"{"plan":{"a":1}}"#);
}

#[test]
fn a_value_that_cannot_become_its_type_follows_its_policy() {
    let row = Act::Insert(ROW);
    let city = |policy| Field {
        convert: Some(As::Number),
        on_invalid: policy,
        ..Field::column("city", "city")
    };
    refused(vec![city(None)], row, "city", "can't become `number` without loss");
    data(vec![city(Some(Policy::Null))], row, r#"{"city":null}"#);
    data(vec![city(Some(Policy::Omit)), Field::column("id", "id")], row, r#"{"id":42}"#);
    let id = Field { convert: Some(As::String), ..Field::column("external_id", "id") };
    data(vec![id], row, r#"{"external_id":"42"}"#);
}

#[test]
fn a_value_that_was_not_sent_can_reject() {
    let bio = || Field {
        on_unchanged: OnUnchanged::Reject,
        required: true,
        ..Field::column("bio", "bio")
    };
    let reason = "was not sent by Postgres";
    refused(vec![bio()], Act::Update(&["1", "~", "?", "~", "~"]), "bio", reason);
    refused(vec![bio()], Act::Delete(&["1", "~", "~", "~", "~"]), "bio", reason);
    data(vec![bio()], Act::Update(&["1", "~", "x", "~", "~"]), r#"{"bio":"x"}"#);
}

#[test]
fn a_rejected_event_keeps_its_key_and_says_no_value() {
    let city = Field { convert: Some(As::Number), ..Field::column("city", "city") };
    let mut out = b"other".to_vec();
    let result = mapper(vec![mapped(vec![city])], Format::Walgate)
        .map(&chunk(&customers(), Act::Insert(ROW)), 0, &mut out)
        .unwrap();
    let Mapped::Rejected { draft, reason, .. } = result else { panic!("{result:?}") };
    assert!(!reason.to_string().contains("Oslo"));
    let envelope = draft.envelope(&Bytes::from(out));
    assert_eq!(&envelope.key[..], br#"{"id":42}"#);
    assert!(envelope.body.is_empty());
    assert_eq!(envelope.table().as_deref(), Some("public.customers"));
}

#[test]
fn dots_nest_and_share_one_object() {
    let fields = vec![
        Field::column("address.city", "city"),
        Field::column("id", "id"),
        Field::new("address.at.kind", From::Value(json!("home"))),
    ];
    data(fields, Act::Insert(ROW), r#"{"address":{"city":"Oslo","at":{"kind":"home"}},"id":42}"#);
}

#[test]
fn the_rest_follows_under_its_own_names() {
    let fields = vec![Field::column("mail", "email"), Field::column("city", "bio")];
    check(
        with_rest(fields, Rest::Include),
        &customers(),
        Act::Insert(ROW),
        r#""key":{"id":42},"data":{"mail":"a@b.co","city":null,"id":42,"settings":{"a": 1.50}}"#,
    );
}

#[test]
fn messages_have_a_prefix_and_a_content_and_no_table() {
    let route = || {
        let prefix = PrefixPattern::new("outbox.*");
        Route::new("m", Selector::Message(prefix), "crm")
    };
    assert_eq!(
        body(route(), &customers(), Act::Message("outbox.a", b"{\"a\":1}")),
        format!(
            "{{{ID},\"op\":\"message\",\"message\":{{\"prefix\":\"outbox.a\",\
             \"content\":\"{{\\\"a\\\":1}}\"}},{COMMIT},{SOURCE},\"route\":\"m\"}}"
        )
    );
    assert_eq!(
        body(route(), &customers(), Act::LooseMessage("outbox.b", &[0xFF, 0])),
        format!(
            "{{\"id\":\"00000001-00000000017C8338-00000000\",\"op\":\"message\",\"message\":\
             {{\"prefix\":\"outbox.b\",\"content\":\"/wA=\",\"encoding\":\"base64\"}},\
             \"commit\":{{\"lsn\":\"0/17C8338\",\"seq\":0}},{SOURCE},\"route\":\"m\"}}"
        )
    );
    let all = Route { selector: Selector::Message(PrefixPattern::new("*")), ..route() };
    let ours = chunk(&customers(), Act::Message("walgate.heartbeat", b""));
    let result = mapper(vec![all], Format::Walgate).map(&ours, 0, &mut Vec::new());
    assert!(matches!(result, Ok(Mapped::Unrouted)));
}

#[test]
fn a_repeat_is_the_same_to_the_byte() {
    let act = Act::FullUpdate(&["42", "old", "long", "null", "Oslo"], &["43", "a", "?", "1", "~"]);
    let relation = full(customers());
    let mut mapper = mapper(vec![route()], Format::Walgate);
    let mut bodies = |chunk: &Arc<Chunk>| {
        let mut out = Vec::new();
        let draft = event(mapper.map(chunk, 0, &mut out).unwrap());
        (out[draft.body.clone()].to_vec(), draft.key_hash, draft.before_key_hash)
    };
    let first = bodies(&chunk(&relation, act));
    let _ = bodies(&chunk(&customers(), Act::Insert(ROW)));
    assert_eq!(first, bodies(&chunk(&relation, act)));
}

#[test]
fn more_versions_than_are_kept_are_compiled_anew() {
    let mut mapper = mapper(vec![route()], Format::Walgate);
    for oid in 0..3000 {
        let relation = Relation { oid: Oid(oid), ..customers() };
        let mut out = Vec::new();
        event(mapper.map(&chunk(&relation, Act::Insert(ROW)), 0, &mut out).unwrap());
    }
}

#[test]
fn a_frame_that_cannot_be_read_is_an_error_and_no_event() {
    let mut broken = Chunk::clone(&chunk(&customers(), Act::Insert(ROW)));
    broken.frames = broken.frames.slice(..20);
    let mut out = Vec::new();
    let mut mapper = mapper(vec![route()], Format::Walgate);
    assert!(mapper.map(&Arc::new(broken), 0, &mut out).is_err());
    assert!(mapper.map(&chunk(&customers(), Act::Insert(ROW)), 9, &mut out).is_err());
    assert!(out.is_empty());
}

fn any_cell() -> impl Strategy<Value = String> {
    prop_oneof![Just("~".to_owned()), Just("?".to_owned()), any::<String>(), "[0-9]{1,9}"]
}

fn any_convert() -> impl Strategy<Value = Option<As>> {
    proptest::option::of(proptest::sample::select(&As::ALL[..]))
}

fn any_policy() -> impl Strategy<Value = Option<Policy>> {
    proptest::option::of(prop_oneof![
        Just(Policy::Null),
        Just(Policy::Omit),
        Just(Policy::Reject),
        Just(Policy::Skip),
        Just(Policy::Default(json!({ "a": ["b"] }))),
    ])
}

prop_compose! {
    fn any_field(target: &'static str)(
        column in proptest::sample::select(&["id", "email", "bio", "settings", "city", "none"][..]),
        convert in any_convert(),
        on_null in any_policy(),
        on_missing in any_policy(),
        on_invalid in any_policy(),
    ) -> Field {
        let on_invalid = on_invalid.filter(|_| convert.is_some());
        Field { convert, on_null, on_missing, on_invalid, ..Field::column(target, column) }
    }
}

proptest! {
    #[test]
    fn a_rule_never_invents_a_field_and_always_writes_json(
        fields in (any_field("a"), any_field("b.c"), any_field("b.d \"\\"), any_field("e")),
        row in proptest::collection::vec(any_cell(), 5),
        old in proptest::collection::vec(any_cell(), 5),
        is_full in any::<bool>(),
    ) {
        let (a, b, c, d) = fields;
        let route = mapped(vec![a, b, c, d]);
        let row: Vec<&str> = row.iter().map(String::as_str).collect();
        let old: Vec<&str> = old.iter().map(String::as_str).collect();
        let relation = if is_full { full(customers()) } else { customers() };
        let acts = [Act::Insert(&row), Act::FullUpdate(&old, &row), Act::KeyUpdate(&old, &row),
            Act::Update(&row), Act::Delete(&old), Act::FullDelete(&old)];
        for act in acts {
            let mut out = Vec::new();
            let mut mapper = mapper(vec![route.clone()], Format::Walgate);
            let result = mapper.map(&chunk(&relation, act), 0, &mut out).unwrap();
            let Mapped::Event(draft) = result else { continue };
            let body = &out[draft.body.clone()];
            prop_assert!(!body.contains(&b'\n'));
            let event: Value = serde_json::from_slice(body).unwrap();
            for image in ["data", "before"] {
                let Some(Value::Object(image)) = event.get(image) else { continue };
                prop_assert!(image.keys().all(|name| ["a", "b", "e"].contains(&name.as_str())));
                if let Some(Value::Object(b)) = image.get("b") {
                    prop_assert!(b.keys().all(|name| ["c", "d \"\\"].contains(&name.as_str())));
                    prop_assert!(!b.is_empty());
                }
            }
            let key = draft.key.map(|key| out[key].to_vec());
            prop_assert_eq!(
                key.map(|key| serde_json::from_slice::<Value>(&key).unwrap()),
                Some(event["key"].clone())
            );
        }
    }
}

/// What is told of the fields, a line each.
#[track_caller]
fn explained(route: &Route, act: Act<'_>, expected: &[&str]) {
    let told = super::explain(route, &chunk(&customers(), act), 0).unwrap();
    let told: Vec<String> =
        told.into_iter().map(|told| format!("{}: {}", told.field, told.how)).collect();
    assert_eq!(told, expected);
}

#[test]
fn each_field_is_explained_by_its_origin_and_the_policy_that_acted() {
    let mut required = Field::column("email", "email");
    required.required = true;
    let mut number = Field::column("n", "email");
    number.convert = Some(As::Integer);
    number.on_invalid = Some(Policy::Null);
    let mut city = Field::column("address.city", "city");
    city.on_null = Some(Policy::Default(json!("none")));
    let mut kept = Field::column("bio", "bio");
    kept.on_unchanged = OnUnchanged::Reject;
    let fields = vec![
        Field { convert: Some(As::String), ..Field::column("id", "id") },
        required,
        number,
        city,
        Field::column("gone", "gone"),
        Field::new("source", From::Value(json!("shop"))),
        kept,
    ];
    let route = with_rest(fields, Rest::Include);
    explained(
        &route,
        Act::Update(&["42", "a", "?", "~", "~"]),
        &[
            "id: column id, as string",
            "email: column email",
            "n: column email can't become integer without loss: null (on_invalid = \"null\")",
            "address.city: column city is NULL: the default (on_null = { default = \"none\" })",
            "gone: the table sends no column gone: rejected (as on_missing is \"reject\" unless it is set)",
            "source: always the same value",
            "bio: column bio was not sent by Postgres: rejected (on_unchanged = \"reject\")",
            "settings: column settings is NULL: null (as on_null is \"null\" unless it is set) (rest = \"include\")",
        ],
    );
}

#[test]
fn a_delete_is_explained_by_what_it_carries() {
    let mut route = mapped(vec![Field::column("id", "id"), Field::column("email", "email")]);
    let act = Act::Delete(&["42", "~", "~", "~", "~"]);
    let gone = "email: column email was not sent by Postgres: left out";
    explained(&route, act, &["id: column id", gone]);
    let Value::Object(values) = json!({ "email": "", "deleted": true }) else { unreachable!() };
    route.on_delete = OnDelete::Set(values);
    explained(
        &route,
        act,
        &["id: column id", "email: set by on_delete", "deleted: set by on_delete"],
    );
}
