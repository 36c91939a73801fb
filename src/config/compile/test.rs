//! `[[mapping.NAME.test]]`

use std::collections::BTreeMap;

use crate::chunk::Operation;
use crate::config::problem::Notes;
use crate::config::tree::{Entry, Table, Value};
use crate::config::walk::{one_of, suggestion};
use crate::mapping::{Case, Expected, TablePattern};
use crate::relation::{Kind, TableName};

/// The types that a test may name.
static TYPES: [(&str, Kind); 17] = [
    ("smallint", Kind::Integer),
    ("integer", Kind::Integer),
    ("bigint", Kind::Integer),
    ("oid", Kind::Integer),
    ("numeric", Kind::Numeric),
    ("real", Kind::Float),
    ("double precision", Kind::Float),
    ("boolean", Kind::Boolean),
    ("date", Kind::Date),
    ("timestamp", Kind::Timestamp),
    ("timestamptz", Kind::TimestampTz),
    ("json", Kind::Json),
    ("jsonb", Kind::Json),
    ("bytea", Kind::Bytea),
    ("hstore", Kind::Hstore),
    ("uuid", Kind::Text),
    ("text", Kind::Text),
];

/// Returns the tests of all mappings, in the order of the file.
pub(super) fn all(tree: &Table, notes: &mut Notes<'_>) -> Option<Vec<Case>> {
    let mut all = Some(Vec::new());
    for entry in tree.named("mapping") {
        let Some(mapping) = entry.table() else { continue };
        let mut names: Vec<&str> = Vec::new();
        for test in mapping.list("test").iter().filter_map(Entry::table) {
            if let Some(name) = test.text("name") {
                if names.contains(&name) {
                    let message = format!("there are two tests \"{name}\"; give one another name");
                    notes.problem(&test.span("name"), message);
                }
                names.push(name);
            }
            match (case(&entry.name, test, notes), &mut all) {
                (Some(case), Some(cases)) => cases.push(case),
                _ => all = None,
            }
        }
    }
    all
}

fn case(mapping: &str, test: &Table, notes: &mut Notes<'_>) -> Option<Case> {
    let operation = operation(test);
    images(test, operation, notes);
    columns_once(test, notes);
    let kinds = types(test, notes);
    let expected = expected(test, notes);
    Some(Case {
        mapping: mapping.to_owned(),
        name: test.text("name")?.to_owned(),
        operation,
        table: table(test, notes),
        row: test.cells("row"),
        before: test.given("before").then(|| test.cells("before")),
        is_full: test.text("identity") == Some("full"),
        unchanged: names(test, "unchanged"),
        missing: names(test, "missing"),
        kinds,
        expected: expected?,
    })
}

fn operation(test: &Table) -> Operation {
    match test.text("op") {
        Some("insert") => Operation::Insert,
        Some("update") => Operation::Update,
        Some("delete") => Operation::Delete,
        Some("read") => Operation::Read,
        _ if test.given("before") && !test.given("row") => Operation::Delete,
        _ if test.given("before") || test.given("unchanged") => Operation::Update,
        _ => Operation::Insert,
    }
}

/// Notes which halves of a change the operation does not have.
fn images(test: &Table, operation: Operation, notes: &mut Notes<'_>) {
    let op = operation.as_str();
    match operation {
        Operation::Delete => {
            if test.given("row") {
                let message = "a delete has no new row; name its columns in \"before\"";
                notes.problem(&test.span("row"), message);
            }
            if !test.given("before") && !test.refused {
                let message = "a delete needs \"before\": the old row as Postgres sends it, its \
                               key at least";
                notes.problem(&test.place, message);
            }
            if test.given("unchanged") {
                let message =
                    "of a delete what \"before\" does not name was not sent; leave it out";
                notes.problem(&test.span("unchanged"), message);
            }
        }
        Operation::Update => {}
        _ => {
            for key in ["before", "unchanged"].into_iter().filter(|key| test.given(key)) {
                let message =
                    format!("of an {op} there is no \"{key}\"; leave it out, or op = \"update\"");
                notes.problem(&test.span(key), message.replace("an read", "a read"));
            }
        }
    }
    if test.given("identity") && !test.given("before") {
        let message = "\"identity\" says what \"before\" leaves out, and there is none; drop it";
        notes.problem(&test.span("identity"), message);
    }
}

