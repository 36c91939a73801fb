//! The source: server, rights, publication, slot.

use super::binary;
use super::report::Report;
use super::{mappings, resume, server, tables};
use crate::chunk::Operation;
use crate::config::Config;
use crate::failure::Classify;
use crate::failure::chain;
use crate::inspect::words::bytes;
use crate::lsn::{Lsn, Timestamp};
use crate::mapping::{Selector, TablePattern};
use crate::relation::quote_identifier;
use crate::source::catalog::{Publication, Server, SlotRow, SlotWal, Table};
use crate::source::{self, Catalog, Error};
use crate::state::{State, intent, meta};

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

pub(super) fn broken(id: &'static str, subject: &str, error: &Error, report: &mut Report) {
    report.fail(id, subject, chain(error), &error.help().unwrap_or_default());
}

async fn all(config: &Config, catalog: &mut Catalog, report: &mut Report) -> Result<(), Error> {
    let asked = Timestamp::now();
    let server = catalog.server().await?;
    let answered = Timestamp::now();
    let seen = format!(
        "PostgreSQL {} at {}, database {}, role {}",
        server.version,
        catalog.host(),
        quote_identifier(&server.database),
        quote_identifier(&server.role)
    );
    report.ok("source.reachable", "source", seen);
    check_server(&server, report);
    server::check(&server, report);
    server::clock(&server, asked, answered, report);
    let probed = source::probe(&config.source.settings()).await;
    match &probed {
        Ok(probed) => {
            let system = &probed.identity.system_id;
            let seen = format!("a replication connection opens (system {system})");
            report.ok("source.replication", "source", seen);
            resume::check(config, catalog, probed, report).await?;
        }
        Err(error) => {
            let fix = replication_fix(error, &server);
            report.fail("source.replication", "source", chain(error), &fix);
        }
    }
    let identity = probed.ok().map(|probed| probed.identity);
    check_slot(config, &server, identity.as_ref(), catalog, report).await?;
    let name = &config.source.publication;
    match catalog.publication(name).await? {
        None => {
            let all = catalog.tables(None).await?;
            let fix = create_publication(config, name, &all);
            let subject = format!("publication {}", quote_identifier(name));
            report.fail("publication.exists", &subject, "does not exist", &fix);
            tables::may_create(config, &server, &all, &fix, report);
        }
        Some(publication) => {
            check_operations(config, &publication, report);
            let published = catalog.publication_tables(name).await?;
            let all = catalog.tables(None).await?;
            let others = catalog.not_tables().await?;
            let there = (all.as_slice(), others.as_slice());
            tables::check(config, &server, &publication, &published, there, report);
            mappings::check(config, catalog, &server, &publication, &published, &all, report)
                .await?;
            if config.source.binary {
                binary::check(catalog, &published, &all, report).await?;
            }
        }
    }
    Ok(())
}

/// Returns what lets a replication connection in where an ordinary one of the role is let in.
fn replication_fix(error: &Error, server: &Server) -> String {
    let role = quote_identifier(&server.role);
    match error {
        Error::Rights { .. } => {
            format!(
                "ALTER ROLE {role} REPLICATION; (at a managed service: GRANT its role for that)"
            )
        }
        _ => error.help().unwrap_or_else(|| format!("a line for role {role} in pg_hba.conf")),
    }
}

