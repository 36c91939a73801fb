//! Which columns make a key, what a changed one says, and what a key's hash is of.

use super::*;

#[test]
fn a_changed_key_says_the_old_one() {
    let old = &["41", "~", "~", "~", "~"];
    let act = Act::KeyUpdate(old, &["42", "a@b.co", "~", "1", "~"]);
    let expected = r#""key":{"id":42},"before_key":{"id":41},"data":{"email":"a@b.co"}"#;
    let route = || mapped(vec![Field::column("email", "email")]);
    check(route(), &customers(), act, expected);

    let mut out = Vec::new();
    let moved = event(
        mapper(vec![route()], Format::Mapped).map(&chunk(&customers(), act), 0, &mut out).unwrap(),
    );
    assert_eq!(&out[moved.body.clone()], br#"{"email":"a@b.co"}"#);
    assert_eq!(&out[moved.key.clone().unwrap()], br#"{"id":42}"#);
    let hash_of = |act| {
        let mut out = Vec::new();
        let chunk = chunk(&customers(), act);
        event(mapper(vec![route()], Format::Walgate).map(&chunk, 0, &mut out).unwrap()).key_hash
    };
    assert_eq!(moved.before_key_hash, Some(hash_of(Act::Delete(old))));
    assert_eq!(moved.key_hash, hash_of(Act::Insert(&["42", "~", "~", "~", "~"])));
    assert_ne!(moved.key_hash, hash_of(Act::Delete(old)));
}

#[test]
fn with_a_full_old_row_only_a_changed_key_is_said() {
    let relation = full(customers());
    let same = body(route(), &relation, Act::FullUpdate(ROW, &["42", "x", "~", "1", "~"]));
    assert!(!same.contains("before_key"));
    let moved = body(route(), &relation, Act::FullUpdate(ROW, &["43", "x", "~", "1", "~"]));
    assert!(moved.contains(r#""before_key":{"id":42}"#));
}

#[test]
fn a_key_is_the_routes_else_the_primary_else_the_identity_else_none() {
    let row = Act::Insert(ROW);
    let key = |route: Route, relation: &Relation| {
        let value: Value = serde_json::from_str(&body(route, relation, row)).unwrap();
        value["key"].to_string()
    };
    let own = Route { key: Some(vec!["city".to_owned(), "id".to_owned()]), ..route() };
    assert_eq!(key(own, &customers()), r#"{"city":"Oslo","id":42}"#);
    let mut by_index = customers();
    by_index.identity = ReplicaIdentity::Index;
    by_index.columns[0].in_identity = false;
    by_index.columns[1].in_identity = true;
    assert_eq!(key(route(), &by_index), r#"{"email":"a@b.co"}"#);
    let mut keyless = full(customers());
    keyless.primary_key.clear();
    assert_eq!(key(route(), &keyless), "null");
    assert_eq!(key(route(), &full(customers())), r#"{"id":42}"#);
}

#[test]
fn a_table_without_a_key_has_one_hash() {
    let mut relation = full(customers());
    relation.primary_key.clear();
    let hash = |act| {
        let mut out = Vec::new();
        let draft = event(
            mapper(vec![route()], Format::Walgate)
                .map(&chunk(&relation, act), 0, &mut out)
                .unwrap(),
        );
        assert_eq!(draft.key, None);
        draft.key_hash
    };
    assert_eq!(hash(Act::Insert(ROW)), hash(Act::Insert(&["1", "~", "~", "~", "~"])));
    assert_eq!(hash(Act::Insert(ROW)), hash(Act::Truncate));
}

#[test]
fn a_toasted_key_is_taken_from_the_old_row() {
    let own = || Route { key: Some(vec!["bio".to_owned()]), ..route() };
    let new = &["42", "a@b.co", "?", "1", "~"];
    let old = &["42", "a@b.co", "long", "1", "~"];
    let body = body(own(), &full(customers()), Act::FullUpdate(old, new));
    assert!(body.contains(r#""key":{"bio":"long"},"data""#));
    let mut out = Vec::new();
    let result = mapper(vec![own()], Format::Walgate).map(
        &chunk(&customers(), Act::Update(new)),
        0,
        &mut out,
    );
    let Ok(Mapped::Rejected { draft, field, .. }) = result else { panic!("{result:?}") };
    assert_eq!((&*field, draft.key, draft.body.is_empty()), ("bio", None, true));
}
