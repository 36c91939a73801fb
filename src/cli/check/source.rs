//! The source: server, rights, publication, slot.

use super::binary;
use super::report::Report;
use super::tables;
use crate::chunk::Operation;
use crate::cli::output::bytes;
use crate::config::Config;
use crate::failure::Classify;
use crate::failure::chain;
use crate::lsn::Lsn;
use crate::mapping::{Selector, TablePattern};
use crate::relation::quote_identifier;
use crate::source::catalog::{Publication, Server};
use crate::source::{self, Catalog, Error};
use crate::state::{State, meta};

/// The oldest server that walgate reads.
const VERSION_MIN: u32 = 140_000;

/// From here on a standby can decode.
const STANDBY_DECODES: u32 = 160_000;

pub(super) async fn check(config: &Config, report: &mut Report) {
    let mut catalog = match Catalog::connect(config.source.url.expose()).await {
        Ok(catalog) => catalog,
        Err(error) => return broken("source.reachable", "source", &error, report),
    };
    if let Err(error) = all(config, &mut catalog, report).await {
        broken("source.reachable", "source", &error, report);
    }
}

fn broken(id: &'static str, subject: &str, error: &Error, report: &mut Report) {
    report.fail(id, subject, chain(error), &error.help().unwrap_or_default());
}

async fn all(config: &Config, catalog: &mut Catalog, report: &mut Report) -> Result<(), Error> {
    let server = catalog.server().await?;
    let seen = format!(
        "PostgreSQL {} at {}, database {}, role {}",
        server.version,
        catalog.host(),
        quote_identifier(&server.database),
        quote_identifier(&server.role)
    );
    report.ok("source.reachable", "source", seen);
    check_server(&server, report);
    match source::probe(&config.source.settings()).await {
        Ok(identity) => {
            let seen = format!("a replication connection opens (system {})", identity.system_id);
            report.ok("source.replication", "source", seen);
        }
        Err(error) => {
            let role = quote_identifier(&server.role);
            let fix = error.help().unwrap_or_else(|| {
                format!("ALTER ROLE {role} REPLICATION; and a line for it in pg_hba.conf")
            });
            report.fail("source.replication", "source", chain(&error), &fix);
        }
    }
    check_slot(config, &server, catalog, report).await?;
    let name = &config.source.publication;
    match catalog.publication(name).await? {
        None => {
            let fix = create_publication(config, name);
            let subject = format!("publication {}", quote_identifier(name));
            report.fail("publication.exists", &subject, "does not exist", &fix);
        }
        Some(publication) => {
            check_operations(config, &publication, report);
            let published = catalog.publication_tables(name).await?;
            let all = catalog.tables(None).await?;
            tables::check(config, &server, &publication, &published, &all, report);
            if config.source.binary {
                binary::check(catalog, &published, &all, report).await?;
            }
        }
    }
    Ok(())
}

/// Returns the statement for the routed tables that are named in full.
fn create_publication(config: &Config, name: &str) -> String {
    let patterns = config.routes.iter().filter_map(|route| match &route.selector {
        Selector::Table(pattern) => TablePattern::literal(pattern),
        Selector::Message(_) => None,
    });
    let mut tables: Vec<(&str, &str)> = patterns.collect();
    tables.sort_unstable();
    tables.dedup();
    if tables.is_empty() {
        return format!("CREATE PUBLICATION {} FOR TABLE …;", quote_identifier(name));
    }
    format!("{};", source::catalog::create_publication(name, &tables))
}

fn check_server(server: &Server, report: &mut Report) {
    if server.version_num < VERSION_MIN {
        let seen = format!("PostgreSQL {}; 14 is the oldest that walgate reads", server.version);
        report.fail("source.version", "source", seen, "upgrade the server");
    }
    match server.wal_level.as_str() {
        "logical" => report.ok("source.wal_level", "source", "wal_level is logical"),
        other => {
            let fix = "ALTER SYSTEM SET wal_level = logical; then restart PostgreSQL";
            report.fail("source.wal_level", "source", format!("wal_level is {other}"), fix);
        }
    }
    if server.in_recovery && server.version_num < STANDBY_DECODES {
        let seen = "a standby, which decodes from PostgreSQL 16 on";
        report.fail("source.standby", "source", seen, "use the primary's address in source.url");
    }
    if server.used_wal_senders >= server.max_wal_senders {
        let seen = format!("all {} of max_wal_senders are taken", server.max_wal_senders);
        let fix = "raise max_wal_senders and restart PostgreSQL, or end another replication";
        report.warn("source.wal_senders", "source", seen, fix);
    }
}

