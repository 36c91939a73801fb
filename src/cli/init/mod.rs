//! `walgate init`: looks at the database and writes a config for it.

mod render;

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use self::render::{Plan, Role};
use super::failure::{Exit, Failure};
use super::{Global, output};
use crate::mapping::TablePattern;
use crate::source::catalog::{GENERATED_SINCE, Server, Table};
use crate::source::{Catalog, Error};

/// The names that the config has unless it says otherwise.
const PUBLICATION: &str = "walgate";

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate init --url \"$DATABASE_URL\" --tables public.customers,public.orders
  walgate init --url \"$ADMIN_URL\" --tables 'sales.*' --role walgate --apply")]
pub(super) struct Args {
    /// libpq URL or key=value string of the database
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    url: String,
    /// The tables to send, as SQL would quote them, globs allowed; all with a primary key unless
    /// given
    #[arg(long, value_name = "TABLES", value_delimiter = ',')]
    tables: Vec<String>,
    /// Also a role that may do what walgate needs and nothing else
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    /// Where to write the config; -c's file unless given
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Run the SQL, as the role of the URL, instead of printing it
    #[arg(long)]
    apply: bool,
}

pub(super) async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let path = args.output.as_ref().unwrap_or(&global.config);
    if path.exists() {
        return Err(exists(path));
    }
    let failed = |error: Error| Failure::of_stage(Exit::Preflight, &error);
    let mut catalog = Catalog::connect(&args.url).await.map_err(failed)?;
    let server = catalog.server().await.map_err(failed)?;
    let all = catalog.tables(None).await.map_err(failed)?;
    let partitions: Vec<Table> = all.iter().filter(|it| it.partition).cloned().collect();
    let tables = choose(&args.tables, all)?;
    let partitions = render::keyless(&tables, &partitions);
    writable(&tables, &partitions, &server)?;
    let publication = catalog.publication(PUBLICATION).await.map_err(failed)?;
    let published = catalog.publication_tables(PUBLICATION).await.map_err(failed)?;
    let role = match &args.role {
        Some(name) => Some(Role {
            name: name.clone(),
            password: match catalog.role_exists(name).await.map_err(failed)? {
                true => None,
                false => Some(password()?),
            },
        }),
        None => None,
    };
    let plan = Plan {
        server: &server,
        tables: &tables,
        partitions: &partitions,
        publication: PUBLICATION,
        exists: publication.is_some(),
        all_tables: publication.is_some_and(|publication| publication.all_tables),
        published: &published,
        role: role.as_ref(),
    };
    let statements = plan.statements();
    if args.apply && !statements.is_empty() {
        let sql: String = statements.iter().map(|statement| format!("{statement};\n")).collect();
        let applied = catalog.apply("set up the publication", &sql).await;
        applied.map_err(|error| Failure::of_stage(Exit::Failed, &error))?;
    }
    write_new(path, &plan.config())?;
    tell(args, path, &plan, &statements, &server)?;
    Ok(Exit::Done)
}

/// Returns the tables asked for, in the order of the catalog.
fn choose(wanted: &[String], all: Vec<Table>) -> Result<Vec<Table>, Failure> {
    if wanted.is_empty() {
        let fit = |table: &Table| {
            !table.primary_key.is_empty() && !table.partition && !table.unlogged && table.owned
        };
        let tables: Vec<Table> = all.into_iter().filter(fit).collect();
        if tables.is_empty() {
            let message = "no table with a primary key belongs to the role of the url";
            return Err(Failure::new(Exit::Usage, message).help("name some with --tables"));
        }
        return Ok(tables);
    }
    let mut patterns = Vec::new();
    for text in wanted {
        let pattern = TablePattern::parse(text)
            .map_err(|error| Failure::new(Exit::Usage, format!("--tables {text}: {error}")))?;
        if !all.iter().any(|table| pattern.matches_names(&table.namespace, &table.name)) {
            return Err(Failure::new(Exit::Usage, format!("there is no table {text}")));
        }
        patterns.push(pattern);
    }
    let fits = |table: &Table| {
        patterns.iter().any(|pattern| pattern.matches_names(&table.namespace, &table.name))
    };
    let chosen: Vec<Table> = all.into_iter().filter(fits).collect();
    match chosen.iter().find(|table| table.unlogged) {
        Some(table) => {
            let name = render::table_name(table);
            let message = format!("{name} is not in the log: no change of it can be seen");
            Err(Failure::new(Exit::Usage, message)
                .help(format!("leave it out, or ALTER TABLE {name} SET LOGGED")))
        }
        None => Ok(chosen),
    }
}

/// Refuses tables whose updates and deletes would fail once they are published.
///
/// From PostgreSQL 18 on a generated column counts for the identity of the whole row, and is not
/// sent.
fn writable(tables: &[Table], partitions: &[&Table], server: &Server) -> Result<(), Failure> {
    let is_stuck = |table: &&Table| {
        table.identity_columns().is_empty() && table.columns.iter().any(|it| it.generated)
    };
    if server.version_num < GENERATED_SINCE {
        return Ok(());
    }
    match tables.iter().chain(partitions.iter().copied()).find(is_stuck) {
        Some(table) => {
            let name = render::table_name(table);
            let message = format!(
                "{name} has no primary key and a generated column: UPDATE and DELETE on it would \
                 fail once it is published"
            );
            Err(Failure::new(Exit::Usage, message).help("give it a primary key, or leave it out"))
        }
        None => Ok(()),
    }
}

/// Makes a password that nobody guesses.
fn password() -> Result<String, Failure> {
    use ring::rand::SecureRandom;
    let mut bytes = [0; 24];
    ring::rand::SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Failure::new(Exit::Failed, "the system gives no random numbers"))?;
    use base64::Engine as _;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}

fn exists(path: &Path) -> Failure {
    let message = format!("{} is there already and stays as it is", path.display());
    Failure::new(Exit::Usage, message).help("write to another file with -o FILE, or remove it")
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => exists(path),
        _ => Failure::new(Exit::Failed, format!("cannot write {}: {error}", path.display())),
    })
}

/// The SQL is data, what to do next is a note.
fn tell(
    args: &Args,
    path: &Path,
    plan: &Plan<'_>,
    statements: &[String],
    server: &Server,
) -> Result<(), Failure> {
    if args.apply {
        output::note(&format!("statements done in the database: {}", statements.len()));
    } else if !statements.is_empty() {
        output::note("run this in the database, or say --apply:");
        for statement in statements {
            output::data(&format!("{statement};\n"))?;
        }
    }
    if server.wal_level != "logical" {
        output::note(&format!(
            "wal_level is \"{}\": run ALTER SYSTEM SET wal_level = logical, then restart PostgreSQL",
            server.wal_level
        ));
    }
    if let Some(Role { name, password: Some(password) }) = plan.role {
        output::note(&format!(
            "role \"{name}\" has the password {password}\nit is shown this once: put it into \
             DATABASE_URL"
        ));
    }
    output::note(&format!("{} is written; next:", path.display()));
    let option = if path == Path::new("walgate.toml") {
        String::new()
    } else {
        format!(" -c {}", path.display())
    };
    output::note(&format!(
        "  export DATABASE_URL=…\n  walgate check{option}\n  walgate run{option}"
    ));
    Ok(())
}
