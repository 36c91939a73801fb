//! `debezium` and `cloudevents`: each kind of change to the byte.

use super::*;
use crate::mapping::Outbox;

/// What an event of the table says in `format`: everything.
#[track_caller]
fn written(format: Format, route: Route, relation: &Relation, act: Act<'_>) -> String {
    let mut out = b"earlier".to_vec();
    let draft = event(mapper(vec![route], format).map(&chunk(relation, act), 0, &mut out).unwrap());
    let envelope = draft.envelope(&Bytes::from(out));
    let body = String::from_utf8(envelope.body.to_vec()).unwrap();
    let _: Value = serde_json::from_str(&body).expect("one JSON document");
    body
}

const TIMES: &str = r#""ts_ms":1795435200123,"ts_us":1795435200123456,"ts_ns":1795435200123456000"#;

/// The source of the table's events; `snapshot`: whether it was there before.
fn source(snapshot: bool) -> String {
    let xid = if snapshot { "null" } else { "790" };
    format!(
        r#""source":{{"version":"3.6.3.walgate","connector":"postgresql","name":"walgate","db":"shop","snapshot":"{snapshot}","schema":"public","table":"customers",{TIMES},"txId":{xid},"lsn":24937272,"sequence":"[\"24937272\",\"3\"]","xmin":null,"origin":null,"origin_lsn":null}}"#
    )
}

const TRANSACTION: &str =
    r#""transaction":{"id":"790:24937272","total_order":4,"data_collection_order":null}"#;

