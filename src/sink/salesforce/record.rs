//! Records as Salesforce reads them: JSON for the collections, CSV for jobs.

use std::collections::HashMap;

use serde_json::value::RawValue;

use crate::sink::keyed::{Record, text};
use crate::sink::row::{Field, Fields};

/// What clears a field in a job's CSV; an empty value leaves it as it is.
const CLEARS: &str = "#N/A";

/// A CSV that can't be made of the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// A value that means another one there.
    Value,
    /// A list.
    List,
}

/// A record: the field of its id and that id, unless it has none, and its other fields.
pub(super) type Row<'r, 'a> = (Option<(&'r str, &'a RawValue)>, &'r [Field<'a>]);

/// Writes `{"allOrNone":false,"records":[…]}`.
pub(super) fn collection(object: &str, records: &[Row<'_, '_>]) -> String {
    let mut out = String::from("{\"allOrNone\":false,\"records\":[");
    for (index, (id, fields)) in records.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str("{\"attributes\":{\"type\":");
        string(object, &mut out);
        out.push('}');
        if let Some((name, value)) = id {
            member(name, value.get(), &mut out);
        }
        for field in *fields {
            let raw = if is_empty_relation(field) { "null" } else { field.value.get() };
            member(&field.name, raw, &mut out);
        }
        out.push('}');
    }
    out.push_str("]}");
    out
}

/// Writes the records as CSV with a header; a field that a record does not have is left as it is.
pub(super) fn csv(external_id: &str, records: &[&Record<'_>]) -> Result<Vec<u8>, Unfit> {
    let mut columns: Vec<String> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    let mut rows = Vec::new();
    for record in records {
        let mut cells = Vec::new();
        for field in &record.fields {
            flatten("", &field.name, field.value, &mut cells)?;
        }
        let mut row: Vec<(usize, String)> = Vec::new();
        for (name, value) in cells {
            let next = columns.len();
            let column = *known.entry(name.clone()).or_insert(next);
            if column == next {
                columns.push(name);
            }
            row.push((column, value));
        }
        rows.push((record.id().into_owned(), row));
    }
    let mut out = csv::WriterBuilder::new().from_writer(Vec::new());
    let header = std::iter::once(external_id).chain(columns.iter().map(String::as_str));
    out.write_record(header).map_err(|_| Unfit::Value)?;
    for (id, row) in rows {
        let mut cells = vec![String::new(); columns.len()];
        for (column, value) in row {
            if let Some(cell) = cells.get_mut(column) {
                *cell = value;
            }
        }
        out.write_record(std::iter::once(id).chain(cells)).map_err(|_| Unfit::Value)?;
    }
    out.into_inner().map_err(|_| Unfit::Value)
}

/// Gives each value the name of its column: that of a relation's field has a dot.
fn flatten(
    prefix: &str,
    name: &str,
    value: &RawValue,
    out: &mut Vec<(String, String)>,
) -> Result<(), Unfit> {
    let name = format!("{prefix}{name}");
    match value.get().as_bytes().first() {
        Some(b'{') => {
            let Fields(fields) = serde_json::from_str(value.get()).map_err(|_| Unfit::Value)?;
            let prefix = format!("{name}.");
            fields.iter().try_for_each(|field| flatten(&prefix, &field.name, field.value, out))
        }
        Some(b'[') => Err(Unfit::List),
        Some(b'n') => {
            out.push((name, CLEARS.to_owned()));
            Ok(())
        }
        _ => {
            let text = text(value);
            if text == CLEARS {
                return Err(Unfit::Value);
            }
            // There is no empty text in Salesforce.
            let value = if text.is_empty() { CLEARS.to_owned() } else { text.into_owned() };
            out.push((name, value));
            Ok(())
        }
    }
}

/// Whether it is a relation to nothing: `{"Ext__c": null}`, which is no record.
fn is_empty_relation(field: &Field<'_>) -> bool {
    let raw = field.value.get();
    raw.starts_with('{')
        && serde_json::from_str::<Fields<'_>>(raw).is_ok_and(|Fields(fields)| {
            !fields.is_empty() && fields.iter().all(|field| field.value.get() == "null")
        })
}

fn member(name: &str, raw: &str, out: &mut String) {
    out.push(',');
    string(name, out);
    out.push(':');
    out.push_str(raw);
}

fn string(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).unwrap()
    }

    fn fields(text: &str) -> Vec<Field<'_>> {
        serde_json::from_str::<Fields<'_>>(text).unwrap().0
    }

    #[test]
    fn a_record_keeps_every_digit_and_null_clears() {
        let fields = fields(
            r#"{"Name":"A","Worth__c":12.50,"Note__c":null,"Owner__r":{"Ext__c":"7"},"Parent__r":{"Ext__c":null}}"#,
        );
        let written = collection("Account", &[(Some(("Ext__c", raw("42"))), &fields)]);
        assert_eq!(
            written,
            r#"{"allOrNone":false,"records":[{"attributes":{"type":"Account"},"Ext__c":42,"Name":"A","Worth__c":12.50,"Note__c":null,"Owner__r":{"Ext__c":"7"},"Parent__r":null}]}"#
        );
    }

    #[track_caller]
    fn check(rows: &[(&str, &str)], expected: Result<&str, Unfit>) {
        let records = rows.iter().map(|(id, row)| Record {
            scope: 0,
            id: raw(id),
            fields: fields(row),
            events: Vec::new(),
        });
        let records: Vec<_> = records.collect();
        let written = csv("Ext__c", &records.iter().collect::<Vec<_>>())
            .map(|text| String::from_utf8(text).unwrap());
        assert_eq!(written.as_deref(), expected.as_ref().copied());
    }

    #[test]
    fn a_jobs_rows_tell_clearing_from_leaving() {
        check(
            &[
                ("1", r#"{"Name":"a, \"b\"","Note__c":null,"Parent__r":{"Ext__c":"p"}}"#),
                ("\"2\"", r#"{"Name":"","Worth__c":1.50}"#),
            ],
            Ok("Ext__c,Name,Note__c,Parent__r.Ext__c,Worth__c\n\
                1,\"a, \"\"b\"\"\",#N/A,p,\n2,#N/A,,,1.50\n"),
        );
        check(&[("1", r##"{"Name":"#N/A"}"##)], Err(Unfit::Value));
        check(&[("1", r#"{"Tags":["a"]}"#)], Err(Unfit::List));
    }
}
