//! Outboxes: rows and messages whose payload is what is sent.

use super::*;
use crate::mapping::Outbox;

/// `outbox(id uuid primary key, aggregate_type text, aggregate_id bigint, type text,
/// payload jsonb, headers jsonb)`.
fn outbox() -> Relation {
    let mut relation = customers();
    relation.columns = vec![
        column("id", Kind::Text, true),
        column("aggregate_type", Kind::Text, false),
        column("aggregate_id", Kind::Integer, false),
        column("type", Kind::Text, false),
        column("payload", Kind::Json, false),
        column("headers", Kind::Json, false),
    ];
    relation
}

fn of_table() -> Route {
    Route { outbox: Some(Outbox::default()), ..route() }
}

fn of_messages() -> Route {
    let prefix = Selector::Message(PrefixPattern::new("outbox.*"));
    Route { outbox: Some(Outbox::default()), ..Route::new("m", prefix, "crm") }
}

const ROW: &[&str] = &["u-1", "order", "7", "placed", r#"{"n": 1.50}"#, r#"{"trace":"x"}"#];
const OUTBOX: &str = r#""outbox":{"id":"u-1","type":"placed","aggregate_type":"order","aggregate_id":7,"headers":{"trace":"x"}}"#;

#[track_caller]
fn mapped_body(route: Route, relation: &Relation, act: Act<'_>) -> (String, String, String) {
    let mut out = b"before".to_vec();
    let mapped = mapper(vec![route], Format::Mapped).map(&chunk(relation, act), 0, &mut out);
    let envelope = event(mapped.unwrap()).envelope(&Bytes::from(out));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&envelope.body), text(&envelope.key), text(&envelope.outbox.unwrap()))
}

#[track_caller]
fn rejected(route: Route, relation: &Relation, act: Act<'_>, field: &str, reason: &str) {
    for format in [Format::Walgate, Format::Mapped] {
        let mut out = b"before".to_vec();
        let mapped = mapper(vec![route.clone()], format).map(&chunk(relation, act), 0, &mut out);
        match mapped.unwrap() {
            Mapped::Rejected { draft, field: at, reason: why } => {
                assert_eq!((&*at, why.to_string().as_str()), (field, reason));
                assert!(draft.outbox.is_none() && draft.body.is_empty());
            }
            other => panic!("not rejected: {other:?}"),
        }
    }
}

/// [`ROW`] with another value in a column.
fn with(index: usize, text: &str) -> Vec<&str> {
    let mut row = ROW.to_vec();
    row[index] = text;
    row
}