/// Notes columns that are in two states at once.
fn columns_once(test: &Table, notes: &mut Notes<'_>) {
    let is_in_row = |name: &str| test.named("row").iter().any(|entry| entry.name == name);
    let is_before = |name: &str| test.named("before").iter().any(|entry| entry.name == name);
    let unchanged = names(test, "unchanged");
    for (key, entry) in ["unchanged", "missing"]
        .into_iter()
        .flat_map(|key| test.list(key).iter().map(move |entry| (key, entry)))
    {
        let Some(name) = entry.text() else { continue };
        let other = if is_in_row(name) {
            "row"
        } else if key == "missing" && is_before(name) {
            "before"
        } else if key == "missing" && unchanged.iter().any(|other| other == name) {
            "unchanged"
        } else {
            continue;
        };
        let message =
            format!("column \"{name}\" stands in \"{other}\" and in \"{key}\"; drop one of them");
        notes.problem(&entry.span, message);
    }
}

fn types(test: &Table, notes: &mut Notes<'_>) -> BTreeMap<String, Kind> {
    let words = || TYPES.iter().map(|(word, _)| *word);
    let mut kinds = BTreeMap::new();
    for entry in test.named("types") {
        let word = match &entry.value {
            Value::Any(serde_json::Value::String(word)) => word.as_str(),
            _ => "",
        };
        match TYPES.iter().find(|(known, _)| *known == word) {
            Some((_, kind)) => {
                kinds.insert(entry.name.clone(), kind.clone());
            }
            None => {
                let cure = match suggestion(word, words()) {
                    Some(meant) => format!("did you mean \"{meant}\"?"),
                    None => format!("it must be {}", one_of(&words().collect::<Vec<_>>())),
                };
                let message =
                    format!("the type of \"{}\" is none of those known; {cure}", entry.name);
                notes.problem(&entry.span, message);
            }
        }
    }
    kinds
}

fn table(test: &Table, notes: &mut Notes<'_>) -> Option<TableName> {
    let text = test.text("table")?;
    let read = TablePattern::parse(text).map_err(|error| error.to_string());
    let read = read.and_then(|pattern| match pattern.literal() {
        Some((namespace, name)) => {
            Ok(TableName { namespace: namespace.to_owned(), name: name.to_owned() })
        }
        None => Err("a test is of one table; leave the glob out".to_owned()),
    });
    read.map_err(|message| notes.problem(&test.span("table"), message)).ok()
}

/// Reads what should become of the row: it is sent, rejected or skipped.
fn expected(test: &Table, notes: &mut Notes<'_>) -> Option<Expected> {
    const SENT: [&str; 4] = ["expect", "null", "absent", "exact"];
    let mut given: Vec<&str> = SENT.into_iter().filter(|key| test.given(key)).take(1).collect();
    given.extend(["reject", "skip"].into_iter().filter(|key| test.given(key)));
    match given.as_slice() {
        [] if test.refused => return None,
        [] => {
            let message = "a test expects something; add expect = { … }, reject = \"FIELD\" or \
                           skip = true";
            notes.problem(&test.place, message);
            return None;
        }
        [_] => {}
        [first, others @ ..] => {
            for other in others {
                let message = format!(
                    "\"{other}\" and \"{first}\" contradict each other: a row is sent, rejected \
                     or skipped; drop one of them"
                );
                notes.problem(&test.span(other), message);
            }
            return None;
        }
    }
    if let Some(reject) = test.entry("reject") {
        let table = reject.table();
        let field = table.map_or_else(|| reject.text(), |table| table.text("field"))?;
        let reason = table.and_then(|table| table.text("reason")).map(str::to_owned);
        return Some(Expected::Rejected { field: field.to_owned(), reason });
    }
    if let Some(skip) = test.entry("skip") {
        if test.boolean("skip") == Some(false) {
            notes.problem(&skip.span, "\"skip\" is true or a field's name; leave it out");
            return None;
        }
        return Some(Expected::Skipped { field: skip.text().map(str::to_owned) });
    }
    fields_once(test, notes);
    let is_exact = test.boolean("exact") == Some(true);
    if is_exact && !test.given("expect") && !test.given("null") {
        notes.problem(&test.span("exact"), "\"exact\" needs \"expect\"; add expect = { … }");
    }
    Some(Expected::Sent {
        fields: test.cells("expect"),
        null: names(test, "null"),
        absent: names(test, "absent"),
        is_exact,
    })
}

/// Notes fields of which two things are expected.
fn fields_once(test: &Table, notes: &mut Notes<'_>) {
    let mut seen: BTreeMap<&str, &str> =
        test.named("expect").iter().map(|entry| (entry.name.as_str(), "expect")).collect();
    for key in ["null", "absent"] {
        for entry in test.list(key) {
            let Some(name) = entry.text() else { continue };
            if let Some(other) = seen.insert(name, key).filter(|other| *other != key) {
                let message = format!(
                    "field \"{name}\" stands in \"{other}\" and in \"{key}\"; drop one of them"
                );
                notes.problem(&entry.span, message);
            }
        }
    }
}

