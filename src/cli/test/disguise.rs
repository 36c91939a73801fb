//! Hides values of a row, so that what becomes of it stays the same.

use std::sync::Arc;

use crate::inspect::fake::candidates;
use crate::mapping::{Case, Error, Explanation, Given, Mapping, Outcome};

/// Puts made-up values in place of what the `hidden` columns of a case hold: such that the row
/// meets the fate that it has, field by field, as far as there are any. `turn` is of any kind.
/// Returns what to say where there are none.
pub(super) fn disguise(
    case: &mut Case,
    mapping: &Arc<Mapping>,
    hidden: &[String],
    turn: u64,
) -> Result<Option<String>, Error> {
    let mut trial = case.clone();
    // As the types of the test's columns will be when it is read.
    trial.kinds.extend(super::block::kinds(case));
    let real = Fate::of(&trial, mapping)?;
    let mut fate = real.clone();
    for name in hidden {
        let of = |row: &[(String, Given)]| {
            let real = row.iter().find(|(column, _)| column == name);
            real.map(|(_, given)| candidates(name, given, mapping, turn)).unwrap_or_default()
        };
        let ways = [of(&case.row), of(case.before.as_deref().unwrap_or_default())];
        let mut plainest = None;
        for way in 0..ways.iter().map(Vec::len).max().unwrap_or_default() {
            put(&mut trial, name, &ways, way);
            let met = Fate::of(&trial, mapping)?;
            if met == fate {
                plainest = None;
                break;
            }
            plainest.get_or_insert(met);
        }
        if let Some(met) = plainest {
            put(&mut trial, name, &ways, 0);
            fate = met;
        }
    }
    (case.row, case.before) = (trial.row, trial.before);
    Ok(real.unlike(&fate))
}

/// Puts the way's values, or the last ones that there are, in the place of a column's.
fn put(trial: &mut Case, name: &str, ways: &[Vec<String>; 2], way: usize) {
    let [row, before] = ways;
    let rows = [(Some(&mut trial.row), row), (trial.before.as_mut(), before)];
    for (row, made) in rows {
        let Some(made) = made.get(way).or(made.last()) else { continue };
        let given = row.into_iter().flatten().find(|(column, _)| column == name);
        if let Some((_, given)) = given {
            given.text.clone_from(made);
        }
    }
}

/// What becomes of a row, and of each field: no value of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fate {
    outcome: Outcome,
    fields: Vec<Explanation>,
}

impl Fate {
    fn of(case: &Case, mapping: &Arc<Mapping>) -> Result<Self, Error> {
        let outcome = match case.outcome(mapping)? {
            Outcome::Sent(_) => Outcome::Sent(String::new()),
            outcome => outcome,
        };
        Ok(Self { outcome, fields: case.explained(mapping)? })
    }

    /// Says in what another fate is not this one; none: in nothing.
    fn unlike(&self, other: &Self) -> Option<String> {
        if self.outcome != other.outcome {
            return Some(match &self.outcome {
                Outcome::Sent(_) => "it is sent".to_owned(),
                Outcome::Rejected { field, reason } => {
                    format!("it is rejected: field \"{field}\": {reason}")
                }
                Outcome::Skipped { field: Some(field), reason } => {
                    format!("it is skipped: field \"{field}\": {reason}")
                }
                Outcome::Skipped { field: None, reason } => format!("it is skipped: {reason}"),
            });
        }
        let both = self.fields.iter().zip(&other.fields);
        let fields: Vec<&str> =
            both.filter(|(a, b)| a != b).map(|(field, _)| field.field.as_str()).collect();
        (!fields.is_empty()).then(|| format!("another policy acts on {}", fields.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::Operation;
    use crate::mapping::{Check, Expected, Field, Lookup, LookupEntry, Mask, Policy};
    use crate::relation::Kind;

    fn text(column: &str, text: &str) -> (String, Given) {
        (column.to_owned(), Given { kind: Kind::Text, text: text.to_owned() })
    }

    fn masked(target: &str, column: &str) -> Field {
        Field { mask: Some(Mask::Redact), ..Field::column(target, column) }
    }

    fn lookup(field: Field, keys: &[&str]) -> Field {
        let entries = keys.iter().map(|key| (*key, LookupEntry::Text("v")));
        Field { lookup: Some(Lookup::inline(entries)), ..field }
    }

    /// What stands in a row's `plan` once it is disguised, and what is said.
    fn disguised(fields: Vec<Field>, row: Vec<(String, Given)>) -> (String, Option<String>) {
        let mut case = Case {
            mapping: "m".to_owned(),
            name: "t".to_owned(),
            operation: Operation::Insert,
            table: None,
            row,
            before: None,
            is_full: false,
            unchanged: Vec::new(),
            missing: Vec::new(),
            kinds: std::collections::BTreeMap::new(),
            expected: Expected::Skipped { field: None },
        };
        let mapping = Arc::new(Mapping::new("m", 1, fields));
        let said = disguise(&mut case, &mapping, &["plan".to_owned()], 0).unwrap();
        (case.row.into_iter().find(|(name, _)| name == "plan").unwrap().1.text, said)
    }

    #[track_caller]
    fn check(fields: Vec<Field>, plan: &str, made: &str, said: Option<&str>) {
        let found = disguised(fields, vec![text("plan", plan)]);
        assert_eq!((found.0.as_str(), found.1.as_deref()), (made, said));
    }

    #[test]
    fn what_is_in_a_lookup_becomes_another_that_is_and_what_is_not_one_that_is_not() {
        let tier = || lookup(masked("tier", "plan"), &["g", "s"]);
        check(vec![tier()], "g", "s", None);
        check(vec![tier()], "gold", "aaaa", None);
        // What it would be made into is in the lookup.
        let small = lookup(masked("tier", "plan"), &["a", "g"]);
        check(vec![small], "x", "b", None);
        // A default is another fate than what is looked up.
        let policy = Policy::Default("none".into());
        check(vec![Field { on_miss: Some(policy), ..tier() }], "g", "s", None);
    }

    #[test]
    fn a_row_that_fails_elsewhere_fails_there_still() {
        let name = Field { required: true, ..Field::column("name", "name") };
        let fields = vec![lookup(masked("tier", "plan"), &["g", "s"]), name];
        assert_eq!(disguised(fields, vec![text("plan", "g")]), ("s".to_owned(), None));
    }

    #[test]
    fn what_no_made_up_value_does_is_said() {
        let one = lookup(masked("tier", "plan"), &["g"]);
        check(vec![one.clone()], "g", "a", Some("it is sent"));
        let defaults = Field { on_miss: Some(Policy::Null), ..one };
        check(vec![defaults], "g", "a", Some("another policy acts on tier"));
    }

    #[test]
    fn checks_are_passed_as_they_were() {
        let checked = |check| vec![Field { checks: vec![check], ..masked("plan", "plan") }];
        check(checked(Check::OneOf(vec!["free".into(), "paid".into()])), "free", "paid", None);
        check(checked(Check::Url), "http://a.co/x", "https://example.com/", None);
        check(checked(Check::Email), "ana@shop.co", "aaa@aaaa.aa", None);
    }
}