/// Holds what stands before `source`, and the rest with the word of the operation.
#[track_caller]
fn debezium(route: Route, relation: &Relation, act: Act<'_>, op: &str, expected: &str) {
    let body = written(Format::Debezium, route, relation, act);
    let transaction = if op == "r" { r#""transaction":null"# } else { TRANSACTION };
    let source = source(op == "r");
    assert_eq!(body, format!(r#"{{{expected},{source},{transaction},"op":"{op}",{TIMES}}}"#));
}

#[test]
fn debezium_has_the_row_before_and_after() {
    let (plain, full) = (customers(), full(customers()));
    let row = r#"{"id":42,"email":"a@b.co","bio":null,"settings":{"a": 1.50},"city":"Oslo"}"#;
    let new = format!(r#""before":null,"after":{row}"#);
    debezium(route(), &plain, Act::Insert(ROW), "c", &new);
    debezium(route(), &plain, Act::Read(ROW), "r", &new);
    debezium(route(), &plain, Act::Update(ROW), "u", &new);
    debezium(
        route(),
        &full,
        Act::FullUpdate(&["42", "~", "~", "null", "~"], ROW),
        "u",
        &format!(
            r#""before":{{"id":42,"email":null,"bio":null,"settings":null,"city":null}},"after":{row}"#
        ),
    );
    debezium(
        route(),
        &plain,
        Act::KeyUpdate(&["41", "~", "~", "~", "~"], ROW),
        "u",
        &format!(r#""before":{{"id":41}},"after":{row}"#),
    );
    let gone = &["42", "~", "~", "~", "~"];
    debezium(route(), &plain, Act::Delete(gone), "d", r#""before":{"id":42},"after":null"#);
    debezium(route(), &full, Act::FullDelete(ROW), "d", &format!(r#""before":{row},"after":null"#));
    debezium(route(), &plain, Act::Truncate, "t", r#""before":null,"after":null"#);
    let set = OnDelete::Set(json!({"deleted": true}).as_object().unwrap().clone());
    debezium(
        Route { on_delete: set, ..mapped(vec![Field::column("n", "id")]) },
        &plain,
        Act::Delete(gone),
        "u",
        r#""before":null,"after":{"n":42,"deleted":true}"#,
    );
}

#[test]
fn debezium_says_of_what_was_not_sent_that_it_is_unavailable() {
    let mut relation = customers();
    let array = |element| Kind::Array { element: Box::new(element), delimiter: b',' };
    relation.columns = vec![
        column("id", Kind::Integer, true),
        column("text", Kind::Text, false),
        column("bytes", Kind::Bytea, false),
        column("words", array(Kind::Text), false),
        column("numbers", array(Kind::Integer), false),
        column("pairs", Kind::Hstore, false),
        column("json", Kind::Json, false),
    ];
    let row = &["42", "?", "?", "?", "?", "?", "?"];
    let one = "\"__debezium_unavailable_value\"";
    let bytes: Vec<u8> = b"__debezium_unavailable_value".to_vec();
    let numbers = serde_json::to_string(&bytes).unwrap();
    debezium(
        route(),
        &relation,
        Act::Update(row),
        "u",
        &format!(
            r#""before":null,"after":{{"id":42,"text":{one},"bytes":"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==","words":[{one}],"numbers":{numbers},"pairs":{{{one}:{one}}},"json":{one}}}"#
        ),
    );
    // What a cast would make of it is a text, and nested names stay where they are.
    let mut bytes = Field::column("a.bytes", "bytes");
    bytes.convert = Some(As::String);
    debezium(
        mapped(vec![Field::column("a.id", "id"), bytes]),
        &relation,
        Act::Update(row),
        "u",
        &format!(r#""before":null,"after":{{"a":{{"id":42,"bytes":{one}}}}}"#),
    );
    // A delete carries what it carries, and an old row what was sent of it.
    let gone = &["42", "~", "~", "~", "~", "~", "~"];
    debezium(route(), &relation, Act::Delete(gone), "d", r#""before":{"id":42},"after":null"#);
}

/// A row of which something stands in is not the whole row: compaction goes by that.
#[test]
fn what_stands_in_for_a_value_makes_no_row_whole() {
    for format in Format::ALL {
        for (row, whole) in
            [(&["42", "a", "?", "1", "x"], false), (&["42", "a", "b", "1", "x"], true)]
        {
            let chunk = chunk(&customers(), Act::Update(row));
            let draft =
                event(mapper(vec![route()], format).map(&chunk, 0, &mut Vec::new()).unwrap());
            assert_eq!(draft.whole, whole, "{format:?}");
        }
    }
}

fn messages() -> Route {
    Route::new("m", Selector::Message(PrefixPattern::new("*")), "crm")
}

#[test]
fn debezium_has_a_message_as_base64() {
    let source = source(false)
        .replace(r#""schema":"public","table":"customers""#, r#""schema":"","table":"""#);
    assert_eq!(
        written(Format::Debezium, messages(), &customers(), Act::Message("a", b"{\"a\":1}")),
        format!(
            r#"{{{source},{TRANSACTION},"op":"m",{TIMES},"message":{{"prefix":"a","content":"eyJhIjoxfQ=="}}}}"#
        )
    );
    let loose =
        written(Format::Debezium, messages(), &customers(), Act::LooseMessage("b", b"\xFF"));
    let loose: Value = serde_json::from_str(&loose).unwrap();
    assert_eq!(loose["message"], json!({"prefix": "b", "content": "/w=="}));
    assert_eq!((&loose["source"]["lsn"], &loose["op"]), (&json!(24_937_272), &json!("m")));
    for unknown in [&loose["ts_ms"], &loose["source"]["ts_us"], &loose["source"]["txId"]] {
        assert_eq!(unknown, &Value::Null, "Postgres does not tell");
    }
    assert_eq!(loose["transaction"], Value::Null);
}

/// `outbox(id, aggregate_type, aggregate_id bigint, type, payload jsonb, headers jsonb)`.
fn outbox() -> Relation {
    let mut relation = customers();
    let kinds = [Kind::Text, Kind::Text, Kind::Integer, Kind::Text, Kind::Json, Kind::Json];
    let names = ["id", "aggregate_type", "aggregate_id", "type", "payload", "headers"];
    relation.columns =
        names.into_iter().zip(kinds).map(|(name, kind)| column(name, kind, name == "id")).collect();
    relation
}

const LETTER: &[&str] = &["u-1", "order", "7", "placed", r#"{"n": 1.50}"#, r#"{"trace":"x"}"#];
const WRITTEN: &str = r#"{"id":"u-1","type":"placed","aggregate_type":"order","aggregate_id":7,"headers":{"trace":"x"}}"#;

#[test]
fn debezium_has_the_payload_of_an_outbox_and_what_was_written_with_it() {
    let route = Route { outbox: Some(Outbox::default()), ..route() };
    assert_eq!(
        written(Format::Debezium, route, &outbox(), Act::Insert(LETTER)),
        format!(
            r#"{{"before":null,"after":{{"n": 1.50}},{},{TRANSACTION},"op":"c",{TIMES},"outbox":{WRITTEN}}}"#,
            source(false)
        )
    );
    let route = Route { outbox: Some(Outbox::default()), ..messages() };
    let content = br#"{"id":"u-1","aggregate_type":"order","aggregate_id":7,"type":"placed","payload":{"n": 1.50},"headers":{"trace":"x"}}"#;
    let body = written(Format::Debezium, route, &outbox(), Act::Message("out", content));
    let end = format!(
        r#""op":"m",{TIMES},"message":{{"prefix":"out","content":"eyJuIjogMS41MH0="}},"outbox":{WRITTEN}}}"#
    );
    assert!(body.ends_with(&end), "{body}");
}

const START: &str = r#"{"specversion":"1.0","id":"00000001-00000000017C8338-00000003","type":"#;
const TYPE: &str = r#""datacontenttype":"application/json","time":"2026-11-23T12:00:00.123456Z""#;
const END: &str = r#""lsn":"0/17C8338","seq":"3","xid":"790","source":"/postgres/shop/walgate","system":"7444001122334455667","route":"r"}"#;
const KEY: &str = r#""partitionkey":"{\"id\":42}""#;

/// Holds what stands between the time and the LSN.
#[track_caller]
fn cloudevents(route: Route, relation: &Relation, act: Act<'_>, op: &str, expected: &str) {
    let body = written(Format::CloudEvents, route, relation, act);
    let end = if op == "read" { END.replace(r#","xid":"790""#, "") } else { END.to_owned() };
    assert_eq!(
        body,
        format!(r#"{START}"walgate.{op}","subject":"public.customers",{TYPE},{expected},{end}"#)
    );
}

#[test]
fn cloudevents_has_the_event_as_attributes_and_data() {
    let (plain, full) = (customers(), full(customers()));
    let row = r#"{"id":42,"email":"a@b.co","bio":null,"settings":{"a": 1.50},"city":"Oslo"}"#;
    let data = format!(r#"{KEY},"data":{row}"#);
    cloudevents(route(), &plain, Act::Insert(ROW), "insert", &data);
    cloudevents(route(), &plain, Act::Read(ROW), "read", &data);
    cloudevents(
        route(),
        &plain,
        Act::Update(&["42", "x", "?", "null", "?"]),
        "update",
        &format!(
            r#"{KEY},"data":{{"id":42,"email":"x","settings":null}},"unchanged":"[\"bio\",\"city\"]","jsonnulls":"[\"settings\"]""#
        ),
    );
    cloudevents(
        route(),
        &full,
        Act::FullUpdate(&["42", "a\"b\n", "~", "1", "~"], ROW),
        "update",
        &format!(
            r#"{data},"before":"{{\"id\":42,\"email\":\"a\\\"b\\n\",\"bio\":null,\"settings\":1,\"city\":null}}""#
        ),
    );
    cloudevents(
        route(),
        &plain,
        Act::KeyUpdate(&["41", "~", "~", "~", "~"], ROW),
        "update",
        &format!(r#"{KEY},"beforekey":"{{\"id\":41}}","data":{row},"before":"{{\"id\":41}}""#),
    );
    let gone = &["42", "~", "~", "~", "~"];
    cloudevents(
        route(),
        &plain,
        Act::Delete(gone),
        "delete",
        &format!(r#"{KEY},"data":{{"id":42}}"#),
    );
    cloudevents(route(), &full, Act::FullDelete(ROW), "delete", &data);
    // Without data there is no type of it.
    assert_eq!(
        written(Format::CloudEvents, route(), &plain, Act::Truncate),
        format!(
            r#"{START}"walgate.truncate","subject":"public.customers","time":"2026-11-23T12:00:00.123456Z",{END}"#
        )
    );
    let versioned = written(
        Format::CloudEvents,
        mapped(vec![Field::column("n", "id")]),
        &plain,
        Act::Insert(ROW),
    );
    let end = r#""route":"r","mapping":"contact","mappingversion":"3"}"#;
    assert!(versioned.ends_with(end), "{versioned}");
}

#[test]
fn cloudevents_has_a_message_as_data() {
    assert_eq!(
        written(Format::CloudEvents, messages(), &customers(), Act::Message("a.b", b"hi")),
        format!(
            r#"{START}"walgate.message","subject":"a.b",{TYPE},"data":{{"prefix":"a.b","content":"hi"}},{}"#,
            END.replace(r#""route":"r""#, r#""route":"m""#)
        )
    );
    let loose =
        written(Format::CloudEvents, messages(), &customers(), Act::LooseMessage("", b"\xFF"));
    let loose: Value = serde_json::from_str(&loose).unwrap();
    for absent in ["subject", "time", "xid", "partitionkey"] {
        assert_eq!(loose.get(absent), None);
    }
    assert_eq!(loose["data"], json!({"prefix": "", "content": "/w==", "encoding": "base64"}));
}

#[test]
fn cloudevents_has_what_was_written_with_a_payload_as_attributes() {
    let route = || Route { outbox: Some(Outbox::default()), ..route() };
    let named =
        r#""outboxid":"u-1","outboxtype":"placed","aggregatetype":"order","aggregateid":"7""#;
    let key = r#""partitionkey":"{\"aggregate_id\":7}""#;
    cloudevents(
        route(),
        &outbox(),
        Act::Insert(LETTER),
        "insert",
        &format!(r#"{key},"data":{{"n": 1.50}},{named},"outboxheaders":"{{\"trace\":\"x\"}}""#),
    );
    let mut letter = LETTER.to_vec();
    (letter[4], letter[5]) = ("null", "~");
    cloudevents(
        route(),
        &outbox(),
        Act::Insert(&letter),
        "insert",
        &format!(r#"{key},"data":null,"jsonnulls":"[\"payload\"]",{named}"#),
    );
    let route = Route { outbox: Some(Outbox::default()), ..messages() };
    let content =
        br#"{"id":1,"aggregate_type":"order","aggregate_id":"7","type":"placed","payload":"x"}"#;
    let body = written(Format::CloudEvents, route, &outbox(), Act::Message("out", content));
    let body: Value = serde_json::from_str(&body).unwrap();
    let of = |name: &str| body[name].as_str().unwrap().to_owned();
    assert_eq!([of("subject"), of("outboxid"), of("aggregateid")], ["out", "1", "7"]);
    assert_eq!((of("data"), of("type")), ("x".into(), "walgate.message".into()));
}

#[test]
fn names_that_no_uri_or_attribute_holds_are_written_so_that_it_does() {
    let source = SourceLabel {
        system: "7".to_owned(),
        database: "a b/ü?".to_owned(),
        slot: "walgate".to_owned(),
    };
    let mut relation = customers();
    relation.name = "Tab\tle".to_owned();
    let table = TablePattern::parse("public.*").unwrap();
    let route = Arc::new(Route::new("r", Selector::Table(table), "crm"));
    let mut mapper = SinkMapper::new(vec![route], &source, Format::CloudEvents);
    let mut out = Vec::new();
    event(mapper.map(&chunk(&relation, Act::Insert(ROW)), 0, &mut out).unwrap());
    let body = String::from_utf8(out).unwrap();
    assert!(body.contains(r#""source":"/postgres/a%20b%2F%C3%BC%3F/walgate""#), "{body}");
    assert!(body.contains("\"subject\":\"public.\\\"Tab\u{FFFD}le\\\"\""), "{body}");
}

#[test]
fn each_format_says_the_same_key_and_repeats_to_the_byte() {
    let relation = full(customers());
    let old = &["41", "old", "long", "null", "Oslo"];
    let update = chunk(&relation, Act::FullUpdate(old, &["42", "a", "?", "1", "~"]));
    let other = chunk(&customers(), Act::Insert(ROW));
    let mut keys = Vec::new();
    for format in Format::ALL {
        let mut mapper = mapper(vec![route()], format);
        let mut once = |chunk: &Arc<Chunk>| {
            let mut out = b"earlier".to_vec();
            let draft = event(mapper.map(chunk, 0, &mut out).unwrap());
            let key = out[draft.key.clone().unwrap()].to_vec();
            let before = out[draft.before_key.clone().unwrap_or(0..0)].to_vec();
            (key, before, draft.key_hash, draft.before_key_hash, out[draft.body].to_vec())
        };
        let first = once(&update);
        let _ = once(&other);
        assert_eq!(first, once(&update), "{format:?}");
        keys.push((first.0, first.1, first.2, first.3));
    }
    keys.dedup();
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert_eq!(keys[0].0, br#"{"id":42}"#);
}
