//! `where`, `on_where_error`, `on_leave`, `columns_changed`.

use super::*;
use crate::mapping::{Expression, OnLeave, OnWhereError};

fn filtered(condition: &str) -> Route {
    Route { condition: Some(Expression::parse(condition).unwrap()), ..route() }
}

fn watching(columns: &[&str]) -> Route {
    let columns = columns.iter().map(|column| (*column).to_owned()).collect();
    Route { columns_changed: Some(columns), ..route() }
}

/// What becomes of a change: its operation, key and data; or why it is not sent.
fn fate(route: &Route, relation: &Relation, act: Act<'_>) -> String {
    let mut out = Vec::new();
    let mapped = mapper(vec![route.clone()], Format::Walgate)
        .map(&chunk(relation, act), 0, &mut out)
        .unwrap();
    match mapped {
        Mapped::Event(draft) => {
            let event: Value = serde_json::from_slice(&out[draft.body.clone()]).unwrap();
            assert_eq!(event["op"], draft.operation.as_str());
            assert!(event["op"] != "delete" || event.get("before").is_none());
            format!("{} {} {}", event["op"].as_str().unwrap(), event["key"], event["data"])
        }
        Mapped::Skipped { reason, .. } => format!("skipped: {reason}"),
        Mapped::Rejected { draft, field, reason } => {
            let key = draft.key.map(|key| String::from_utf8(out[key].to_vec()).unwrap());
            format!("rejected: {field} {reason} {}", key.unwrap_or_default())
        }
        Mapped::Unrouted => "unrouted".to_owned(),
    }
}

#[track_caller]
fn check(route: &Route, relation: &Relation, act: Act<'_>, expected: &str) {
    let found = fate(route, relation, act);
    assert!(found.starts_with(expected), "{found}\nexpected {expected}");
}

const OSLO: &[&str] = &["42", "a@b.co", "~", "{}", "Oslo"];
const ROME: &[&str] = &["42", "a@b.co", "~", "{}", "Rome"];
const ROME_MAIL: &[&str] = &["42", "c@d.co", "~", "{}", "Rome"];

#[test]
fn only_rows_for_which_where_is_true_are_sent() {
    let route = filtered("row.city == 'Oslo'");
    check(&route, &customers(), Act::Insert(OSLO), "insert ");
    check(&route, &customers(), Act::Read(OSLO), "read ");
    check(&route, &customers(), Act::Insert(ROME), "skipped: `where` is false");
    check(&route, &customers(), Act::Update(ROME), "skipped: `where` is false");
    check(&route, &customers(), Act::Truncate, "truncate ");
    check(&route, &full(customers()), Act::FullDelete(ROME), "skipped: `where` is false");
    check(&route, &full(customers()), Act::FullDelete(OSLO), "delete ");
}

#[test]
fn what_can_not_be_computed_follows_on_where_error() {
    let key = &["42", "~", "~", "~", "~"];
    let null = &["42", "~", "~", "~", "~"];
    let city = filtered("row.city == 'Oslo'");
    check(&city, &customers(), Act::Delete(key), "delete {\"id\":42}");
    let order = |on_where_error| Route { on_where_error, ..filtered("row.city > 'A'") };
    check(&order(OnWhereError::Send), &customers(), Act::Insert(null), "insert ");
    let skip = order(OnWhereError::Skip);
    let why = "skipped: `where` can't be computed: `>` means nothing between null and string";
    check(&skip, &customers(), Act::Insert(null), why);
    check(&skip, &customers(), Act::Delete(key), "skipped: `where` was not sent by Postgres");
    let reject = order(OnWhereError::Reject);
    check(&reject, &customers(), Act::Delete(key), "rejected: where was not sent");
    let found = fate(&reject, &customers(), Act::Insert(null));
    assert!(found.ends_with("{\"id\":42}"), "{found}");
    let no_column = Route { on_where_error: OnWhereError::Reject, ..filtered("row.none == 1") };
    let why = "rejected: where can't be computed: the table has no such column";
    check(&no_column, &customers(), Act::Insert(OSLO), why);
    check(&filtered("row.email"), &customers(), Act::Insert(OSLO), "insert ");
}

