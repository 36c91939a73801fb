//! Which route takes a change, and what it makes of a truncate and a delete.

use super::*;

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
    let Value::Object(dotted) = json!({ "deleted": true, "state.now": "gone" }) else { panic!() };
    let nested = Route { on_delete: OnDelete::Set(dotted), ..marked.clone() };
    assert_eq!(body(nested, &customers(), gone), body(marked.clone(), &customers(), gone));
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
fn more_versions_than_are_kept_are_compiled_anew() {
    let mut mapper = mapper(vec![route()], Format::Walgate);
    for oid in 0..3000 {
        let relation = Relation { oid: Oid(oid), ..customers() };
        let mut out = Vec::new();
        event(mapper.map(&chunk(&relation, Act::Insert(ROW)), 0, &mut out).unwrap());
    }
}
