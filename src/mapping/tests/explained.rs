//! What is told of each field: where its value came from, which policy acted.

use super::*;
use crate::mapping::{Expression, OnWhereError};

/// What is told of the fields, a line each.
#[track_caller]
fn explained(route: &Route, act: Act<'_>, expected: &[&str]) {
    let told = explain(route, &chunk(&customers(), act), 0).unwrap();
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
fn where_is_explained_before_the_fields() {
    let of = |source: &str, on_where_error| Route {
        condition: Some(Expression::parse(source).unwrap()),
        on_where_error,
        ..mapped(vec![])
    };
    let act = Act::Insert(&["42", "a", "?", "~", "~"]);
    let told =
        |source, on_error, expected: &str| explained(&of(source, on_error), act, &[expected]);
    told("row.id == 42", OnWhereError::Send, "where: is true");
    told("row.id == 43", OnWhereError::Send, "where: is false");
    told(
        "row.email",
        OnWhereError::Send,
        "where: can't be computed: its value is not true or false: sent (on_where_error = \"send\")",
    );
    told(
        "row.city > 'A'",
        OnWhereError::Skip,
        "where: can't be computed: `>` means nothing between null and string: skipped \
         (on_where_error = \"skip\")",
    );
    told(
        "row.bio > 'A'",
        OnWhereError::Reject,
        "where: was not sent by Postgres: rejected (on_where_error = \"reject\")",
    );
}

#[test]
fn a_column_of_the_rest_that_a_field_stands_for_is_left_out() {
    let fields = vec![Field::column("email", "city"), Field::column("bio.text", "id")];
    explained(
        &with_rest(fields, Rest::Include),
        Act::Insert(&["42", "a", "b", "~", "c"]),
        &[
            "email: column city",
            "bio.text: column id",
            "email: left out: field \"email\" has its name (rest = \"include\")",
            "bio: left out: field \"bio.text\" has its name (rest = \"include\")",
            "settings: column settings is NULL: null (as on_null is \"null\" unless it is set) \
             (rest = \"include\")",
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
