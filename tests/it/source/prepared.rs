//! Prepared transactions: from a slot that was made with `two_phase`, and from others.

use walgate::chunk::Operation;
use walgate::demo::cluster::{Builder, Cluster, Session};
use walgate::lsn::Lsn;
use walgate::source::{Ending, Error, OpenOptions, Resume, Settings, Streaming};

use super::{
    Attached, attach_with, end_lsn, operations, positions, prepare, settings, until, wal_end,
};

const ADOPT: OpenOptions =
    OpenOptions { adopt_slot: true, accept_gap: false, standby: false, reconnect: false };
const PREPARED: &str = "SELECT count(*)::text FROM pg_prepared_xacts";

fn builder(major: u32) -> Builder {
    Cluster::builder()
        .major(major)
        .setting("logical_decoding_work_mem", "64kB")
        .setting("max_prepared_transactions", "10")
}

/// A server with a slot of two phases.
async fn cluster(major: u32) -> Cluster {
    let cluster = prepare(builder(major).start().await.unwrap()).await;
    let sql = "SELECT pg_create_logical_replication_slot('walgate', 'pgoutput', false, true)";
    cluster.execute(sql).await.unwrap();
    cluster
}

async fn attach(
    cluster: &Cluster,
    resume: &Resume,
    options: OpenOptions,
    streaming: Streaming,
) -> Attached {
    let settings = Settings { streaming, ..settings(&cluster.url("postgres", "postgres")) };
    attach_with(&settings, resume, options).await.unwrap()
}

