use serde_json::json;

use super::*;
use crate::mapping::{As, Field, From, Policy};

fn contact() -> Arc<Mapping> {
    let mut email = Field::column("email", "email");
    email.required = true;
    let mut country = Field::column("address.country", "country");
    country.on_null = Some(Policy::Default(json!("US")));
    let mut joined = Field::column("joined", "joined");
    joined.convert = Some(As::Date);
    joined.on_invalid = Some(Policy::Skip);
    let fields = vec![
        Field::column("id", "id"),
        email,
        country,
        joined,
        Field::column("bio", "bio"),
        Field::new("source", From::Value(json!("shop"))),
    ];
    Arc::new(Mapping::new("contact", 1, fields))
}

fn text(text: &str) -> Given {
    Given { kind: Kind::Text, text: text.into() }
}

fn integer(number: i64) -> Given {
    Given { kind: Kind::Integer, text: number.to_string() }
}

fn named(values: Vec<(&str, Given)>) -> Vec<(String, Given)> {
    values.into_iter().map(|(name, given)| (name.to_owned(), given)).collect()
}

fn case(operation: Operation, row: Vec<(&str, Given)>) -> Case {
    Case {
        mapping: "contact".into(),
        name: "a".into(),
        operation,
        table: None,
        row: named(row),
        before: None,
        is_full: false,
        unchanged: Vec::new(),
        missing: Vec::new(),
        kinds: BTreeMap::new(),
        expected: Expected::Skipped { field: None },
    }
}

#[track_caller]
fn check(case: &Case, outcome: &Outcome) {
    assert_eq!(case.outcome(&contact()).unwrap(), *outcome);
}

fn sent(body: &str) -> Outcome {
    Outcome::Sent(body.into())
}

#[test]
fn a_column_that_is_not_named_is_null() {
    let row = || vec![("id", integer(1)), ("email", text("a@b.co"))];
    let all = r#"{"id":1,"email":"a@b.co","address":{"country":"US"},"joined":null,"bio":null,"source":"shop"}"#;
    for operation in [Operation::Insert, Operation::Update, Operation::Read] {
        check(&case(operation, row()), &sent(all));
    }
}

#[test]
fn what_policies_do_is_the_outcome() {
    let rejected = Outcome::Rejected { field: "email".into(), reason: "is NULL".into() };
    check(&case(Operation::Insert, vec![("id", integer(1))]), &rejected);
    let row = vec![("email", text("e")), ("joined", text("soon"))];
    let reason = "can't become `date` without loss".into();
    check(
        &case(Operation::Insert, row),
        &Outcome::Skipped { field: Some("joined".into()), reason },
    );
    let mut lacks = case(Operation::Insert, vec![("email", text("e"))]);
    lacks.missing = vec!["bio".into()];
    let reason = "the table has no column bio".into();
    check(&lacks, &Outcome::Rejected { field: "bio".into(), reason });
}

