//! A mapping read back from its canonical form, as the registry of mappings keeps it.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::check::Check;
use super::expression::Expression;
use super::field::{As, Field, From, Mapping, OnUnchanged, Policy, Rest};
use super::lookup::{Lookup, Lost};
use super::mask::{Mask, fingerprint};
use super::rule::Route;

/// The text is no canonical form that this walgate knows.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// It is no JSON.
    #[error("a stored mapping is no JSON")]
    Json(#[from] serde_json::Error),
    /// A member is missing, has another type, or means nothing here.
    #[error("a stored mapping can't be read at `{member}`; a later walgate may have written it")]
    Member {
        /// The member.
        member: String,
    },
    /// It hid values with a key that is not the one of today: their hashes would be others.
    #[error("its `mask_key` was another; give the mapping that key to have this version again")]
    OtherKey,
    /// It looked values up in a file that was too large to be stored, and has changed.
    #[error(
        "the file that its field `{field}` looked values up in was too large to be kept and is \
         not as it was; put the file back to have this version again"
    )]
    OtherFile {
        /// The field.
        field: String,
    },
}

impl Mapping {
    /// Reads what [`Mapping::canonical`] wrote. Name and version are not part of it. What is not
    /// stored either, the key of masks and the entries of large files, is taken from the mapping
    /// as it is `today`, if that is the same.
    ///
    /// # Errors
    /// The text is no JSON, or says something that this walgate does not know: nothing is
    /// guessed; or what was not stored is not to be had any more.
    pub fn from_canonical(
        name: &str,
        version: u32,
        body: &str,
        today: Option<&Self>,
    ) -> Result<Self, CanonicalError> {
        let mut body = Members::new("mapping", serde_json::from_str(body)?)?;
        let Some(Value::Array(fields)) = body.take("fields") else {
            return Err(unknown("fields"));
        };
        let lookups = today.iter().flat_map(|today| &today.fields);
        let lookups: Vec<&Lookup> = lookups.filter_map(|field| field.lookup.as_ref()).collect();
        let fields = fields.into_iter().map(|value| field(value, &lookups));
        let fields = fields.collect::<Result<_, _>>()?;
        let mask_key = match body.text("mask_key")? {
            None => None,
            Some(own) => {
                let key = today.and_then(|today| today.mask_key.clone());
                let same = key.filter(|key| fingerprint(key) == own);
                Some(same.ok_or(CanonicalError::OtherKey)?)
            }
        };
        let rest = body.word("rest", &Rest::ALL, Rest::as_str)?.unwrap_or_default();
        body.end()?;
        Ok(Self { name: name.to_owned(), version, fields, rest, mask_key })
    }
}

/// Returns the routes, those of `mapping`'s name with this version of it in place of their own:
/// what a [`SinkMapper`](super::SinkMapper) takes to write events as that version did.
#[must_use]
pub fn routes_at(routes: &[Arc<Route>], mapping: &Arc<Mapping>) -> Vec<Arc<Route>> {
    let replace = |route: &Arc<Route>| match &route.mapping {
        Some(own) if own.name == mapping.name => {
            Arc::new(Route { mapping: Some(Arc::clone(mapping)), ..Route::clone(route) })
        }
        _ => Arc::clone(route),
    };
    routes.iter().map(replace).collect()
}

fn field(value: Value, lookups: &[&Lookup]) -> Result<Field, CanonicalError> {
    let mut body = Members::new("field", value)?;
    let target = body.text("target")?.ok_or_else(|| unknown("target"))?;
    let from = match (body.text("column")?, body.text("expr")?, body.take("value")) {
        (Some(column), None, None) => From::Column(column),
        (None, Some(source), None) => {
            From::Expr(Expression::parse(&source).map_err(|_| unknown("expr"))?)
        }
        (None, None, Some(value)) => From::Value(value),
        _ => return Err(unknown("column")),
    };
    let required = match body.take("required") {
        None => false,
        Some(Value::Bool(required)) => required,
        Some(_) => return Err(unknown("required")),
    };
    let lookup = match body.take("lookup") {
        None => None,
        Some(value) => match Lookup::from_canonical(&value, lookups) {
            None => return Err(unknown("lookup")),
            Some(Err(Lost)) => return Err(CanonicalError::OtherFile { field: target }),
            Some(Ok(lookup)) => Some(lookup),
        },
    };
    let checks = match body.take("check") {
        None => Some(Vec::new()),
        Some(Value::Array(checks)) => checks.iter().map(Check::from_canonical).collect(),
        Some(_) => None,
    };
    let field = Field {
        target,
        from,
        lookup,
        checks: checks.ok_or_else(|| unknown("check"))?,
        mask: body.word("mask", &Mask::ALL, Mask::as_str)?,
        on_miss: body.policy("on_miss")?,
        convert: body.word("as", &As::ALL, As::as_str)?,
        required,
        on_null: body.policy("on_null")?,
        on_missing: body.policy("on_missing")?,
        on_invalid: body.policy("on_invalid")?,
        on_unchanged: body
            .word("on_unchanged", &OnUnchanged::ALL, OnUnchanged::as_str)?
            .unwrap_or_default(),
    };
    body.end()?;
    Ok(field)
}

