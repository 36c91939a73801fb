//! `lookup` and `check`, and in which order a value passes them.

use super::*;

fn lookup(entries: &[(&str, &str)]) -> Option<Lookup> {
    Some(Lookup::inline(entries.iter().map(|(key, json)| (*key, LookupEntry::Json(json)))))
}

#[test]
fn a_value_is_looked_up_by_the_text_that_the_event_would_show() {
    let row = Act::Insert(&["42", "a\"b", "~", "true", "~"]);
    let table = [("42", "\"n\""), ("a\"b", "[1.50, null]"), ("true", "{\"x\":9007199254740993}")];
    let of = |column: &str| vec![Field { lookup: lookup(&table), ..Field::column("a", column) }];
    data(of("id"), row, r#"{"a":"n"}"#);
    data(of("email"), row, r#"{"a":[1.50, null]}"#);
    data(of("settings"), row, r#"{"a":{"x":9007199254740993}}"#);
    data(of("settings"), Act::Insert(&["1", "~", "~", "\"42\"", "~"]), r#"{"a":"n"}"#);
}

#[test]
fn what_follows_a_lookup_is_for_what_was_found() {
    let table = lookup(&[("g", "\"2026-01-02T03:04:05Z\""), ("s", "12.50"), ("x", "true")]);
    let field = Field { lookup: table, ..Field::column("a", "city") };
    let row = |city: &'static str| -> Vec<&'static str> { vec!["1", "~", "~", "~", city] };
    let date = Field { convert: Some(As::Date), ..field.clone() };
    data(vec![date.clone()], Act::Insert(&row("g")), r#"{"a":"2026-01-02"}"#);
    refused(vec![date], Act::Insert(&row("s")), "a", "can't become `date` without loss");
    let min = Check::Range { min: Decimal::parse("12.5"), max: None };
    let checked = Field { checks: vec![min], ..field.clone() };
    data(vec![checked.clone()], Act::Insert(&row("s")), r#"{"a":12.50}"#);
    refused(vec![checked], Act::Insert(&row("x")), "a", "fails `check`: min = 12.5");
    let masked = Field { mask: Some(Mask::Last4), ..field };
    data(vec![masked], Act::Insert(&row("g")), r#"{"a":"***:05Z"}"#);
}

#[test]
fn a_check_is_for_what_as_made_of_the_value() {
    let number = Check::Range { min: Decimal::parse("9007199254740993"), max: None };
    let field =
        |convert| Field { convert, checks: vec![number.clone()], ..Field::column("a", "id") };
    for convert in [None, Some(As::Number), Some(As::String)] {
        let fine = Act::Insert(&["9007199254740993", "~", "~", "~", "~"]);
        let text = if convert == Some(As::String) { "\"" } else { "" };
        let expected = format!("{{\"a\":{text}9007199254740993{text}}}");
        data(vec![field(convert)], fine, &expected);
        let low = Act::Insert(&["9007199254740992", "~", "~", "~", "~"]);
        refused(vec![field(convert)], low, "a", "fails `check`: min = 9007199254740993");
    }
}

#[test]
fn the_json_value_null_is_noted_when_it_is_the_columns_own() {
    let row = Act::Insert(&["1", "~", "~", "null", "~"]);
    let field = Field { checks: vec![Check::MaxLength(4)], ..Field::column("a", "settings") };
    let noted = r#""key":{"id":1},"data":{"a":null},"json_nulls":["a"]"#;
    check(mapped(vec![field.clone()]), &customers(), row, noted);
    let masked = Field { mask: Some(Mask::Redact), ..field };
    check(mapped(vec![masked]), &customers(), row, r#""key":{"id":1},"data":{"a":"***"}"#);
}

#[test]
fn what_lookup_check_and_mask_did_is_explained() {
    let table = lookup(&[("g", "\"gold\""), ("n", "null")]);
    let plan = Field {
        lookup: table,
        convert: Some(As::String),
        checks: vec![Check::MaxLength(4)],
        mask: Some(Mask::Redact),
        ..Field::column("plan", "city")
    };
    let told = |city: &str| {
        let row = ["1", "~", "~", "~", city];
        let route = mapped(vec![plan.clone()]);
        explain(&route, &chunk(&customers(), Act::Insert(&row)), 0).unwrap().remove(0).how
    };
    assert_eq!(told("g"), "column city, looked up, as string, checked, masked (redact)");
    assert_eq!(
        told("x"),
        "column city is not in the lookup: rejected (as on_miss is \"reject\" unless it is set)"
    );
    assert_eq!(
        told("n"),
        "column city, looked up, is null: null (as on_null is \"null\" unless it is set)"
    );
    let email = Field { checks: vec![Check::Email], ..Field::column("email", "email") };
    let route = mapped(vec![email]);
    let row = Act::Insert(&["1", "secret", "~", "~", "~"]);
    assert_eq!(
        explain(&route, &chunk(&customers(), row), 0).unwrap()[0].how,
        "column email fails the check email: rejected (as on_invalid is \"reject\" unless it is set)"
    );
}