#[test]
fn what_postgres_does_not_send_is_not_there() {
    let mut update = case(Operation::Update, vec![("id", integer(1)), ("email", text("e"))]);
    update.unchanged = vec!["bio".into()];
    check(
        &update,
        &sent(r#"{"id":1,"email":"e","address":{"country":"US"},"joined":null,"source":"shop"}"#),
    );
    // With the whole old row it is known all the same.
    update.is_full = true;
    update.before = Some(named(vec![("bio", text("long"))]));
    check(
        &update,
        &sent(
            r#"{"id":1,"email":"e","address":{"country":"US"},"joined":null,"bio":"long","source":"shop"}"#,
        ),
    );
}

#[test]
fn a_delete_brings_its_key_or_the_whole_row() {
    let mut delete = case(Operation::Delete, vec![]);
    delete.before = Some(named(vec![("id", integer(7))]));
    check(&delete, &sent(r#"{"id":7,"source":"shop"}"#));
    delete.is_full = true;
    check(&delete, &Outcome::Rejected { field: "email".into(), reason: "is NULL".into() });
}

#[test]
fn two_types_of_one_column_are_read_as_one_that_holds_both() {
    let mut update = case(Operation::Update, vec![("id", integer(1)), ("email", text("e"))]);
    update.before = Some(named(vec![("id", Given { kind: Kind::Numeric, text: "1.50".into() })]));
    assert_eq!(update.kind("id"), Kind::Numeric);
    update.kinds.insert("id".into(), Kind::Text);
    assert_eq!(update.kind("id"), Kind::Text);
    check(
        &update,
        &sent(
            r#"{"id":"1","email":"e","address":{"country":"US"},"joined":null,"bio":null,"source":"shop"}"#,
        ),
    );
}

fn expecting(
    fields: Vec<(&str, Given)>,
    null: &[&str],
    absent: &[&str],
    is_exact: bool,
) -> Expected {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Expected::Sent { fields: named(fields), null: owned(null), absent: owned(absent), is_exact }
}

#[track_caller]
fn differs(expected: &Expected, outcome: &Outcome, mismatches: &[&str]) {
    let found: Vec<String> =
        compare::compare(expected, outcome).iter().map(ToString::to_string).collect();
    assert_eq!(found, mismatches);
}

#[test]
fn only_what_is_named_is_compared_unless_all_has_to_be() {
    let body = sent(r#"{"id":12.50,"a":{"b":"x","c":[1,{"d":2}]},"n":null}"#);
    let id = || Given { kind: Kind::Numeric, text: "12.5".into() };
    differs(&expecting(vec![("id", id())], &[], &[], false), &body, &[]);
    differs(&expecting(vec![("a.b", text("x"))], &["n"], &["m", "a.e"], false), &body, &[]);
    let json = |text: &str| Given { kind: Kind::Json, text: text.into() };
    differs(&expecting(vec![("a", json(r#"{"b":"x"}"#))], &[], &[], false), &body, &[]);
    differs(
        &expecting(vec![("a", json(r#"{"b":"y","z":1}"#))], &["id"], &["n"], false),
        &body,
        &[
            r#"a.b: expected "y", found "x""#,
            "a.z: missing, expected 1",
            "id: expected null, found 12.50",
            "n: unexpected, found null",
        ],
    );
    let c = || json(r#"[1,{"d":2}]"#);
    differs(
        &expecting(vec![("id", id()), ("a.c", c())], &[], &[], true),
        &body,
        &[r#"a.b: unexpected, found "x""#, "n: unexpected, found null"],
    );
    let all = vec![("id", id()), ("a.c", c()), ("a.b", text("x"))];
    differs(&expecting(all, &["n"], &[], true), &body, &[]);
    differs(
        &expecting(vec![("id", integer(1))], &[], &[], false),
        &sent(r#"{"id":"1"}"#),
        &[r#"id: expected 1, found "1""#],
    );
}

#[test]
fn a_row_that_meets_another_fate_says_which() {
    let rejected = Outcome::Rejected { field: "email".into(), reason: "is NULL".into() };
    let wants = |field: &str, reason: Option<&str>| Expected::Rejected {
        field: field.into(),
        reason: reason.map(Into::into),
    };
    differs(&wants("email", None), &rejected, &[]);
    differs(&wants("email", Some("NULL")), &rejected, &[]);
    differs(
        &wants("id", None),
        &rejected,
        &[
            r#"expected a rejection that names field "id", but it is rejected: field "email": is NULL"#,
        ],
    );
    differs(
        &expecting(vec![("id", integer(1))], &[], &[], false),
        &rejected,
        &[r#"expected an event, but it is rejected: field "email": is NULL"#],
    );
    differs(
        &Expected::Skipped { field: Some("joined".into()) },
        &sent("{}"),
        &[r#"expected a row that is skipped by field "joined", but it is sent: {}"#],
    );
}