#[test]
fn the_payload_is_the_data_and_the_aggregate_the_key() {
    let expected = format!(
        "{{{ID},\"op\":\"insert\",\"table\":\"public.customers\",\"key\":{{\"aggregate_id\":7}},\
         \"data\":{{\"n\": 1.50}},{OUTBOX},{COMMIT},{SOURCE},\"route\":\"r\"}}"
    );
    assert_eq!(body(of_table(), &outbox(), Act::Insert(ROW)), expected);
    assert!(body(of_table(), &outbox(), Act::Read(ROW)).contains(r#""op":"read""#));
    let (body, key, outbox) = mapped_body(of_table(), &outbox(), Act::Insert(ROW));
    assert_eq!((body.as_str(), key.as_str()), (r#"{"n": 1.50}"#, r#"{"aggregate_id":7}"#));
    assert_eq!(format!("\"outbox\":{outbox}"), OUTBOX);
}

#[test]
fn a_payload_has_the_form_of_its_column() {
    for (kind, text, expected) in [
        (Kind::Json, "[null,[],{}]", "[null,[],{}]"),
        (Kind::Json, r#""x""#, r#""x""#),
        (Kind::Json, "null", "null"),
        (Kind::Text, r#"{"a":1}"#, r#""{\"a\":1}""#),
        (Kind::Text, "", r#""""#),
        (Kind::Text, "~", "null"),
        (Kind::Bytea, "\\x00ff", r#""AP8=""#),
    ] {
        let mut relation = outbox();
        relation.columns[4].kind = kind;
        let row = with(4, text);
        assert_eq!(mapped_body(of_table(), &relation, Act::Insert(&row)).0, expected);
    }
    let json_null = body(of_table(), &outbox(), Act::Insert(&with(4, "null")));
    assert!(json_null.contains(r#""data":null,"json_nulls":["payload"],"outbox""#), "{json_null}");
    assert!(!body(of_table(), &outbox(), Act::Insert(&with(4, "~"))).contains("json_nulls"));
}

#[test]
fn only_inserts_are_sent() {
    for (act, reason) in [
        (Act::Update(ROW), "outbox: update"),
        (Act::Delete(ROW), "outbox: delete"),
        (Act::Truncate, "outbox: truncate"),
    ] {
        let mut out = Vec::new();
        let mapped = mapper(vec![of_table()], Format::Walgate);
        match { mapped }.map(&chunk(&outbox(), act), 0, &mut out).unwrap() {
            Mapped::Skipped { reason: skip, .. } => assert_eq!(skip.to_string(), reason),
            other => panic!("not skipped: {other:?}"),
        }
        assert!(out.is_empty());
    }
}

#[test]
fn what_names_the_event_must_be_there() {
    for (index, field) in [
        (0, "outbox.id"),
        (1, "outbox.aggregate_type"),
        (2, "outbox.aggregate_id"),
        (3, "outbox.type"),
    ] {
        rejected(of_table(), &outbox(), Act::Insert(&with(index, "~")), field, "is NULL");
    }
    let row = with(1, "");
    rejected(of_table(), &outbox(), Act::Insert(&row), "outbox.aggregate_type", "is empty");
    let row = with(5, "[1]");
    rejected(of_table(), &outbox(), Act::Insert(&row), "outbox.headers", "is no JSON object");
}

#[test]
fn a_column_that_is_gone_is_named() {
    let mut relation = outbox();
    relation.columns[4].name = "body".to_owned();
    let reason = "the table has no column payload";
    rejected(of_table(), &relation, Act::Insert(ROW), "outbox.payload", reason);
    let named = Outbox { payload: "body".to_owned(), ..Outbox::default() };
    let route = || Route { outbox: Some(named.clone()), ..route() };
    assert_eq!(mapped_body(route(), &relation, Act::Insert(ROW)).0, r#"{"n": 1.50}"#);
    relation.columns[5].name = "other".to_owned();
    let (_, _, outbox) = mapped_body(route(), &relation, Act::Insert(ROW));
    assert!(outbox.ends_with(r#""headers":null}"#), "headers need not be there: {outbox}");
    let asked = Outbox { headers: Some("headers".to_owned()), ..named };
    let route = Route { outbox: Some(asked), ..self::route() };
    let reason = "the table has no column headers";
    rejected(route, &relation, Act::Insert(ROW), "outbox.headers", reason);
}

#[test]
fn headers_may_lie_in_a_text() {
    let mut relation = outbox();
    relation.columns[5].kind = Kind::Text;
    let (_, _, outbox) = mapped_body(of_table(), &relation, Act::Insert(ROW));
    assert!(outbox.ends_with(r#""headers":{"trace":"x"}}"#), "{outbox}");
    let row = with(5, "trace=x");
    rejected(of_table(), &relation, Act::Insert(&row), "outbox.headers", "is no JSON object");
}

const CONTENT: &[u8] = br#"{"id":"u-1","aggregate_type":"order","aggregate_id":7,"type":"placed",
    "payload":{"n": 1.50},"headers":{"trace":"x"},"more":[]}"#;

#[test]
fn a_message_is_an_outbox_row_without_a_table() {
    let act = Act::Message("outbox.order", CONTENT);
    let expected = format!(
        "{{{ID},\"op\":\"message\",\"message\":{{\"prefix\":\"outbox.order\"}},\
         \"key\":{{\"aggregate_id\":7}},\"data\":{{\"n\": 1.50}},{OUTBOX},{COMMIT},{SOURCE},\
         \"route\":\"m\"}}"
    );
    assert_eq!(body(of_messages(), &customers(), act), expected);
    let (body, key, _) = mapped_body(of_messages(), &customers(), act);
    assert_eq!((body.as_str(), key.as_str()), (r#"{"n": 1.50}"#, r#"{"aggregate_id":7}"#));
}

#[test]
fn a_message_that_is_no_event_says_what_it_lacks() {
    for (content, field, reason) in [
        (&b"not json"[..], "message", "is no JSON object"),
        (b"[1]", "message", "is no JSON object"),
        (b"", "message", "is no JSON object"),
        (b"\xFF", "message", "is no JSON object"),
        (br#"{"id":1}"#, "outbox.type", "the message has no member \"type\""),
        (
            br#"{"id":1,"type":"t","aggregate_type":"a","aggregate_id":{},"payload":1}"#,
            "outbox.aggregate_id",
            "is an object or a list",
        ),
        (
            br#"{"id":null,"type":"t","aggregate_type":"a","aggregate_id":1,"payload":1}"#,
            "outbox.id",
            "is NULL",
        ),
    ] {
        let act = Act::Message("outbox.a", content);
        rejected(of_messages(), &customers(), act, field, reason);
    }
}

/// Of one aggregate, whatever the message is called.
#[test]
fn the_aggregate_decides_the_order() {
    let (second, other) = (with(0, "u-2"), with(2, "8"));
    let mut mapper = mapper(vec![of_table(), of_messages()], Format::Walgate);
    let mut hash = |act| {
        let mut out = Vec::new();
        event(mapper.map(&chunk(&outbox(), act), 0, &mut out).unwrap()).key_hash
    };
    assert_eq!(hash(Act::Insert(ROW)), hash(Act::Insert(&second)));
    assert_ne!(hash(Act::Insert(ROW)), hash(Act::Insert(&other)));
    assert_eq!(hash(Act::Message("outbox.a", CONTENT)), hash(Act::Message("outbox.b", CONTENT)));
}
