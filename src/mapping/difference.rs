//! [`differences`]: in what two versions of a mapping are not the same.
//!
//! Goes by their canonical forms, so that whatever a field can say is held against what it said.

use std::fmt;

use serde_json::{Map, Value};

use super::field::Mapping;

/// One thing in which a version is not as another.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// A field is new.
    Added {
        /// The field.
        field: String,
        /// All that it says, without its name.
        now: Map<String, Value>,
    },
    /// A field is gone.
    Removed {
        /// The field.
        field: String,
        /// All that it said, without its name.
        was: Map<String, Value>,
    },
    /// A field, or the mapping itself, says something else.
    Changed {
        /// The field; none: the mapping.
        field: Option<String>,
        /// The key, as the config has it.
        key: String,
        /// What it was; none: it was left out.
        was: Option<Value>,
        /// What it is; none: it is left out.
        now: Option<Value>,
    },
    /// The fields that both have stand in another order.
    Order,
}

/// Says which field and key, and none of their values: they may have come from the environment.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added { field, .. } => write!(f, "field \"{field}\" is new"),
            Self::Removed { field, .. } => write!(f, "field \"{field}\" is gone"),
            Self::Changed { field: Some(field), key, was, now } => {
                write!(f, "field \"{field}\": \"{key}\" {}", what(was.as_ref(), now.as_ref()))
            }
            Self::Changed { field: None, key, was, now } => {
                write!(f, "\"{key}\" {}", what(was.as_ref(), now.as_ref()))
            }
            Self::Order => f.write_str("the fields stand in another order"),
        }
    }
}

const fn what(was: Option<&Value>, now: Option<&Value>) -> &'static str {
    match (was, now) {
        (None, _) => "is new",
        (_, None) => "is gone",
        _ => "is another",
    }
}

impl Mapping {
    /// Returns in what another version is not as this one, from one canonical form to the other;
    /// see [`differences`].
    #[must_use]
    pub fn differences(&self, now: &Self) -> Vec<Difference> {
        differences(&self.canonical(), &now.canonical())
    }
}

/// Returns in what `now` is not as `was`, both as [`Mapping::canonical`] writes them.
///
/// First the fields in their order, then what is of the mapping; empty where they write the same.
/// What is no canonical form has no fields.
#[must_use]
pub fn differences(was: &str, now: &str) -> Vec<Difference> {
    let (was, now) = (Form::read(was), Form::read(now));
    let mut found = Vec::new();
    for (field, said) in &was.fields {
        match now.field(field) {
            None => {
                found.push(Difference::Removed { field: field.clone(), was: said.clone() });
            }
            Some(says) => changed(Some(field), said, says, &mut found),
        }
    }
    for (field, says) in &now.fields {
        if was.field(field).is_none() {
            found.push(Difference::Added { field: field.clone(), now: says.clone() });
        }
    }
    let order = |form: &Form, other: &Form| -> Vec<String> {
        let names = form.fields.iter().map(|(name, _)| name);
        names.filter(|name| other.field(name).is_some()).cloned().collect()
    };
    if order(&was, &now) != order(&now, &was) {
        found.push(Difference::Order);
    }
    changed(None, &was.rest, &now.rest, &mut found);
    found
}

/// Notes the keys of which two objects say different things.
fn changed(
    field: Option<&str>,
    was: &Map<String, Value>,
    now: &Map<String, Value>,
    found: &mut Vec<Difference>,
) {
    let new = now.keys().filter(|key| !was.contains_key(*key));
    for key in was.keys().chain(new) {
        let (before, after) = (was.get(key), now.get(key));
        // Members in another order are other bytes.
        if before.map(Value::to_string) != after.map(Value::to_string) {
            found.push(Difference::Changed {
                field: field.map(str::to_owned),
                key: key.clone(),
                was: before.cloned(),
                now: after.cloned(),
            });
        }
    }
}

/// A canonical form, taken apart.
#[derive(Debug, Default)]
struct Form {
    /// Each field by its name, with all else that it says.
    fields: Vec<(String, Map<String, Value>)>,
    /// What is of the mapping.
    rest: Map<String, Value>,
}

impl Form {
    fn read(text: &str) -> Self {
        let Ok(Value::Object(mut rest)) = serde_json::from_str(text) else {
            return Self::default();
        };
        let mut fields = Vec::new();
        if let Some(Value::Array(all)) = rest.shift_remove("fields") {
            for field in all {
                let Value::Object(mut members) = field else { continue };
                if let Some(Value::String(name)) = members.shift_remove("target") {
                    fields.push((name, members));
                }
            }
        }
        Self { fields, rest }
    }

    fn field(&self, name: &str) -> Option<&Map<String, Value>> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, members)| members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(was: &str, now: &str, said: &[&str]) {
        let found: Vec<String> = differences(was, now).iter().map(ToString::to_string).collect();
        assert_eq!(found, said);
    }

    const WAS: &str = r#"{"fields":[{"target":"id","column":"id"},
        {"target":"email","column":"mail","required":true}]}"#;

    #[test]
    fn each_thing_that_is_not_as_it_was_is_told() {
        check(WAS, WAS, &[]);
        check(
            WAS,
            r#"{"fields":[{"target":"email","column":"email","as":"string"},
                {"target":"phone","column":"phone"}],"rest":"include"}"#,
            &[
                "field \"id\" is gone",
                "field \"email\": \"column\" is another",
                "field \"email\": \"required\" is gone",
                "field \"email\": \"as\" is new",
                "field \"phone\" is new",
                "\"rest\" is new",
            ],
        );
    }

    #[test]
    fn the_order_counts_and_what_nobody_knows_yet_too() {
        let other = r#"{"fields":[{"target":"email","column":"mail","required":true},
            {"target":"id","column":"id"}]}"#;
        check(WAS, other, &["the fields stand in another order"]);
        let later = r#"{"fields":[{"target":"id","column":"id","shiny":{"a":1}},
            {"target":"email","column":"mail","required":true}],"extra":1}"#;
        check(WAS, later, &["field \"id\": \"shiny\" is new", "\"extra\" is new"]);
        check("no JSON", r#"{"fields":[{"target":"id","column":"id"}]}"#, &["field \"id\" is new"]);
    }
}
