//! The row of `--row`: read, and held against the table before the server reads its values.

use std::collections::BTreeMap;
use std::io::Read;

use serde_json::value::RawValue;

use crate::cli::failure::{Exit, Failure};
use crate::config::suggestion;
use crate::relation::{Relation, quote_identifier};
use crate::source::catalog::Table;

/// A row is no larger than this; more is hardly one.
const ROW_BYTES_MAX: u64 = 64 << 20;

/// Returns the row's JSON: what was given, or stdin for `-`.
pub(super) fn text(given: &str) -> Result<String, Failure> {
    if given != "-" {
        return Ok(given.to_owned());
    }
    let mut text = String::new();
    let read = std::io::stdin().lock().take(ROW_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| Failure::new(Exit::Usage, format!("stdin can't be read: {error}")))?;
    Ok(text)
}

/// What the names in a row say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// Columns that the table has and the stream does not bring.
    pub(super) not_sent: Vec<String>,
    /// Columns of the replica identity that the row lacks.
    pub(super) key_missing: Vec<String>,
}

/// Refuses a row that is no object or names a column that the table lacks.
pub(super) fn check(json: &str, table: &Table, relation: &Relation) -> Result<Names, Failure> {
    let help = "write it as {\"column\": value, …}; a column that it does not name is NULL";
    let row: BTreeMap<String, &RawValue> = serde_json::from_str(json).map_err(|error| {
        Failure::new(Exit::Usage, format!("--row is no JSON object: {error}")).help(help)
    })?;
    let mut names = Names::default();
    for name in row.keys() {
        if relation.column(name).is_some() {
            continue;
        }
        if table.columns.iter().any(|column| column.name == *name) {
            names.not_sent.push(quote_identifier(name));
            continue;
        }
        let known = || table.columns.iter().map(|column| column.name.as_str());
        let cure = match suggestion(name, known()) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("it has {}", known().collect::<Vec<_>>().join(", ")),
        };
        let table = relation.quoted_name();
        let message = format!("--row: {table} has no column \"{name}\"; {cure}");
        return Err(Failure::new(Exit::Usage, message));
    }
    let missing = relation.primary_key.iter().filter_map(|i| relation.columns.get(usize::from(*i)));
    let missing = missing.filter(|column| !row.contains_key(&column.name));
    names.key_missing = missing.map(|column| quote_identifier(&column.name)).collect();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::Oid;
    use crate::relation::{Column, Kind, ReplicaIdentity};

    /// `t(id, email, total)`, of which `total` is not sent.
    fn table() -> (Table, Relation) {
        let column = |name: &str| {
            format!(
                r#"{{"name":"{name}","type_oid":25,"type_modifier":-1,
            "type":"text","not_null":false,"generated":{},"toastable":true}}"#,
                name == "total"
            )
        };
        let columns: Vec<String> = ["id", "email", "total"].into_iter().map(column).collect();
        let json = format!(
            r#"{{"oid":1,"namespace":"public","name":"t","partitioned":false,"partition":false,
            "unlogged":false,"root":null,"row_security":false,"toasted":false,"identity":"d","rows":0,"bytes":0,
            "may_use":true,"may_select":true,"owned":true,"columns":[{}],"primary_key":["id"],
            "identity_index":[]}}"#,
            columns.join(",")
        );
        let column = |name: &str| Column {
            name: name.to_owned(),
            type_oid: Oid(25),
            type_modifier: -1,
            in_identity: name == "id",
            kind: Kind::Text,
        };
        let relation = Relation {
            oid: Oid(1),
            namespace: "public".to_owned(),
            name: "t".to_owned(),
            identity: ReplicaIdentity::Default,
            columns: vec![column("id"), column("email")],
            primary_key: vec![0],
            formerly: None,
        };
        (serde_json::from_str(&json).unwrap(), relation)
    }

    #[track_caller]
    fn refused(json: &str, message: &str) {
        let (table, relation) = table();
        let failure = check(json, &table, &relation).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.contains(message), "{}", failure.message);
    }

    #[test]
    fn a_name_that_the_table_lacks_is_refused_with_the_one_that_was_meant() {
        refused(
            r#"{"id": 1, "emails": "a"}"#,
            "public.t has no column \"emails\"; did you mean \"email\"?",
        );
        refused(r#"{"zzz": 1}"#, "it has id, email, total");
        refused("7", "no JSON object");
        refused(r#"{"id": 1"#, "no JSON object");
    }

    #[test]
    fn what_is_not_sent_or_lacks_of_the_key_is_told() {
        let (table, relation) = table();
        let names = check(r#"{"email": null, "total": 3}"#, &table, &relation).unwrap();
        assert_eq!(names, Names { not_sent: vec!["total".into()], key_missing: vec!["id".into()] });
        assert_eq!(check(r#"{"id": 1}"#, &table, &relation).unwrap(), Names::default());
    }
}
