//! Policies of a field, and where its value comes to stand.

use super::*;

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