async fn check_slot(
    config: &Config,
    server: &Server,
    catalog: &mut Catalog,
    report: &mut Report,
) -> Result<(), Error> {
    let name = &config.source.slot;
    let subject = format!("slot {name}");
    let known = known(config);
    let Some(slot) = catalog.slot(name).await? else {
        if known {
            let fix = "run with --accept-gap to go on behind the gap, then load the tables again";
            report.fail("slot.exists", &subject, "gone, and the state goes on from it", fix);
        } else if server.used_replication_slots >= server.max_replication_slots {
            let seen = format!(
                "cannot be made: all {} of max_replication_slots are taken",
                server.max_replication_slots
            );
            let fix = "raise max_replication_slots and restart PostgreSQL, or drop an unused slot";
            report.fail("slot.exists", &subject, seen, fix);
        } else {
            report.ok("slot.exists", &subject, "not there yet; the first `run` makes it");
        }
        return Ok(());
    };
    if let Some((what, seen)) = slot.foreign(&server.database) {
        let seen = format!("serves something else: its {what} is {seen}");
        report.fail("slot.exists", &subject, seen, "choose another name for source.slot");
        return Ok(());
    }
    if let Some(reason) = slot.lost() {
        let fix = format!(
            "`walgate slot drop`, then run with --accept-gap, then load the tables again; \
             max_slot_wal_keep_size is {}",
            server.max_slot_wal_keep_size
        );
        report.fail("slot.wal", &subject, format!("lost ({reason})"), &fix);
        return Ok(());
    }
    if !known && !slot.is_active() {
        let seen = format!(
            "exists (confirmed {}), and the state folder knows nothing of it",
            slot.confirmed().unwrap_or(Lsn::ZERO)
        );
        let fix = "take it with `walgate run --adopt-slot`, or drop it with `walgate slot drop`";
        report.fail("slot.exists", &subject, seen, fix);
    } else if slot.is_active() && !State::is_in_use(&config.state) {
        let pid = slot.active_pid().map_or_else(String::new, |pid| format!(" by process {pid}"));
        let fix = "stop what holds it, or wait for it with `walgate run --standby`";
        report.warn("slot.exists", &subject, format!("in use{pid}"), fix);
    } else {
        report.ok("slot.exists", &subject, "ours");
    }
    let wal = catalog.slot_wal(name).await?.and_then(|wal| wal.retained);
    let retained = bytes(wal.and_then(|wal| u64::try_from(wal).ok()).unwrap_or(0));
    let status = slot.wal_status().unwrap_or("unknown");
    let seen = format!("{status}, {retained} of WAL kept for it");
    if status == "unreserved" {
        let fix = format!(
            "let walgate catch up now, or raise max_slot_wal_keep_size ({})",
            server.max_slot_wal_keep_size
        );
        report.warn("slot.wal", &subject, seen, &fix);
    } else {
        report.ok("slot.wal", &subject, seen);
    }
    Ok(())
}

/// Whether the state has positions of its own.
fn known(config: &Config) -> bool {
    let reader = State::open_reader(&config.state).ok();
    let meta = reader.and_then(|reader| reader.read(meta::load).ok());
    meta.is_some_and(|meta| meta.identity.is_some())
}

/// Operations that a route asks for and the publication leaves out never arrive.
fn check_operations(config: &Config, publication: &Publication, report: &mut Report) {
    let subject = format!("publication {}", quote_identifier(&publication.name));
    let routed = |operation| {
        let mut routes = config.routes.iter();
        routes.any(|r| matches!(r.selector, Selector::Table(_)) && r.on.contains(operation))
    };
    let operations = [
        (Operation::Insert, publication.insert),
        (Operation::Update, publication.update),
        (Operation::Delete, publication.delete),
        (Operation::Truncate, publication.truncate),
    ];
    let missing: Vec<&str> = operations
        .iter()
        .filter(|(operation, published)| !published && routed(*operation))
        .map(|(operation, _)| operation.as_str())
        .collect();
    if missing.is_empty() {
        report.ok("publication.operations", &subject, "publishes what the routes take");
        return;
    }
    let wanted: Vec<&str> = operations
        .iter()
        .filter(|(operation, published)| *published || routed(*operation))
        .map(|(operation, _)| operation.as_str())
        .collect();
    let fix = format!(
        "ALTER PUBLICATION {} SET (publish = '{}'); or leave {} out of `on`",
        quote_identifier(&publication.name),
        wanted.join(", "),
        missing.join(", ")
    );
    let seen = format!("does not publish {}, which a route takes", missing.join(", "));
    report.fail("publication.operations", &subject, seen, &fix);
}
