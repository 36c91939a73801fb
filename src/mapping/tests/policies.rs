//! Each policy in each state of a value, wherever a row may show it.

use super::*;

/// What may be the matter with a value.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Null,
    Missing,
    /// It can't become a number.
    Invalid,
    /// It fails a check.
    Failing,
    /// It is not in the lookup.
    Miss,
    /// The lookup has null for it.
    LookedUpNull,
}

impl State {
    const ALL: [Self; 6] =
        [Self::Null, Self::Missing, Self::Invalid, Self::Failing, Self::Miss, Self::LookedUpNull];

    /// A field `a` that meets the state with its value of `bio`, and the value `1` without it.
    fn field(self, policy: Policy) -> Field {
        let field = Field::column("a", "bio");
        let policy = Some(policy);
        let lookup =
            Lookup::inline([("1", LookupEntry::Json("1")), ("n", LookupEntry::Json("null"))]);
        match self {
            Self::Null => Field { on_null: policy, ..field },
            Self::Missing => Field { on_missing: policy, ..Field::column("a", "Plan") },
            Self::Invalid => Field { convert: Some(As::Number), on_invalid: policy, ..field },
            Self::Failing => {
                let checks = vec![Check::MaxLength(9), Check::OneOf(vec!["1".to_owned()])];
                Field { checks, on_invalid: policy, ..field }
            }
            Self::Miss => Field { lookup: Some(lookup), on_miss: policy, ..field },
            Self::LookedUpNull => Field { lookup: Some(lookup), on_null: policy, ..field },
        }
    }

    const fn cell(self) -> &'static str {
        match self {
            Self::Null => "~",
            Self::Missing | Self::Invalid | Self::Failing | Self::Miss => "x",
            Self::LookedUpNull => "n",
        }
    }

    const fn reason(self) -> &'static str {
        match self {
            Self::Null | Self::LookedUpNull => "is NULL",
            Self::Missing => "the table has no column \"Plan\"",
            Self::Invalid => "can't become `number` without loss",
            Self::Failing => "fails `check`: one_of",
            Self::Miss => "is not in `lookup`",
        }
    }
}

/// The data and what was before, as the event has them; or the refusal.
fn outcome(field: &Field, act: Act<'_>) -> (String, String) {
    let mut out = Vec::new();
    let mapped = mapper(vec![mapped(vec![field.clone()])], Format::Walgate)
        .map(&chunk(&full(customers()), act), 0, &mut out)
        .unwrap();
    let refusal = match mapped {
        Mapped::Event(draft) => {
            let event: Value = serde_json::from_slice(&out[draft.body]).unwrap();
            return (event["data"].to_string(), event["before"].to_string());
        }
        Mapped::Rejected { field, reason, .. } => format!("reject {field}: {reason}"),
        Mapped::Skipped { reason, .. } => format!("skip {reason}"),
        Mapped::Unrouted => panic!("no route"),
    };
    (refusal, String::new())
}

#[test]
fn each_policy_does_the_same_in_each_state_and_operation() {
    let default = || Policy::Default(json!({ "d": 1 }));
    for state in State::ALL {
        for policy in [Policy::Null, Policy::Omit, Policy::Reject, Policy::Skip, default()] {
            let field = state.field(policy.clone());
            let expected = match policy {
                Policy::Null => r#"{"a":null}"#.to_owned(),
                Policy::Omit => "{}".to_owned(),
                Policy::Reject => format!("reject a: {}", state.reason()),
                Policy::Skip => format!("skip field `a`: {}", state.reason()),
                Policy::Default(_) => r#"{"a":{"d":1}}"#.to_owned(),
            };
            let row: &[&str] = &["1", "~", state.cell(), "~", "~"];
            let acts = [Act::Insert(row), Act::Read(row), Act::Update(row), Act::FullDelete(row)];
            for act in acts {
                assert_eq!(outcome(&field, act).0, expected, "{state:?} {policy:?}");
            }
        }
    }
}

#[test]
fn an_old_value_never_refuses_an_event() {
    let new: &[&str] = &["1", "~", "1", "~", "~"];
    for state in State::ALL.into_iter().filter(|state| *state != State::Missing) {
        let old: &[&str] = &["1", "~", state.cell(), "~", "~"];
        let is_null = matches!(state, State::Null | State::LookedUpNull);
        for (policy, before) in [
            (Policy::Null, r#"{"a":null}"#),
            (Policy::Omit, "null"),
            (Policy::Reject, if is_null { r#"{"a":null}"# } else { "null" }),
            (Policy::Skip, if is_null { r#"{"a":null}"# } else { "null" }),
            (Policy::Default(json!("d")), r#"{"a":"d"}"#),
        ] {
            let (data, found) = outcome(&state.field(policy.clone()), Act::FullUpdate(old, new));
            let value = if matches!(state, State::Null | State::Failing) { r#""1""# } else { "1" };
            assert_eq!(data, format!(r#"{{"a":{value}}}"#), "{state:?} {policy:?}");
            assert_eq!(found, before, "{state:?} {policy:?}");
        }
    }
}

#[test]
fn a_value_that_was_not_sent_is_in_no_other_state() {
    for state in State::ALL.into_iter().filter(|state| *state != State::Missing) {
        for policy in [Policy::Null, Policy::Reject, Policy::Default(json!("d"))] {
            let omit = state.field(policy.clone());
            let update = Act::Update(&["1", "~", "?", "~", "~"]);
            check(
                mapped(vec![omit.clone()]),
                &customers(),
                update,
                r#""key":{"id":1},"data":{},"unchanged":["a"]"#,
            );
            let gone = Act::Delete(&["1", "~", "~", "~", "~"]);
            check(mapped(vec![omit.clone()]), &customers(), gone, r#""key":{"id":1},"data":{}"#);
            let reject = Field { on_unchanged: OnUnchanged::Reject, ..omit };
            for act in [update, gone] {
                refused(vec![reject.clone()], act, "a", "was not sent by Postgres");
            }
            // An old row of the key alone says nothing of the others.
            let moved = Act::KeyUpdate(&["2", "~", "~", "~", "~"], &["1", "~", "1", "~", "~"]);
            let mut out = Vec::new();
            let mut mapper = mapper(vec![mapped(vec![reject])], Format::Walgate);
            let draft = event(mapper.map(&chunk(&customers(), moved), 0, &mut out).unwrap());
            let body: Value = serde_json::from_slice(&out[draft.body]).unwrap();
            assert_eq!(body["before"], Value::Null);
        }
    }
}
