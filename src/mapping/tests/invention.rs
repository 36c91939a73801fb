//! No rule invents a field, whatever the rule and the row.

use super::*;
use crate::mapping::Expression;

fn any_cell() -> impl Strategy<Value = String> {
    prop_oneof![Just("~".to_owned()), Just("?".to_owned()), any::<String>(), "[0-9]{1,9}"]
}

fn any_convert() -> impl Strategy<Value = Option<As>> {
    proptest::option::of(proptest::sample::select(&As::ALL[..]))
}

fn any_policy() -> impl Strategy<Value = Option<Policy>> {
    proptest::option::of(prop_oneof![
        Just(Policy::Null),
        Just(Policy::Omit),
        Just(Policy::Reject),
        Just(Policy::Skip),
        Just(Policy::Default(json!({ "a": ["b"] }))),
    ])
}

fn any_lookup() -> impl Strategy<Value = Lookup> {
    let values =
        prop_oneof![Just("null"), Just("true"), Just("1.50"), Just("{\"a\": 1}"), Just("\"x\"")];
    proptest::collection::vec(("[0-9]", values), 1..8).prop_map(|entries| {
        let entries = entries.iter().map(|(key, json)| (key.as_str(), LookupEntry::Json(json)));
        Lookup::inline(entries)
    })
}

fn any_check() -> impl Strategy<Value = Check> {
    let zero = || Decimal::parse("0");
    proptest::sample::select(vec![
        Check::Email,
        Check::Url,
        Check::Nonempty,
        Check::MaxLength(3),
        Check::OneOf(vec!["1".to_owned()]),
        Check::Range { min: zero(), max: None },
        Check::Range { min: None, max: zero() },
    ])
}

const EXPRESSIONS: [&str; 7] = [
    "row.email + '!'",
    "row.id + 1",
    "before == null ? null : before.city",
    "has(row.bio) ? 'y' : op",
    "row.?none.orValue(row.settings)",
    "row.settings.map(k, k)",
    "size(row.city) > 2 && row.none == 1",
];

prop_compose! {
    fn any_field(target: &'static str)(
        column in proptest::sample::select(&["id", "email", "bio", "settings", "city", "none"][..]),
        convert in any_convert(),
        on_null in any_policy(),
        on_missing in any_policy(),
        on_invalid in any_policy(),
        on_miss in any_policy(),
        lookup in proptest::option::of(any_lookup()),
        checks in proptest::collection::vec(any_check(), 0..3),
        mask in proptest::option::of(proptest::sample::select(&Mask::ALL[..])),
        source in proptest::option::of(proptest::sample::select(&EXPRESSIONS[..])),
    ) -> Field {
        let from = match source {
            Some(source) => From::Expr(Expression::parse(source).unwrap()),
            None => From::Column(column.to_owned()),
        };
        let on_invalid = on_invalid.filter(|_| convert.is_some() || !checks.is_empty());
        let on_miss = on_miss.filter(|_| lookup.is_some());
        Field {
            convert,
            on_null,
            on_missing,
            on_invalid,
            on_miss,
            lookup,
            checks,
            mask,
            ..Field::new(target, from)
        }
    }
}

proptest! {
    #[test]
    fn a_rule_never_invents_a_field_and_always_writes_json(
        fields in (any_field("a"), any_field("b.c"), any_field("b.d \"\\"), any_field("e")),
        row in proptest::collection::vec(any_cell(), 5),
        old in proptest::collection::vec(any_cell(), 5),
        is_full in any::<bool>(),
    ) {
        let (a, b, c, d) = fields;
        let route = mapped(vec![a, b, c, d]);
        let row: Vec<&str> = row.iter().map(String::as_str).collect();
        let old: Vec<&str> = old.iter().map(String::as_str).collect();
        let relation = if is_full { full(customers()) } else { customers() };
        let acts = [Act::Insert(&row), Act::FullUpdate(&old, &row), Act::KeyUpdate(&old, &row),
            Act::Update(&row), Act::Delete(&old), Act::FullDelete(&old)];
        for act in acts {
            let mut out = Vec::new();
            let mut mapper = mapper(vec![route.clone()], Format::Walgate);
            let result = mapper.map(&chunk(&relation, act), 0, &mut out).unwrap();
            let mut again = Vec::new();
            let twice = [&mut mapper, &mut self::mapper(vec![route.clone()], Format::Walgate)];
            for mapper in twice {
                again.clear();
                mapper.map(&chunk(&relation, act), 0, &mut again).unwrap();
                prop_assert_eq!(&again, &out);
            }
            let Mapped::Event(draft) = result else { continue };
            let body = &out[draft.body.clone()];
            prop_assert!(!body.contains(&b'\n'));
            let event: Value = serde_json::from_slice(body).unwrap();
            for image in ["data", "before"] {
                let Some(Value::Object(image)) = event.get(image) else { continue };
                prop_assert!(image.keys().all(|name| ["a", "b", "e"].contains(&name.as_str())));
                if let Some(Value::Object(b)) = image.get("b") {
                    prop_assert!(b.keys().all(|name| ["c", "d \"\\"].contains(&name.as_str())));
                    prop_assert!(!b.is_empty());
                }
            }
            let key = draft.key.map(|key| out[key].to_vec());
            prop_assert_eq!(
                key.map(|key| serde_json::from_slice::<Value>(&key).unwrap()),
                Some(event["key"].clone())
            );
        }
    }
}
