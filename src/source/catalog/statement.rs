//! Statements that `init` prints or runs, from the files in `sql/source/`.

/// Quotes an identifier for SQL, always.
#[must_use]
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a text for SQL, whatever `standard_conforming_strings` says.
#[must_use]
pub fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut rest = template.trim_end();
    while let Some((before, after)) = rest.split_once(':') {
        out.push_str(before);
        match values.iter().find_map(|(name, value)| Some((value, after.strip_prefix(name)?))) {
            Some((value, after)) => {
                out.push_str(value);
                rest = after;
            }
            None => {
                out.push(':');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

fn list(tables: &[(&str, &str)]) -> String {
    let quoted = |(namespace, name): &(&str, &str)| format!("{}.{}", quote(namespace), quote(name));
    tables.iter().map(quoted).collect::<Vec<_>>().join(", ")
}

/// Returns `CREATE PUBLICATION` for tables given as (schema, name).
#[must_use]
pub fn create_publication(publication: &str, tables: &[(&str, &str)]) -> String {
    let template = include_str!("../../../sql/source/create_publication.sql");
    fill(template, &[("publication", &quote(publication)), ("tables", &list(tables))])
}

/// Returns `ALTER PUBLICATION … ADD TABLE`.
#[must_use]
pub fn add_to_publication(publication: &str, tables: &[(&str, &str)]) -> String {
    let template = include_str!("../../../sql/source/add_to_publication.sql");
    fill(template, &[("publication", &quote(publication)), ("tables", &list(tables))])
}

/// Returns `CREATE ROLE` with the right to replicate and nothing else.
#[must_use]
pub fn create_role(role: &str, password: &str) -> String {
    let template = include_str!("../../../sql/source/create_role.sql");
    fill(template, &[("role", &quote(role)), ("password", &quote_literal(password))])
}

/// Returns `GRANT CONNECT`.
#[must_use]
pub fn grant_database(database: &str, role: &str) -> String {
    let template = include_str!("../../../sql/source/grant_database.sql");
    fill(template, &[("database", &quote(database)), ("role", &quote(role))])
}

/// Returns `GRANT USAGE ON SCHEMA`.
#[must_use]
pub fn grant_schema(schema: &str, role: &str) -> String {
    let template = include_str!("../../../sql/source/grant_schema.sql");
    fill(template, &[("schema", &quote(schema)), ("role", &quote(role))])
}

/// Returns `GRANT SELECT` on tables given as (schema, name).
#[must_use]
pub fn grant_tables(tables: &[(&str, &str)], role: &str) -> String {
    let template = include_str!("../../../sql/source/grant_tables.sql");
    fill(template, &[("tables", &list(tables)), ("role", &quote(role))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_their_quotes() {
        let tables = [("public", "a\"b"), ("Sales", ":role")];
        assert_eq!(
            create_publication("p", &tables),
            "CREATE PUBLICATION \"p\" FOR TABLE \"public\".\"a\"\"b\", \"Sales\".\":role\""
        );
        assert_eq!(
            grant_tables(&tables, "r"),
            "GRANT SELECT ON \"public\".\"a\"\"b\", \"Sales\".\":role\" TO \"r\""
        );
        assert_eq!(quote_literal("a'b\\c"), "E'a''b\\\\c'");
    }
}
