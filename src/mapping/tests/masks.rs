//! What is masked is shown nowhere in an event but under its mask.

use super::*;

fn masked(mask: Mask) -> Field {
    Field { mask: Some(mask), ..Field::column("phone", "bio") }
}

#[test]
fn new_and_old_values_are_masked_alike_and_null_is_not() {
    let old = ["1", "~", "+49 111", "~", "~"];
    let new = ["1", "~", "+49 222", "~", "~"];
    check(
        mapped(vec![masked(Mask::Last4)]),
        &full(customers()),
        Act::FullUpdate(&old, &new),
        r#""key":{"id":1},"data":{"phone":"*** 222"},"before":{"phone":"*** 111"}"#,
    );
    data(vec![masked(Mask::Redact)], Act::Insert(&new), r#"{"phone":"***"}"#);
    data(vec![masked(Mask::Redact)], Act::Insert(&["1", "~", "~", "~", "~"]), r#"{"phone":null}"#);
    let constant = Field { on_null: Some(Policy::Default(json!("none"))), ..masked(Mask::Redact) };
    data(vec![constant], Act::Insert(&["1", "~", "~", "~", "~"]), r#"{"phone":"none"}"#);
}

#[test]
fn a_hash_depends_on_the_key_and_the_value() {
    let hash = |key: Option<&str>, value: &str| {
        let mask_key = key.map(|key| Secret::new(key.to_owned()));
        let mapping = Mapping { mask_key, ..Mapping::new("contact", 3, vec![masked(Mask::Hash)]) };
        let route = Route { mapping: Some(Arc::new(mapping)), ..route() };
        let mut out = Vec::new();
        let row = ["1", "~", value, "~", "~"];
        let chunk = chunk(&customers(), Act::Insert(&row));
        let draft = event(mapper(vec![route], Format::Mapped).map(&chunk, 0, &mut out).unwrap());
        let value: Value = serde_json::from_slice(&out[draft.body]).unwrap();
        value["phone"].as_str().unwrap().to_owned()
    };
    let one = hash(Some("key"), "value");
    assert_eq!(one.len(), 64);
    assert_eq!(one, hash(Some("key"), "value"));
    assert_ne!(one, hash(Some("other"), "value"));
    assert_ne!(one, hash(Some("key"), "other"));
    assert_eq!(hash(None, "value"), "***");
}

#[test]
fn columns_that_only_masked_fields_read_stay_hidden() {
    let fields = vec![
        masked(Mask::Redact),
        Field { mask: Some(Mask::Last4), ..Field::column("mail", "email") },
        Field::column("mail_as_it_is", "email"),
        Field { mask: Some(Mask::Redact), ..Field::column("a.b", "city") },
        Field::new("source", From::Value(json!(1))),
    ];
    let mapping = Mapping::new("contact", 1, fields.clone());
    assert_eq!(mapping.masked_columns().collect::<Vec<_>>(), ["bio", "city"]);
    check(
        with_rest(fields, Rest::Include),
        &customers(),
        Act::Insert(&["1", "x", "secret", "{}", "Oslo"]),
        r#""key":{"id":1},"data":{"phone":"***","mail":"***","mail_as_it_is":"x","a":{"b":"***"},"source":1,"id":1,"settings":{}}"#,
    );
}

proptest! {
    #[test]
    fn a_masked_value_never_appears(
        value in "[a-z]{8,20}", old in "[a-z]{8,20}",
        mask in proptest::sample::select(&Mask::ALL[..]),
        checks in any::<bool>(),
    ) {
        let checks = if checks { vec![Check::MaxLength(12)] } else { vec![] };
        let field = Field { checks, ..masked(mask) };
        let (new, old_row) = (["1", "~", &value, "~", "~"], ["1", "~", &old, "~", "~"]);
        let mut out = Vec::new();
        let act = Act::FullUpdate(&old_row, &new);
        let mut mapper = mapper(vec![mapped(vec![field])], Format::Walgate);
        let mapped = mapper.map(&chunk(&full(customers()), act), 0, &mut out).unwrap();
        let out = format!("{}{mapped:?}", String::from_utf8(out).unwrap());
        let shown = out.split("chunk:").next().unwrap();
        for secret in [&value, &old] {
            prop_assert!(!shown.contains(secret.as_str()), "{}", shown);
        }
    }
}
