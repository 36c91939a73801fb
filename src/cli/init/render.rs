//! What `init` writes: SQL and a commented config. Pure.

use std::fmt::Write as _;

use crate::relation::{ReplicaIdentity, quote_identifier};
use crate::source::catalog::{
    PublishedTable, Server, Table, TableColumn, add_to_publication, create_publication,
    create_role, grant_database, grant_schema, grant_tables, quote,
};

/// A role to make or to give rights to.
#[derive(Debug)]
pub(super) struct Role {
    pub(super) name: String,
    /// None where the role is there already.
    pub(super) password: Option<String>,
}

/// What was found and what is wanted.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) server: &'a Server,
    pub(super) tables: &'a [Table],
    /// Those of their partitions that have no replica identity: each has its own.
    pub(super) partitions: &'a [&'a Table],
    pub(super) publication: &'a str,
    /// The publication is there.
    pub(super) exists: bool,
    pub(super) all_tables: bool,
    pub(super) published: &'a [PublishedTable],
    pub(super) role: Option<&'a Role>,
}

/// Returns a table's name as SQL would quote it.
pub(super) fn table_name(table: &Table) -> String {
    format!("{}.{}", quote_identifier(&table.namespace), quote_identifier(&table.name))
}

/// Returns the partitions of these tables that have no replica identity.
pub(super) fn keyless<'a>(tables: &[Table], partitions: &'a [Table]) -> Vec<&'a Table> {
    let is_theirs = |it: &&Table| tables.iter().any(|table| it.root == Some(table.oid));
    let is_keyless = |it: &&Table| !it.partitioned && it.identity_columns().is_empty();
    let is_chosen = |it: &&Table| tables.iter().any(|table| table.oid == it.oid);
    partitions.iter().filter(is_theirs).filter(is_keyless).filter(|it| !is_chosen(it)).collect()
}

impl Plan<'_> {
    /// Returns the SQL that is still to be run, a statement each, without its semicolon.
    pub(super) fn statements(&self) -> Vec<String> {
        let mut statements = Vec::new();
        let keyless = self.tables.iter().filter(|table| table.identity_columns().is_empty());
        for table in keyless.chain(self.partitions.iter().copied()) {
            // Without an identity, UPDATE and DELETE on a published table fail.
            let (namespace, name) = (quote(&table.namespace), quote(&table.name));
            statements.push(format!("ALTER TABLE {namespace}.{name} REPLICA IDENTITY FULL"));
        }
        let is_published = |table: &Table| {
            let same =
                |it: &PublishedTable| it.namespace == table.namespace && it.name == table.name;
            self.all_tables || self.published.iter().any(same)
        };
        let missing: Vec<(&str, &str)> =
            self.tables.iter().filter(|table| !is_published(table)).map(names).collect();
        match (self.exists, missing.is_empty()) {
            (_, true) => {}
            (true, false) => statements.push(add_to_publication(self.publication, &missing)),
            (false, false) => {
                let mut statement = create_publication(self.publication, &missing);
                if self.tables.iter().any(|table| table.partitioned) {
                    statement.push_str(" WITH (publish_via_partition_root = true)");
                }
                statements.push(statement);
            }
        }
        if let Some(role) = self.role {
            self.grants(role, &mut statements);
        }
        statements
    }

    fn grants(&self, role: &Role, statements: &mut Vec<String>) {
        if let Some(password) = &role.password {
            statements.push(create_role(&role.name, password));
        }
        statements.push(grant_database(&self.server.database, &role.name));
        let mut schemas: Vec<&str> = self.tables.iter().map(|t| t.namespace.as_str()).collect();
        schemas.sort_unstable();
        schemas.dedup();
        statements.extend(schemas.into_iter().map(|schema| grant_schema(schema, &role.name)));
        let tables: Vec<(&str, &str)> = self.tables.iter().map(names).collect();
        statements.push(grant_tables(&tables, &role.name));
    }

    /// Returns the config's text.
    pub(super) fn config(&self) -> String {
        let mut out = String::new();
        out.push_str(&HEAD.replace("PUBLICATION", &toml_string(self.publication)));
        let mut taken = Vec::new();
        for table in self.tables {
            let name = unused_name(table, &taken);
            self.table(table, &name, &mut out);
            taken.push(name);
        }
        out
    }

    fn table(&self, table: &Table, name: &str, out: &mut String) {
        let sql_name = table_name(table);
        let key = name_of_key(name);
        // None where it was never analyzed, or is empty.
        let rows = match table.rows {
            ..=0 => String::new(),
            rows => format!(": about {rows} rows"),
        };
        // Writing to a String can't fail.
        let _ = write!(
            out,
            "\n# {sql_name}{rows}\n[mapping.{key}]\nversion = 1                        \
             # raise it when the fields change\n\n[mapping.{key}.fields]\n"
        );
        for column in &table.columns {
            self.field(table, column, out);
        }
        let _ = write!(
            out,
            "\n[[route]]\nname = {}\ntable = {}\nmapping = {}\nsink = \"endpoint\"\nstart = \"load\" \
             \x20                  # with the rows that are there; \"now\": only what changes from now on\n",
            toml_string(name),
            toml_string(&sql_name),
            toml_string(name),
        );
        if table.primary_key.is_empty() {
            let why = match table.identity {
                ReplicaIdentity::Full | ReplicaIdentity::Nothing | ReplicaIdentity::Default => {
                    "# no primary key: the whole row is the key; `key = [\"…\"]` names columns \
                     that identify it\n"
                }
                ReplicaIdentity::Index => "# no primary key: the replica identity is the key\n",
            };
            out.push_str(why);
        }
    }

    fn field(&self, table: &Table, column: &TableColumn, out: &mut String) {
        let same = |it: &&PublishedTable| it.namespace == table.namespace && it.name == table.name;
        let entry = self.published.iter().find(same);
        // The publication that is made here sends none.
        let is_sent = entry.is_some_and(|it| it.sends(column, self.server.version_num));
        let hidden = column.generated && !is_sent;
        let mut notes = column.type_name.clone();
        if table.primary_key.contains(&column.name) {
            notes.push_str(", key");
        }
        if hidden {
            notes.push_str(", generated: not sent");
        }
        let target = column.name.replace('.', "_");
        let line = format!(
            "{}{} = {{ column = {} }}",
            if hidden { "# " } else { "" },
            name_of_key(&target),
            toml_string(&quote_identifier(&column.name)),
        );
        let _ = writeln!(out, "{line:<34} # {}", notes.replace(['\n', '\r'], " "));
    }
}

