//! `source.binary`: whether walgate knows the binary form of what is published.

use super::report::Report;
use crate::relation::quote_identifier;
use crate::source;
use crate::source::catalog::{Catalog, PublishedTable, Table};

/// Looks at every published table, routed or not: the stream brings the rows of all.
pub(super) async fn check(
    catalog: &mut Catalog,
    published: &[PublishedTable],
    all: &[Table],
    report: &mut Report,
) -> Result<(), source::Error> {
    for entry in published {
        let is_it = |table: &&Table| table.namespace == entry.namespace && table.name == entry.name;
        let Some(table) = all.iter().find(is_it) else { continue };
        let is_sent = |name: &String| entry.columns.as_ref().is_none_or(|list| list.contains(name));
        let columns: Vec<_> = table.columns.iter().filter(|it| is_sent(&it.name)).collect();
        let oids: Vec<_> = columns.iter().map(|column| column.type_oid).collect();
        let forms = catalog.forms(&oids).await?;
        let unknown = columns.iter().zip(&forms).filter_map(|(column, form)| {
            let name = form.unknown()?;
            Some(format!("column {} of type {name}", quote_identifier(&column.name)))
        });
        let unknown: Vec<String> = unknown.collect();
        let name =
            format!("{}.{}", quote_identifier(&table.namespace), quote_identifier(&table.name));
        let subject = format!("table {name}");
        if unknown.is_empty() {
            report.ok("source.binary", &subject, "every column can be read in binary form");
        } else {
            let seen = format!("can't be read in binary form: {}", unknown.join(", "));
            let fix = "set source.binary = false, or leave them out with a column list";
            report.fail("source.binary", &subject, seen, fix);
        }
    }
    Ok(())
}
