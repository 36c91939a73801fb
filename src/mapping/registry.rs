//! What can be said of a mapping without a table: its problems, its canonical form and its hash.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::check::Check;
use super::field::{Field, From, Mapping, OnUnchanged, Policy, Rest};
use super::mask::{Mask, fingerprint, hex};

/// Something in a mapping that no table can make right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field's name as written.
    pub field: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl Mapping {
    /// Returns every problem, in the order of the fields.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut seen: HashMap<String, &str> = HashMap::new();
        for field in &self.fields {
            let mut report = |message: String| {
                problems.push(Problem { field: field.target.clone(), message });
            };
            if field.path().any(str::is_empty) {
                report("a name before or behind a dot is empty".to_owned());
                continue;
            }
            if field.mask == Some(Mask::Hash) && self.mask_key.is_none() {
                report("`mask = \"hash\"` needs a key; give the mapping a `mask_key`".to_owned());
            }
            for message in field_problems(field) {
                report(message);
            }
            // Every prefix is an object, the whole is a value: one name can't be both.
            let mut prefix = String::new();
            let mut parts = field.path().peekable();
            while let Some(part) = parts.next() {
                prefix.push_str(part);
                let role = if parts.peek().is_some() { "an object" } else { "a value" };
                match seen.insert(prefix.clone(), role) {
                    Some("a value") if role == "a value" => {
                        report(format!("`{prefix}` stands here twice; give one another name"));
                    }
                    Some(before) if before != role => {
                        report(format!("`{prefix}` can't be both {before} and {role}"));
                    }
                    _ => {}
                }
                prefix.push('.');
            }
        }
        problems
    }

    /// Returns everything that shapes the output, as one line of JSON: what the registry of
    /// mappings keeps. Defaults are left out, so that a later walgate writes the same. Of the
    /// key of masks it holds a fingerprint, of the entries of a large file their hash.
    #[must_use]
    pub fn canonical(&self) -> String {
        let fields: Vec<Value> = self.fields.iter().map(canonical_field).collect();
        let mut body = Map::new();
        body.insert("fields".to_owned(), Value::Array(fields));
        if self.rest != Rest::Omit {
            body.insert("rest".to_owned(), json!(self.rest.as_str()));
        }
        if let Some(key) = self.mask_key.as_ref().filter(|_| self.hashes()) {
            body.insert("mask_key".to_owned(), json!(fingerprint(key)));
        }
        Value::Object(body).to_string()
    }

    /// Whether a field is hidden behind a hash with the key.
    #[must_use]
    pub fn hashes(&self) -> bool {
        self.fields.iter().any(|field| field.mask == Some(Mask::Hash))
    }

    /// Returns the SHA-256 of the canonical form as hex digits: two mappings with one hash write
    /// the same for every row. Name and version are not part of it.
    #[must_use]
    pub fn hash(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, self.canonical().as_bytes());
        hex(digest.as_ref())
    }
}

fn field_problems(field: &Field) -> Vec<String> {
    let mut messages = Vec::new();
    if field.required && matches!(field.on_null, Some(Policy::Null | Policy::Omit)) {
        messages.push("`required` and this `on_null` contradict each other; drop one".to_owned());
    }
    messages.extend(field.checks.iter().filter_map(Check::problem));
    if let From::Value(_) = field.from {
        let policies = [
            ("lookup", field.lookup.is_some()),
            ("as", field.convert.is_some()),
            ("check", !field.checks.is_empty()),
            ("mask", field.mask.is_some()),
            ("required", field.required),
            ("on_null", field.on_null.is_some()),
            ("on_missing", field.on_missing.is_some()),
            ("on_invalid", field.on_invalid.is_some()),
            ("on_miss", field.on_miss.is_some()),
            ("on_unchanged", field.on_unchanged != OnUnchanged::Omit),
        ];
        for (name, _) in policies.into_iter().filter(|(_, set)| *set) {
            messages.push(format!("`{name}` means nothing beside `value`; drop it"));
        }
        return messages;
    }
    let can_be_invalid =
        field.convert.is_some() || !field.checks.is_empty() || matches!(field.from, From::Expr(_));
    if field.on_invalid.is_some() && !can_be_invalid {
        messages.push("`on_invalid` needs `as` or `check`".to_owned());
    }
    if field.on_miss.is_some() && field.lookup.is_none() {
        messages.push("`on_miss` needs `lookup`".to_owned());
    }
    messages
}