const HEAD: &str = r#"# walgate: the changes of a PostgreSQL database, delivered.
# Every key: docs/config.md, or `walgate schema`. After a change: `walgate check`.

[source]
url = "${DATABASE_URL}"            # libpq URL or key=value string
publication = PUBLICATION            # which tables Postgres streams
slot = "walgate"                   # made on first start; keeps WAL until walgate has it

[state]
path = "walgate-state"             # checkpoints, journal, dead letters: keep it, on a local disk

[journal]
retain = "7d"                      # how long originals are kept
max_size = "10GiB"                 # and how much

[sink.endpoint]
concurrency = 4                    # requests in flight; order holds per key
# batch = { max_events = 100 }     # more than one: the body is an array of events
# rate_limit = { requests = "50/s" }

[sink.endpoint.http]
url = "${ENDPOINT_URL:-http://127.0.0.1:8000/}"
# headers = { authorization = "Bearer ${ENDPOINT_TOKEN}" }
# Instead of [sink.endpoint.http], to look first: [sink.endpoint.stdout]
"#;

fn names(table: &Table) -> (&str, &str) {
    (&table.namespace, &table.name)
}

/// Returns a name for the table's mapping and route that no other has.
fn unused_name(table: &Table, taken: &[String]) -> String {
    let plain = |text: &str| -> String {
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        text.chars().map(|c| if fine(c) { c } else { '-' }).take(50).collect()
    };
    let short = plain(&table.name);
    let long = format!("{}-{short}", plain(&table.namespace).chars().take(10).collect::<String>());
    let free = |name: &String| !taken.contains(name);
    if free(&short) {
        return short;
    }
    if free(&long) {
        return long;
    }
    let numbered = (2_u32..).map(|number| format!("{long}{number}"));
    numbered.take(taken.len() + 1).find(free).unwrap_or(long)
}

/// Writes a key bare where TOML allows it.
fn name_of_key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { toml_string(name) }
}

/// Writes a TOML string; a `${` in it stays what it is.
fn toml_string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.replace("${", "$${").chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