#[test]
fn an_update_that_leaves_where_may_be_a_delete() {
    let leaves = |on_leave| Route { on_leave, ..filtered("row.city == 'Oslo'") };
    let full = full(customers());
    check(&leaves(OnLeave::Skip), &full, Act::FullUpdate(OSLO, ROME), "skipped: `where` is false");
    let delete = leaves(OnLeave::Delete);
    let gone =
        r#"delete {"id":42} {"id":42,"email":"a@b.co","bio":null,"settings":{},"city":"Oslo"}"#;
    check(&delete, &full, Act::FullUpdate(OSLO, ROME), gone);
    check(&delete, &full, Act::FullUpdate(ROME, ROME_MAIL), "skipped: `where` is false");
    check(&delete, &full, Act::FullUpdate(ROME, OSLO), "update ");
    check(&delete, &full, Act::Insert(ROME), "skipped: `where` is false");
    // Nobody can tell what it was.
    check(&delete, &customers(), Act::Update(ROME), r#"delete {"id":42} {"id":42}"#);
    let moved = &["43", "a@b.co", "~", "{}", "Rome"];
    let key = &["42", "~", "~", "~", "~"];
    check(&delete, &customers(), Act::KeyUpdate(key, moved), r#"delete {"id":42} {"id":42}"#);
    let mut soft = delete;
    let Value::Object(set) = json!({ "deleted": true }) else { unreachable!() };
    soft.on_delete = OnDelete::Set(set);
    let found = fate(&soft, &full, Act::FullUpdate(OSLO, ROME));
    assert!(found.starts_with("update ") && found.contains(r#""deleted":true"#), "{found}");
}

/// `has` of what was not sent is false, which says nothing of what there was.
#[test]
fn nobody_guesses_what_an_old_row_held() {
    let guarded =
        Route { on_leave: OnLeave::Delete, ..filtered("has(row.city) && row.city == 'Oslo'") };
    check(&guarded, &customers(), Act::Update(ROME), r#"delete {"id":42} {"id":42}"#);
    let toast = &["42", "a@b.co", "?", "{}", "Oslo"];
    let entering = Route {
        columns_changed: Some(vec!["bio".to_owned()]),
        ..filtered("!has(row.city) || row.city == 'Oslo'")
    };
    check(&entering, &customers(), Act::Update(toast), "update ");
    // A row that can't be judged any more has left too.
    let null = &["42", "a@b.co", "~", "{}", "~"];
    let skips = Route {
        on_leave: OnLeave::Delete,
        on_where_error: OnWhereError::Skip,
        ..filtered("row.city > 'A'")
    };
    check(&skips, &full(customers()), Act::FullUpdate(OSLO, null), "delete ");
    check(&skips, &full(customers()), Act::FullUpdate(null, null), "skipped: ");
    // One with a large value that did not change is there still.
    let large = Route { condition: Some(Expression::parse("row.bio > 'A'").unwrap()), ..skips };
    let toast = &["42", "a@b.co", "?", "{}", "Oslo"];
    let why = "skipped: `where` was not sent by Postgres";
    check(&large, &customers(), Act::Update(toast), why);
}

/// What is sent of a row that left is what a delete of it would be.
#[test]
fn a_row_that_leaves_is_mapped_as_one_that_is_deleted() {
    let field =
        |name: &str, source: &str| Field::new(name, From::Expr(Expression::parse(source).unwrap()));
    let told = |identity: Relation, act: Act<'_>| {
        let fields = vec![
            field("op", "op"),
            field("was", "before.city"),
            field("knows", "has(before.city)"),
            field("key", "before.id"),
        ];
        let mapping = Mapping::new("contact", 1, fields);
        let route = Route {
            on_leave: OnLeave::Delete,
            mapping: Some(Arc::new(mapping)),
            ..filtered("row.city == 'Oslo'")
        };
        fate(&route, &identity, act)
    };
    let whole = r#"delete {"id":42} {"op":"delete","was":"Oslo","knows":true,"key":42}"#;
    assert_eq!(told(full(customers()), Act::FullDelete(OSLO)), whole);
    assert_eq!(told(full(customers()), Act::FullUpdate(OSLO, ROME)), whole);
    let key = r#"delete {"id":42} {"op":"delete","knows":false,"key":42}"#;
    assert_eq!(told(customers(), Act::Delete(&["42", "~", "~", "~", "~"])), key);
    assert_eq!(told(customers(), Act::Update(ROME)), key);
}

#[test]
fn an_update_goes_when_one_of_the_columns_changed() {
    let route = watching(&["email", "city"]);
    let why = "skipped: no column of `columns_changed` changed";
    let full = full(customers());
    check(&route, &full, Act::FullUpdate(OSLO, ROME), "update ");
    check(&route, &full, Act::FullUpdate(OSLO, OSLO), why);
    check(&watching(&["email"]), &full, Act::FullUpdate(OSLO, ROME), why);
    check(&route, &full, Act::Insert(OSLO), "insert ");
    check(&route, &full, Act::FullDelete(OSLO), "delete ");
    // Old values that nobody knows may have been others.
    check(&route, &customers(), Act::Update(OSLO), "update ");
    check(&watching(&["none"]), &full, Act::FullUpdate(OSLO, OSLO), "update ");
    // An unchanged large value was not sent; the key comes in the old image when it changes.
    let toast = &["42", "a@b.co", "?", "{}", "Oslo"];
    check(&watching(&["bio"]), &customers(), Act::Update(toast), why);
    check(&watching(&["id"]), &customers(), Act::Update(OSLO), why);
    let key = &["41", "~", "~", "~", "~"];
    check(&watching(&["id"]), &customers(), Act::KeyUpdate(key, OSLO), "update ");
    check(&watching(&["email"]), &customers(), Act::KeyUpdate(key, OSLO), "update ");
}

#[test]
fn an_update_that_enters_where_goes_whatever_changed() {
    let route =
        Route { columns_changed: Some(vec!["email".to_owned()]), ..filtered("row.city == 'Oslo'") };
    let full = full(customers());
    check(&route, &full, Act::FullUpdate(ROME, OSLO), "update ");
    check(&route, &full, Act::FullUpdate(OSLO, OSLO), "skipped: no column");
    // It may have entered: of an unchanged large value alone nobody can tell.
    let toast = &["42", "a@b.co", "?", "{}", "Oslo"];
    let bio =
        Route { columns_changed: Some(vec!["bio".to_owned()]), ..filtered("row.city == 'Oslo'") };
    check(&bio, &customers(), Act::Update(toast), "update ");
    // The far side knows it under another key.
    let moved = &["43", "a@b.co", "~", "{}", "Oslo"];
    check(&route, &full, Act::FullUpdate(OSLO, moved), "update ");
    // What can't be computed goes on as if it were true, and no further.
    let null =
        Route { columns_changed: Some(vec!["email".to_owned()]), ..filtered("row.bio > 'a'") };
    check(&null, &full, Act::FullUpdate(OSLO, OSLO), "skipped: no column");
    check(&null, &full, Act::FullUpdate(OSLO, ROME_MAIL), "update ");
}

#[test]
fn a_field_is_computed_and_follows_its_policies() {
    let expr = |source: &str| Field::new("x", From::Expr(Expression::parse(source).unwrap()));
    let row = Act::Insert(ROW);
    data(vec![expr("row.email + ' in ' + row.city")], row, r#"{"x":"a@b.co in Oslo"}"#);
    data(vec![expr("row.settings")], row, r#"{"x":{"a":1.5}}"#);
    data(vec![expr("row.id * 2")], row, r#"{"x":84}"#);
    let text = Field { convert: Some(As::String), ..expr("row.id * 2") };
    data(vec![text], row, r#"{"x":"84"}"#);
    // NULL, failed, not there, not sent.
    data(vec![expr("row.bio")], row, r#"{"x":null}"#);
    let required = Field { required: true, ..expr("row.bio") };
    refused(vec![required], row, "x", "is NULL");
    let why = "can't be computed: `+` means nothing between null and string";
    refused(vec![expr("row.bio + 'x'")], row, "x", why);
    let default = Policy::Default(json!("-"));
    let invalid = Field { on_invalid: Some(default.clone()), ..expr("row.bio + 'x'") };
    data(vec![invalid], row, r#"{"x":"-"}"#);
    refused(vec![expr("row.none")], row, "x", "the table has no column none");
    let missing = Field { on_missing: Some(default), ..expr("row.none") };
    data(vec![missing], row, r#"{"x":"-"}"#);
    let unsent = Act::Update(&["1", "e", "?", "{}", "c"]);
    data(vec![expr("row.bio + 'x'"), Field::column("id", "id")], unsent, r#"{"id":1}"#);
    let strict = Field { on_unchanged: OnUnchanged::Reject, ..expr("row.bio + 'x'") };
    refused(vec![strict], unsent, "x", "was not sent by Postgres");
    super::check(
        mapped(vec![expr("row.email + row.bio"), Field::column("id", "id")]),
        &customers(),
        unsent,
        r#""key":{"id":1},"data":{"id":1},"unchanged":["x"]"#,
    );
}

#[test]
fn nothing_is_made_up_of_an_old_row() {
    for source in ["before == null ? null : before.city", "has(row.bio) ? 'y' : 'n'", "op"] {
        let field = Field {
            on_invalid: Some(Policy::Default(json!("-"))),
            ..Field::new("x", From::Expr(Expression::parse(source).unwrap()))
        };
        let key = &["41", "~", "~", "~", "~"];
        for (relation, act) in [
            (full(customers()), Act::FullUpdate(OSLO, ROME)),
            (customers(), Act::KeyUpdate(key, ROME)),
        ] {
            let event = body(mapped(vec![field.clone()]), &relation, act);
            assert!(!event.contains("\"before\":"), "{source}: {event}");
        }
    }
}

#[test]
fn a_computed_field_is_in_before_where_it_can_be() {
    let field = || Field::new("x", From::Expr(Expression::parse("row.email + '!' + op").unwrap()));
    super::check(
        mapped(vec![field()]),
        &full(customers()),
        Act::FullUpdate(OSLO, ROME_MAIL),
        r#""key":{"id":42},"data":{"x":"c@d.co!update"},"before":{"x":"a@b.co!update"}"#,
    );
    let null = &["42", "~", "~", "{}", "Rome"];
    super::check(
        mapped(vec![field()]),
        &full(customers()),
        Act::FullUpdate(null, ROME_MAIL),
        r#""key":{"id":42},"data":{"x":"c@d.co!update"}"#,
    );
}