/// Returns what publishes the routed tables that are named in full, and breaks no write to them.
fn create_publication(config: &Config, name: &str, all: &[Table]) -> String {
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
    let is_meant = |it: &&Table| tables.contains(&(it.namespace.as_str(), it.name.as_str()));
    let there: Vec<&Table> = all.iter().filter(is_meant).collect();
    let via_root = if there.iter().any(|it| it.partitioned) {
        " WITH (publish_via_partition_root = true)"
    } else {
        ""
    };
    let statement = source::catalog::create_publication(name, &tables);
    format!("{}{statement}{via_root};", tables::identities(&there, all))
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
    identity: Option<&source::Identity>,
    catalog: &mut Catalog,
    report: &mut Report,
) -> Result<(), Error> {
    let name = &config.source.slot;
    let subject = format!("slot {name}");
    let known = known(config).is_some();
    let slot = catalog.slot(name).await?;
    server::transactions(&catalog.holders().await?, slot.is_some(), report);
    let Some(slot) = slot else {
        if known && server.in_recovery {
            broken("slot.exists", &subject, &Error::SlotNotHere { slot: name.clone() }, report);
        } else if known {
            let fix = "`walgate run --accept-gap` goes on behind the gap; then `walgate backfill \
                       start TABLE --sweep`";
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
        let way_on = if known {
            "`walgate run --accept-gap` makes it anew and goes on behind the gap; then `walgate \
             backfill start TABLE --sweep`"
        } else {
            "drop it with `walgate slot drop`: the next start makes one"
        };
        let keep = &server.max_slot_wal_keep_size;
        let fix = format!("{way_on}; max_slot_wal_keep_size is {keep}");
        report.fail("slot.wal", &subject, format!("lost ({reason})"), &fix);
        return Ok(());
    }
    if !known && !slot.is_active() {
        if is_ours(config, identity, &slot, catalog).await? {
            report.ok("slot.exists", &subject, "ours: made by a start that was cut short");
            return Ok(());
        }
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
    server::failover(server, &slot, &catalog.absent_standbys().await?, &subject, report);
    check_wal(server, &slot, catalog.slot_wal(name).await?, &subject, report);
    Ok(())
}

/// Whether a slot that the state does not know was made by a start that nobody was left to
/// remember: the next one takes it.
async fn is_ours(
    config: &Config,
    identity: Option<&source::Identity>,
    slot: &SlotRow,
    catalog: &mut Catalog,
) -> Result<bool, Error> {
    let stored = State::open_reader(&config.state).ok().and_then(|it| it.read(intent::load).ok());
    let (Some(intent), Some(here)) = (stored.flatten(), identity) else { return Ok(false) };
    let intent::Intent { system_id, database, slot: name, lsn } = intent;
    let intent = source::Intent { system_id, database, slot: name, lsn };
    if !intent.is_of(&here.system_id, &here.database, &here.slot) {
        return Ok(false);
    }
    intent.made(slot.confirmed().unwrap_or(Lsn::ZERO), catalog).await
}

/// How much WAL the server keeps for the slot, and how near that is to its end.
fn check_wal(
    server: &Server,
    slot: &SlotRow,
    wal: Option<SlotWal>,
    subject: &str,
    report: &mut Report,
) {
    let size = |size: Option<i64>| size.and_then(|size| u64::try_from(size).ok());
    let (retained, safe) = (size(wal.and_then(|wal| wal.retained)), wal.and_then(|wal| wal.safe));
    let retained = retained.unwrap_or(0);
    let status = slot.wal_status().unwrap_or("unknown");
    let mut seen = format!("{status}, {} of WAL kept for it", bytes(retained));
    if let Some(safe) = safe {
        let left = bytes(size(Some(safe)).unwrap_or(0));
        seen.push_str(&format!("; lost once {left} more are written and not read"));
    }
    // Three quarters of what the server would keep are used up.
    let is_near = safe.is_some_and(|safe| size(Some(safe)).unwrap_or(0) < retained / 3);
    if status == "unreserved" || is_near {
        let fix = format!(
            "let walgate catch up now, or raise max_slot_wal_keep_size ({})",
            server.max_slot_wal_keep_size
        );
        report.warn("slot.wal", subject, seen, &fix);
    } else {
        report.ok("slot.wal", subject, seen);
    }
}

/// Returns whose positions the state has.
fn known(config: &Config) -> Option<meta::Identity> {
    let reader = State::open_reader(&config.state).ok()?;
    reader.read(meta::load).ok()?.identity
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
    // Updates and deletes of a table without a replica identity would fail from then on.
    if !missing.iter().any(|operation| matches!(*operation, "update" | "delete")) {
        let name = quote_identifier(&publication.name);
        report.repair(format!("ALTER PUBLICATION {name} SET (publish = '{}')", wanted.join(", ")));
    }
}