async fn run(session: &Session, sql: &str) {
    // One by one: together they were one transaction.
    for statement in sql.split("; ") {
        let done = session.batch_execute(statement).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
}

async fn confirmed(cluster: &Cluster) -> Lsn {
    let sql = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots";
    cluster.value(sql).await.unwrap().parse().unwrap()
}

/// Confirms what came up to now, as the pipeline does when all is durable.
async fn confirm_all(cluster: &Cluster, attached: &mut Attached) -> Lsn {
    let end = wal_end(cluster).await;
    attached.up_to(end).await;
    attached.confirmer().confirm(end);
    end
}

/// The second half comes after a restart, with all before it confirmed.
async fn survives(major: u32, streaming: Streaming, rows: u32) {
    let cluster = cluster(major).await;
    let session = cluster.connect("postgres").await.unwrap();
    let mut first = attach(&cluster, &Resume::default(), ADOPT, streaming).await;
    let insert = format!(
        "INSERT INTO t SELECT g, repeat(md5(g::text), 32) FROM generate_series(1, {rows}) g"
    );
    run(&session, &format!("BEGIN; {insert}; PREPARE TRANSACTION 'it''s'")).await;
    let prepared = wal_end(&cluster).await;
    run(&session, "BEGIN; INSERT INTO t VALUES (-1, 'never'); PREPARE TRANSACTION ''").await;
    run(&session, "INSERT INTO t VALUES (-2, 'small')").await;
    let small = first.changes(1).await;
    assert_eq!(positions(&small).len(), 1, "what is not prepared passes");
    let end = end_lsn(&small);
    let all = confirm_all(&cluster, &mut first).await;
    let resume = Resume { confirmed: all, ..first.resume(end) };
    first.close().await;
    let seen = confirmed(&cluster).await;
    assert!(seen < prepared, "PostgreSQL {major}: {seen} is past {prepared}");

    // The server starts anew, too.
    let mut second = attach(&cluster, &resume, OpenOptions::default(), streaming).await;
    let more = wal_end(&cluster).await;
    assert!(second.up_to(more).await.is_empty(), "what was received comes only once");
    run(&session, "ROLLBACK PREPARED ''; COMMIT PREPARED 'it''s'").await;
    let chunks = second.changes(rows as usize).await;
    let found = positions(&chunks);
    assert!(found.iter().all(|position| position.commit_lsn > end), "at its commit");
    assert!(found.iter().map(|position| position.seq).eq(0..rows));
    assert!(operations(&chunks).iter().all(|operation| *operation == Operation::Insert));

    // It was handed on and is not safe: the slot stays. Half of it is in the journal.
    second.confirmer().confirm(found[0].commit_lsn);
    let mut resume = Resume { journaled: Some(found[0]), ..resume };
    second.close().await;
    assert!(confirmed(&cluster).await < prepared);
    let mut third = attach(&cluster, &resume, OpenOptions::default(), streaming).await;
    if rows > 1 {
        assert_eq!(positions(&third.changes(rows as usize - 1).await), found[1..]);
    }
    // Now it is.
    let all = confirm_all(&cluster, &mut third).await;
    resume.confirmed = all;
    let moved = format!("SELECT (confirmed_flush_lsn >= '{all}')::text FROM pg_replication_slots");
    until(&cluster, &moved, "true").await;
    third.close().await;
    let mut resume = Resume { received: end_lsn(&chunks), ..resume };
    resume.journaled = None;
    run(&session, "INSERT INTO t VALUES (-3, 'last')").await;
    attach(&cluster, &resume, OpenOptions::default(), streaming).await.changes(1).await;
    assert_eq!(cluster.value(PREPARED).await.unwrap(), "0");
}

#[tokio::test]
async fn the_second_half_of_a_prepared_transaction_may_come_after_a_restart_15() {
    Box::pin(survives(15, Streaming::Off, 1)).await;
    Box::pin(survives(15, Streaming::Auto, 500)).await;
}

#[tokio::test]
async fn the_second_half_of_a_prepared_transaction_may_come_after_a_restart_18() {
    Box::pin(survives(18, Streaming::Off, 500)).await;
    Box::pin(survives(18, Streaming::Auto, 500)).await;
}

#[tokio::test]
async fn shapes_of_a_prepared_transaction_are_known_to_all_and_kept_for_its_commit() {
    for major in [15, 18] {
        let cluster = cluster(major).await;
        let session = cluster.connect("postgres").await.unwrap();
        let mut attached = attach(&cluster, &Resume::default(), ADOPT, Streaming::Auto).await;
        run(&session, "BEGIN; INSERT INTO t VALUES (1, 'a'); PREPARE TRANSACTION 'g'").await;
        // The server does not describe t again.
        run(&session, "INSERT INTO t VALUES (2, 'b')").await;
        attached.changes(1).await;
        run(&session, "COMMIT PREPARED 'g'; ALTER TABLE t ADD c int; INSERT INTO t VALUES (3)")
            .await;
        let shapes: Vec<_> = super::events(&attached.changes(2).await)
            .into_iter()
            .map(|event| event.columns.join(","))
            .collect();
        assert_eq!(shapes, ["id,v", "id,v,c"], "PostgreSQL {major}");
    }
}

/// Somebody confirmed past it; the server then sends the second half alone.
#[tokio::test]
async fn a_commit_whose_first_half_was_confirmed_by_another_is_passed_only_when_told() {
    for major in [15, 18] {
        let cluster = cluster(major).await;
        let session = cluster.connect("postgres").await.unwrap();
        run(&session, "BEGIN; INSERT INTO t VALUES (1, 'a'); PREPARE TRANSACTION 'g'").await;
        let advance = "SELECT pg_replication_slot_advance('walgate', pg_current_wal_lsn())";
        run(&session, advance).await;
        run(&session, "COMMIT PREPARED 'g'; INSERT INTO t VALUES (2, 'b')").await;
        let mut adopted = attach(&cluster, &Resume::default(), ADOPT, Streaming::Auto).await;
        let error = adopted.error().await;
        assert!(matches!(error, Error::PreparedMissed { .. }), "PostgreSQL {major}: {error}");
        assert_eq!(error.ends_run(), Some(Ending::Halted));
        adopted.tasks.join_next().await.unwrap().unwrap().unwrap();
        let options = OpenOptions { accept_gap: true, ..ADOPT };
        let mut adopted = attach(&cluster, &Resume::default(), options, Streaming::Auto).await;
        adopted.changes(1).await;
    }
}

#[tokio::test]
async fn a_slot_of_one_phase_brings_a_prepared_transaction_at_its_commit() {
    for major in [15, 18] {
        let cluster = prepare(builder(major).start().await.unwrap()).await;
        let session = cluster.connect("postgres").await.unwrap();
        let options = OpenOptions::default();
        let mut attached = attach(&cluster, &Resume::default(), options, Streaming::Auto).await;
        let large =
            "INSERT INTO t SELECT g, repeat(md5(g::text), 32) FROM generate_series(1, 500) g";
        run(&session, &format!("BEGIN; {large}; PREPARE TRANSACTION 'g'")).await;
        run(&session, "INSERT INTO t VALUES (-2, 'small')").await;
        attached.changes(1).await;
        run(&session, "BEGIN; INSERT INTO t VALUES (-1); PREPARE TRANSACTION 'h'").await;
        run(&session, "ROLLBACK PREPARED 'h'; COMMIT PREPARED 'g'").await;
        attached.changes(500).await;
        let plain = "SELECT two_phase::text FROM pg_replication_slots";
        assert_eq!(cluster.value(plain).await.unwrap(), "false");
    }
}
