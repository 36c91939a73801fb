//! The event's fields and their order; what each operation carries; logical messages.

use super::*;

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
fn a_frame_that_cannot_be_read_is_an_error_and_no_event() {
    let mut broken = Chunk::clone(&chunk(&customers(), Act::Insert(ROW)));
    broken.frames = broken.frames.slice(..20);
    let mut out = Vec::new();
    let mut mapper = mapper(vec![route()], Format::Walgate);
    assert!(mapper.map(&Arc::new(broken), 0, &mut out).is_err());
    assert!(mapper.map(&chunk(&customers(), Act::Insert(ROW)), 9, &mut out).is_err());
    assert!(out.is_empty());
}
