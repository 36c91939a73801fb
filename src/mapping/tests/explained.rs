//! What is told of each field: where its value came from, which policy acted.

use super::*;

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