fn unknown(member: &str) -> CanonicalError {
    CanonicalError::Member { member: member.to_owned() }
}

/// The members of an object, taken one by one.
struct Members(Map<String, Value>);

impl Members {
    fn new(what: &str, value: Value) -> Result<Self, CanonicalError> {
        match value {
            Value::Object(members) => Ok(Self(members)),
            _ => Err(unknown(what)),
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, CanonicalError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(unknown(name)),
        }
    }

    /// Reads one of the words of the config.
    fn word<T: Copy>(
        &mut self,
        name: &str,
        all: &[T],
        as_str: impl Fn(T) -> &'static str,
    ) -> Result<Option<T>, CanonicalError> {
        let Some(word) = self.text(name)? else { return Ok(None) };
        let found = all.iter().copied().find(|value| as_str(*value) == word);
        found.map(Some).ok_or_else(|| unknown(name))
    }

    fn policy(&mut self, name: &str) -> Result<Option<Policy>, CanonicalError> {
        let policy = match self.take(name) {
            None => return Ok(None),
            Some(Value::String(word)) => match word.as_str() {
                "null" => Policy::Null,
                "omit" => Policy::Omit,
                "reject" => Policy::Reject,
                "skip" => Policy::Skip,
                _ => return Err(unknown(name)),
            },
            Some(value) => {
                let mut members = Self::new(name, value)?;
                let default = members.take("default").ok_or_else(|| unknown(name))?;
                members.end()?;
                Policy::Default(default)
            }
        };
        Ok(Some(policy))
    }