fn canonical_field(field: &Field) -> Value {
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| out.insert(name.to_owned(), value);
    put("target", json!(field.target));
    match &field.from {
        From::Column(column) => put("column", json!(column)),
        From::Expr(expression) => put("expr", json!(expression.source())),
        From::Value(value) => put("value", value.clone()),
    };
    if let Some(convert) = field.convert {
        put("as", json!(convert.as_str()));
    }
    if let Some(lookup) = &field.lookup {
        put("lookup", lookup.canonical());
    }
    if !field.checks.is_empty() {
        put("check", field.checks.iter().map(Check::canonical).collect());
    }
    if let Some(mask) = field.mask {
        put("mask", json!(mask.as_str()));
    }
    if field.required {
        put("required", json!(true));
    }
    let policies = [
        ("on_null", &field.on_null),
        ("on_missing", &field.on_missing),
        ("on_invalid", &field.on_invalid),
        ("on_miss", &field.on_miss),
    ];
    for (name, policy) in policies {
        if let Some(policy) = policy {
            put(name, canonical_policy(policy));
        }
    }
    if field.on_unchanged != OnUnchanged::Omit {
        put("on_unchanged", json!(field.on_unchanged.as_str()));
    }
    Value::Object(out)
}

fn canonical_policy(policy: &Policy) -> Value {
    match policy {
        Policy::Null => json!("null"),
        Policy::Omit => json!("omit"),
        Policy::Reject => json!("reject"),
        Policy::Skip => json!("skip"),
        Policy::Default(value) => json!({ "default": value }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::As;

    fn mapping(fields: Vec<Field>) -> Mapping {
        Mapping::new("contact", 1, fields)
    }

    #[track_caller]
    fn check(targets: &[&str], problems: &[&str]) {
        let fields = targets.iter().map(|target| Field::column(*target, "a")).collect();
        let found: Vec<String> =
            mapping(fields).problems().into_iter().map(|problem| problem.message).collect();
        assert_eq!(found, problems);
    }

    #[test]
    fn one_name_is_one_value() {
        check(&["a", "b", "address.city", "address.zip"], &[]);
        check(&["a", "a"], &["`a` stands here twice; give one another name"]);
        check(&["a.b", "a.b"], &["`a.b` stands here twice; give one another name"]);
        check(&["a", "a.b"], &["`a` can't be both a value and an object"]);
        check(&["a.b.c", "a.b"], &["`a.b` can't be both an object and a value"]);
        check(&["a..b"], &["a name before or behind a dot is empty"]);
        check(&[""], &["a name before or behind a dot is empty"]);
    }

    #[test]
    fn policies_that_contradict_are_told() {
        let mut field = Field::column("email", "email");
        field.required = true;
        field.on_null = Some(Policy::Omit);
        field.on_invalid = Some(Policy::Null);
        assert_eq!(mapping(vec![field.clone()]).problems().len(), 2);
        field.on_null = Some(Policy::Skip);
        field.convert = Some(As::String);
        assert_eq!(mapping(vec![field]).problems(), []);
    }

    #[test]
    fn the_hash_follows_the_fields_and_nothing_else() {
        let one = mapping(vec![Field::column("a", "a"), Field::column("b", "b")]);
        let mut renamed = one.clone();
        renamed.name = "other".to_owned();
        renamed.version = 9;
        assert_eq!(one.hash(), renamed.hash());
        assert_eq!(one.hash().len(), 64);
        let mut changed = one.clone();
        changed.fields.swap(0, 1);
        assert_ne!(one.hash(), changed.hash());
        assert_eq!(
            one.canonical(),
            r#"{"fields":[{"target":"a","column":"a"},{"target":"b","column":"b"}]}"#
        );
    }
}