fn names(test: &Table, key: &str) -> Vec<String> {
    test.list(key).iter().filter_map(|entry| entry.text().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{self, Environment};

    const BEFORE: &str = "[source]\nurl = \"postgres://h/d\"\n[sink.s]\n[sink.s.stdout]\n[[route]]\n\
                          name = \"r\"\ntable = \"public.t\"\nmapping = \"m\"\nsink = \"s\"\n\
                          [mapping.m]\nversion = 1\n[mapping.m.fields]\nid = { column = \"id\" }\n\
                          [[mapping.m.test]]\n";

    /// The problems of a test, each as `line:column: message` with lines from the test's first.
    #[track_caller]
    fn check(test: &str, problems: &[&str]) {
        let text = format!("{BEFORE}{test}\n");
        let environment = Environment { variable: &|_| None, folder: Path::new(".") };
        let first = BEFORE.lines().count();
        let found: Vec<String> = match config::parse("f", &text, &environment) {
            Ok(_) => Vec::new(),
            Err(problems) => problems
                .0
                .iter()
                .map(|p| format!("{}:{}: {}", p.line - first, p.column, p.message))
                .collect(),
        };
        assert_eq!(found, problems);
    }

    #[test]
    fn a_test_may_say_whatever_a_change_can_be() {
        check("name = 'a'\nrow = { id = 1 }\nexpect = { id = 1 }", &[]);
        check("name = 'a'\nop = 'delete'\nbefore = { id = 1 }\nskip = true", &[]);
        check(
            "name = 'a'\nrow = { id = 1 }\nbefore = { id = 2 }\nidentity = 'full'\n\
             unchanged = ['bio']\nmissing = ['x']\ntypes = { bio = 'jsonb' }\n\
             table = 'sales.\"T\"'\nnull = ['a']\nabsent = ['bio']\nexact = true",
            &[],
        );
        check("name = 'a'\nreject = { field = 'id', reason = 'NULL' }", &[]);
        check("name = 'a'\nskip = 'id'", &[]);
    }

    #[test]
    fn what_contradicts_itself_is_told_at_its_place_with_the_cure() {
        check(
            "name = 'a'\nrow = { id = 1 }",
            &[
                "0:1: a test expects something; add expect = { … }, reject = \"FIELD\" or skip = true",
            ],
        );
        check(
            "name = 'a'\nexpect = { id = 1 }\nreject = 'id'",
            &["3:10: \"reject\" and \"expect\" contradict each other: a row is sent, rejected or \
                 skipped; drop one of them"],
        );
        check(
            "name = 'a'\nop = 'update'\nrow = { id = 1 }\nunchanged = ['bio', 'id']\n\
             missing = ['bio']\nexpect = { id = 1 }\nabsent = ['id']",
            &[
                "4:21: column \"id\" stands in \"row\" and in \"unchanged\"; drop one of them",
                "5:12: column \"bio\" stands in \"unchanged\" and in \"missing\"; drop one of them",
                "7:11: field \"id\" stands in \"expect\" and in \"absent\"; drop one of them",
            ],
        );
        check(
            "name = 'a'\nop = 'delete'\nrow = { id = 1 }\nexact = true",
            &[
                "0:1: a delete needs \"before\": the old row as Postgres sends it, its key at least",
                "3:7: a delete has no new row; name its columns in \"before\"",
                "4:9: \"exact\" needs \"expect\"; add expect = { … }",
            ],
        );
        check(
            "name = 'a'\nop = 'read'\nunchanged = ['id']\nidentity = 'full'\nskip = false",
            &[
                "3:13: of a read there is no \"unchanged\"; leave it out, or op = \"update\"",
                "4:12: \"identity\" says what \"before\" leaves out, and there is none; drop it",
                "5:8: \"skip\" is true or a field's name; leave it out",
            ],
        );
        check(
            "name = 'a'\nrows = 1\ntypes = { a = 'numerics' }\ntable = 'public.*'\nskip = true",
            &[
                "2:1: unknown key \"rows\"; did you mean \"row\"?",
                "3:15: the type of \"a\" is none of those known; did you mean \"numeric\"?",
                "4:9: a test is of one table; leave the glob out",
            ],
        );
        check(
            "name = 'a'\nskip = true\n[[mapping.m.test]]\nname = 'a'\nskip = true",
            &["4:8: there are two tests \"a\"; give one another name"],
        );
    }
}