    /// Refuses what is left over.
    fn end(self) -> Result<(), CanonicalError> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(member) => Err(unknown(member)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::mapping::{Decimal, LookupEntry, Pattern, Selector, TablePattern};
    use crate::secret::Secret;

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((".{0,4}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn any_policy() -> impl Strategy<Value = Option<Policy>> {
        prop::option::of(prop_oneof![
            Just(Policy::Null),
            Just(Policy::Omit),
            Just(Policy::Reject),
            Just(Policy::Skip),
            any_value().prop_map(Policy::Default),
        ])
    }

    fn any_field() -> impl Strategy<Value = Field> {
        let from = prop_oneof![".{1,8}".prop_map(From::Column), any_value().prop_map(From::Value),];
        let policies = (any_policy(), any_policy(), any_policy());
        let convert = prop::option::of(prop::sample::select(As::ALL.to_vec()));
        let on_unchanged = prop::sample::select(OnUnchanged::ALL.to_vec());
        let features = (
            prop::option::of(any_lookup()),
            prop::collection::vec(any_check(), 0..3),
            prop::option::of(prop::sample::select(Mask::ALL.to_vec())),
            any_policy(),
        );
        (".{1,8}", from, convert, any::<bool>(), policies, on_unchanged, features).prop_map(
            |(target, from, convert, required, policies, on_unchanged, features)| {
                let (on_null, on_missing, on_invalid) = policies;
                let (lookup, checks, mask, on_miss) = features;
                Field {
                    convert,
                    required,
                    on_null,
                    on_missing,
                    on_invalid,
                    on_unchanged,
                    lookup,
                    checks,
                    mask,
                    on_miss,
                    ..Field::new(target, from)
                }
            },
        )
    }

    fn any_lookup() -> impl Strategy<Value = Lookup> {
        let entries = prop::collection::vec((".{0,8}", ".{0,8}", any_value()), 0..4);
        entries.prop_map(|entries| {
            let json: Vec<String> = entries.iter().map(|(.., value)| value.to_string()).collect();
            let texts =
                entries.iter().map(|(key, text, _)| (key.as_str(), LookupEntry::Text(text)));
            let json = entries
                .iter()
                .zip(&json)
                .map(|((_, key, _), json)| (key.as_str(), LookupEntry::Json(json.as_str())));
            Lookup::inline(texts.chain(json))
        })
    }

    fn any_check() -> impl Strategy<Value = Check> {
        let limit = || "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?(e-?[0-9]{1,5})?";
        prop_oneof![
            prop::sample::select(vec![Check::Email, Check::Url, Check::Uuid, Check::Nonempty]),
            any::<u32>().prop_map(Check::MaxLength),
            "[a-z]{1,4}[*+?]?".prop_map(|text| Check::Pattern(Pattern::parse(&text).unwrap())),
            prop::collection::vec(".{0,8}", 0..4).prop_map(Check::OneOf),
            limit().prop_map(|min| Check::Range { min: Decimal::parse(&min), max: None }),
            (limit(), limit()).prop_map(|(min, max)| Check::Range {
                min: Decimal::parse(&min),
                max: Decimal::parse(&max)
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(
            fields in prop::collection::vec(any_field(), 0..6),
            rest in prop::sample::select(Rest::ALL.to_vec()),
            version in any::<u32>(),
        ) {
            let mapping = Mapping { rest, ..Mapping::new("contact", version, fields) };
            let mask_key = mapping.hashes().then(|| Secret::new("a key".to_owned()));
            let mapping = Mapping { mask_key, ..mapping };
            let body = mapping.canonical();
            let read = Mapping::from_canonical("contact", version, &body, Some(&mapping)).unwrap();
            prop_assert_eq!(&read, &mapping);
            prop_assert_eq!(read.hash(), mapping.hash());
        }
    }

    #[track_caller]
    fn refused(body: &Value, at: &str) {
        match Mapping::from_canonical("contact", 1, &body.to_string(), None) {
            Err(CanonicalError::Member { member }) => assert_eq!(member, at),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_a_later_walgate_wrote_is_refused_not_guessed() {
        assert!(Mapping::from_canonical("contact", 1, "{", None).is_err());
        refused(&json!([]), "mapping");
        refused(&json!({ "rest": "omit" }), "fields");
        refused(&json!({ "fields": [], "rest": "some" }), "rest");
        refused(&json!({ "fields": [], "filter": 1 }), "filter");
        refused(&json!({ "fields": [{ "target": "a" }] }), "column");
        refused(&json!({ "fields": [{ "target": "a", "column": "a", "value": 1 }] }), "column");
        refused(&json!({ "fields": [{ "target": "a", "expr": "row." }] }), "expr");
        refused(
            &json!({ "fields": [{ "target": "a", "expr": "row.a", "column": "a" }] }),
            "column",
        );
        refused(&json!({ "fields": [{ "target": "a", "column": "a", "mask": "x" }] }), "mask");
        refused(
            &json!({ "fields": [{ "target": "a", "column": "a", "on_null": "x" }] }),
            "on_null",
        );
        for (member, value) in [
            ("lookup", json!({ "more": {} })),
            ("check", json!("email")),
            ("check", json!(["phone"])),
            ("check", json!([{ "min": 1 }])),
            ("check", json!([{ "pattern": "(" }])),
            ("check", json!([{ "max_length": 1, "min": "1" }])),
        ] {
            refused(
                &json!({ "fields": [{ "target": "a", "column": "a", member: value }] }),
                member,
            );
        }
    }

    #[test]
    fn what_is_not_stored_is_todays_or_not_to_be_had() {
        let keyed = |key: &str| {
            let field = Field { mask: Some(Mask::Hash), ..Field::column("phone", "phone") };
            let mask_key = Some(Secret::new(key.to_owned()));
            Mapping { mask_key, ..Mapping::new("contact", 1, vec![field]) }
        };
        let read = |mapping: &Mapping, today: Option<&Mapping>| {
            Mapping::from_canonical("contact", 1, &mapping.canonical(), today)
        };
        let (own, other) = (keyed("own"), keyed("other"));
        assert_ne!(own.hash(), other.hash());
        assert!(!own.canonical().contains("own"));
        assert_eq!(read(&own, Some(&own)).unwrap(), own);
        assert!(matches!(read(&own, Some(&other)), Err(CanonicalError::OtherKey)));
        assert!(matches!(read(&own, None), Err(CanonicalError::OtherKey)));

        let looked_up = |count: u32| {
            let keys: Vec<String> =
                (0..count).map(|n| format!("a key as long as this {n}")).collect();
            let entries = keys.iter().map(|key| (key.as_str(), LookupEntry::Text(key)));
            let lookup = Some(Lookup::file(entries));
            Mapping::new("contact", 1, vec![Field { lookup, ..Field::column("name", "code") }])
        };
        let (own, other) = (looked_up(2000), looked_up(2001));
        assert_eq!(read(&own, Some(&own)).unwrap(), own);
        let lost = read(&own, Some(&other));
        assert!(matches!(lost, Err(CanonicalError::OtherFile { field }) if field == "name"));
    }

    #[test]
    fn routes_of_the_mapping_take_the_version_and_others_stay() {
        let mapping = |name: &str, version| Arc::new(Mapping::new(name, version, vec![]));
        let route = |name: &str, mapping| {
            let table = TablePattern::parse("public.t").unwrap();
            Arc::new(Route { mapping, ..Route::new(name, Selector::Table(table), "crm") })
        };
        let routes = [
            route("a", Some(mapping("contact", 3))),
            route("b", Some(mapping("order", 3))),
            route("c", None),
        ];
        let at = routes_at(&routes, &mapping("contact", 2));
        let versions: Vec<_> = at.iter().map(|route| route.label().mapping).collect();
        assert_eq!(versions, [Some(("contact".into(), 2)), Some(("order".into(), 3)), None]);
        assert!(Arc::ptr_eq(&at[1], &routes[1]));
    }
}
