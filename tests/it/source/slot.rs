//! Whose slot it is, and when a person must act.

use std::time::Duration;

use walgate::demo::cluster::Cluster;
use walgate::failure::Classify;
use walgate::lsn::Lsn;
use walgate::source::{Catalog, Ending, Error, OpenOptions, Resume, intend, open};

use super::{Attached, attach, cluster, end_lsn, prepare, settings, until};

const ACCEPT: OpenOptions =
    OpenOptions { adopt_slot: false, accept_gap: true, standby: false, reconnect: false };

async fn refused(cluster: &Cluster, resume: &Resume) -> Error {
    attach(cluster, resume, OpenOptions::default()).await.err().unwrap()
}

/// Attaches, reads a row, and goes away; returns what the state remembers.
async fn remembered(cluster: &Cluster) -> Resume {
    let mut attached = attach(cluster, &Resume::default(), OpenOptions::default()).await.unwrap();
    cluster.execute("INSERT INTO t VALUES (1, 'a')").await.unwrap();
    let end = end_lsn(&attached.changes(1).await);
    let resume = attached.resume(end);
    attached.confirmer().confirm(end);
    attached.close().await;
    resume
}

async fn drop_slot(cluster: &Cluster) {
    let mut catalog = Catalog::connect(&cluster.url("postgres", "postgres")).await.unwrap();
    catalog.wait_for_slot("walgate", Duration::from_millis(20)).await.unwrap();
    catalog.drop_slot("walgate").await.unwrap();
    assert!(catalog.slot("walgate").await.unwrap().is_none());
}

/// Reads the row inserted after a gap: the stream goes on.
async fn goes_on(mut attached: Attached, cluster: &Cluster, resume: &Resume) {
    let gap = attached.opened.gap.unwrap();
    assert_eq!(gap.from, resume.received);
    assert!(gap.to >= gap.from);
    cluster.execute("INSERT INTO t VALUES (100, 'behind the gap')").await.unwrap();
    attached.changes(1).await;
}

#[tokio::test]
async fn a_slot_that_the_empty_state_knows_nothing_of_is_taken_only_when_told() {
    let cluster = cluster().await;
    let sql = "SELECT pg_create_logical_replication_slot('walgate', 'pgoutput')";
    cluster.execute(sql).await.unwrap();
    cluster.execute("INSERT INTO t VALUES (1, 'a')").await.unwrap();
    let error = refused(&cluster, &Resume::default()).await;
    assert!(matches!(error, Error::SlotExists { .. }), "{error}");
    assert_eq!(error.ends_run(), Some(Ending::Halted));
    let options = OpenOptions { adopt_slot: true, ..OpenOptions::default() };
    let mut attached = attach(&cluster, &Resume::default(), options).await.unwrap();
    attached.changes(1).await;
}

async fn make_slot(cluster: &Cluster) {
    let sql = "SELECT pg_create_logical_replication_slot('walgate', 'pgoutput')";
    cluster.execute(sql).await.unwrap();
}

#[tokio::test]
async fn a_slot_that_appeared_after_the_intent_to_make_it_is_ours_until_it_is_used() {
    let cluster = cluster().await;
    let settings = settings(&cluster.url("postgres", "postgres"));
    let resume = Resume { intent: intend(&settings).await.unwrap(), ..Resume::default() };
    assert!(resume.intent.is_some());
    make_slot(&cluster).await;
    assert_eq!(intend(&settings).await.unwrap(), None, "it is there");
    let mut attached = attach(&cluster, &resume, OpenOptions::default()).await.unwrap();
    assert!(attached.opened.created);
    cluster.execute("INSERT INTO t VALUES (1, 'a')").await.unwrap();
    attached.changes(1).await;
    attached.close().await;
    // PostgreSQL 14 counts by way of another process.
    let counted = "SELECT (total_txns > 0)::text FROM pg_stat_replication_slots";
    until(&cluster, counted, "true").await;
    let error = refused(&cluster, &resume).await;
    assert!(matches!(error, Error::SlotExists { .. }), "read from: {error}");
}

#[tokio::test]
async fn a_slot_that_was_there_before_the_intent_is_not_ours() {
    let cluster = cluster().await;
    let settings = settings(&cluster.url("postgres", "postgres"));
    let before = intend(&settings).await.unwrap().unwrap();
    make_slot(&cluster).await;
    cluster.execute("INSERT INTO t VALUES (1, 'a')").await.unwrap();
    let lsn = cluster.value("SELECT pg_current_wal_lsn()::text").await.unwrap().parse().unwrap();
    for intent in [
        walgate::source::Intent { lsn, ..before.clone() },
        walgate::source::Intent { system_id: "1".to_owned(), ..before.clone() },
        walgate::source::Intent { database: "other".to_owned(), ..before },
    ] {
        let resume = Resume { intent: Some(intent), ..Resume::default() };
        let error = refused(&cluster, &resume).await;
        assert!(matches!(error, Error::SlotExists { .. }), "{resume:?}: {error}");
    }
}

#[tokio::test]
async fn a_slot_that_is_gone_is_a_gap() {
    let cluster = cluster().await;
    let resume = remembered(&cluster).await;
    drop_slot(&cluster).await;
    let error = refused(&cluster, &resume).await;
    assert!(matches!(error, Error::SlotMissing { .. }), "{error}");
    assert_eq!(error.ends_run(), Some(Ending::Halted));
    goes_on(attach(&cluster, &resume, ACCEPT).await.unwrap(), &cluster, &resume).await;
}

#[tokio::test]
async fn a_slot_that_was_made_again_is_a_gap() {
    let cluster = cluster().await;
    let resume = remembered(&cluster).await;
    drop_slot(&cluster).await;
    cluster.execute("INSERT INTO t VALUES (2, 'lost')").await.unwrap();
    let sql = "SELECT pg_create_logical_replication_slot('walgate', 'pgoutput')";
    cluster.execute(sql).await.unwrap();
    let error = refused(&cluster, &resume).await;
    assert!(matches!(error, Error::SlotAdvanced { .. }), "{error}");
    assert_eq!(error.ends_run(), Some(Ending::Halted));
    goes_on(attach(&cluster, &resume, ACCEPT).await.unwrap(), &cluster, &resume).await;
}

/// The range that was said to be lost ended before it began.
#[tokio::test]
async fn a_slot_that_another_moved_over_what_was_received_alone_is_no_gap() {
    let cluster = cluster().await;
    let received = remembered(&cluster).await;
    let resume = Resume { confirmed: Lsn(1), ..received };
    let mut attached = attach(&cluster, &resume, OpenOptions::default()).await.unwrap();
    assert_eq!(attached.opened.gap, None);
    cluster.execute("INSERT INTO t VALUES (2, 'next')").await.unwrap();
    assert_eq!(attached.changes(1).await.len(), 1);
}

/// Each took the next number that it knew to be free.
#[tokio::test]
async fn two_promotions_that_made_timelines_of_the_same_number_are_told_apart() {
    let mut cluster = cluster().await;
    let first = cluster.standby("first", &[]).await.unwrap();
    cluster.execute("INSERT INTO t VALUES (1001, 'a')").await.unwrap();
    let second = cluster.standby("second", &[]).await.unwrap();
    let promote = "SELECT pg_promote()::text";
    assert_eq!(first.value(promote).await.unwrap(), "true");
    let resume = remembered(&first).await;
    assert_eq!(resume.identity.as_ref().unwrap().timeline, 2);
    // One that was promoted elsewhere, and has come further since.
    cluster
        .execute("INSERT INTO t SELECT g, 'b' FROM generate_series(2001, 3000) g")
        .await
        .unwrap();
    let end = cluster.value("SELECT pg_current_wal_lsn()::text").await.unwrap();
    let has = format!("SELECT (pg_last_wal_replay_lsn() >= '{end}')::text");
    until(&second, &has, "true").await;
    assert_eq!(second.value(promote).await.unwrap(), "true");
    let error = refused(&second, &resume).await;
    assert!(matches!(error, Error::ForkedTimeline { timeline: 2, .. }), "{error}");
    assert_eq!(error.ends_run(), Some(Ending::Halted));
    attach(&first, &resume, OpenOptions::default()).await.unwrap();
}

#[tokio::test]
async fn a_slot_whose_wal_was_dropped_is_a_gap() {
    let builder = Cluster::builder()
        .setting("max_slot_wal_keep_size", "1MB")
        .setting("min_wal_size", "32MB")
        .setting("max_wal_size", "32MB");
    let cluster = prepare(builder.start().await.unwrap()).await;
    let resume = remembered(&cluster).await;
    for _ in 0..6 {
        let sql = "SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000000));
                   SELECT pg_switch_wal(); CHECKPOINT";
        cluster.execute(sql).await.unwrap();
    }
    let error = refused(&cluster, &resume).await;
    assert!(matches!(error, Error::SlotLost { .. }), "{error}");
    assert_eq!(error.ends_run(), Some(Ending::Halted));
    // A state that knows nothing has no gap to accept.
    let error = refused(&cluster, &Resume::default()).await;
    assert!(matches!(error, Error::SlotLost { .. }), "{error}");
    assert!(!error.to_string().contains("0/0 "), "{error}");
    assert!(error.help().unwrap().contains("walgate slot drop"), "{:?}", error.help());
    goes_on(attach(&cluster, &resume, ACCEPT).await.unwrap(), &cluster, &resume).await;
}

#[tokio::test]
async fn a_slot_of_another_kind_is_left_alone() {
    let cluster = cluster().await;
    let sql = "SELECT pg_create_physical_replication_slot('walgate')";
    cluster.execute(sql).await.unwrap();
    let error = refused(&cluster, &Resume::default()).await;
    assert!(matches!(error, Error::SlotForeign { what: "type", .. }), "{error}");
}

#[tokio::test]
async fn a_slot_that_serves_something_else_is_named_for_what_it_is() {
    let cluster = cluster().await;
    let mut catalog = Catalog::connect(&cluster.url("postgres", "postgres")).await.unwrap();
    cluster.execute("CREATE DATABASE other").await.unwrap();
    for (database, make, what) in [
        ("postgres", "pg_create_physical_replication_slot('walgate')", "type"),
        ("postgres", "pg_create_logical_replication_slot('walgate', 'test_decoding')", "plugin"),
        ("other", "pg_create_logical_replication_slot('walgate', 'pgoutput')", "database"),
        ("postgres", "pg_create_logical_replication_slot('walgate', 'pgoutput', true)", "busy"),
    ] {
        let session = cluster.connect(database).await.unwrap();
        session.rows(&format!("SELECT {make}")).await.unwrap();
        let options = OpenOptions { adopt_slot: true, ..OpenOptions::default() };
        let empty = Resume::default();
        let attached = attach(&cluster, &empty, options);
        // A temporary one is held by the session that made it.
        let Ok(attached) = tokio::time::timeout(Duration::from_secs(3), attached).await else {
            assert_eq!(what, "busy");
            continue;
        };
        let error = attached.err().unwrap();
        let Error::SlotForeign { what: seen, .. } = &error else { panic!("{error}") };
        assert_eq!(*seen, what);
        assert_eq!(error.ends_run(), Some(Ending::Halted));
        drop(session);
        catalog.wait_for_slot("walgate", Duration::from_millis(20)).await.unwrap();
        catalog.drop_slot("walgate").await.unwrap();
    }
}

#[tokio::test]
async fn a_slot_that_another_holds_is_waited_for() {
    let cluster = cluster().await;
    let first = attach(&cluster, &Resume::default(), OpenOptions::default()).await.unwrap();
    let resume = first.resume(first.opened.started_at);
    let options = OpenOptions { standby: true, ..OpenOptions::default() };
    let second = attach(&cluster, &resume, options);
    let leaving = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        first.close().await;
    };
    let (second, ()) = tokio::join!(second, leaving);
    second.unwrap();
}

#[tokio::test]
async fn a_state_of_another_system_or_database_is_refused() {
    let cluster = cluster().await;
    let resume = remembered(&cluster).await;
    let mut other = resume.clone();
    other.identity.as_mut().unwrap().system_id = "1".to_owned();
    let error = refused(&cluster, &other).await;
    assert!(matches!(error, Error::Foreign { what: "system", .. }), "{error}");
    let mut other = resume.clone();
    other.identity.as_mut().unwrap().timeline = 7;
    let error = refused(&cluster, &other).await;
    assert!(matches!(error, Error::ForeignTimeline { .. }), "{error}");
}

#[tokio::test]
async fn a_missing_publication_ends_it_before_a_slot_is_made() {
    let cluster = Cluster::builder().start().await.unwrap();
    let error = refused(&cluster, &Resume::default()).await;
    assert!(matches!(error, Error::PublicationMissing { .. }), "{error}");
    assert_eq!(error.ends_run(), Some(Ending::Preflight));
    let slots = cluster.value("SELECT count(*)::text FROM pg_replication_slots").await.unwrap();
    assert_eq!(slots, "0");
}

async fn publication_vanishes(major: u32, options: OpenOptions) {
    let cluster = prepare(Cluster::builder().major(major).start().await.unwrap()).await;
    let mut attached = attach(&cluster, &Resume::default(), options).await.unwrap();
    cluster.execute("INSERT INTO t VALUES (1, 'a')").await.unwrap();
    attached.changes(1).await;
    cluster.execute("DROP PUBLICATION walgate").await.unwrap();
    cluster.execute("INSERT INTO t VALUES (2, 'b')").await.unwrap();
    let error = attached.error().await;
    assert!(matches!(error, Error::PublicationVanished { .. }), "{error}");
    assert_eq!(error.ends_run(), Some(Ending::Halted));
}

#[tokio::test]
async fn a_publication_that_vanishes_ends_the_stream() {
    publication_vanishes(15, OpenOptions::default()).await;
}

#[tokio::test]
async fn a_publication_that_vanishes_ends_the_stream_where_the_server_only_warns() {
    publication_vanishes(18, OpenOptions::default()).await;
}

/// A gap was accepted once; what vanished later was a warning in the log and lost rows.
#[tokio::test]
async fn a_publication_that_vanishes_behind_an_accepted_gap_ends_the_stream_all_the_same() {
    publication_vanishes(18, ACCEPT).await;
}

#[tokio::test]
async fn a_publication_that_was_missing_for_a_while_is_a_gap_where_the_server_only_warns() {
    let cluster = prepare(Cluster::builder().major(18).start().await.unwrap()).await;
    let resume = remembered(&cluster).await;
    cluster.execute("DROP PUBLICATION walgate").await.unwrap();
    cluster.execute("INSERT INTO t VALUES (2, 'lost')").await.unwrap();
    cluster.execute("CREATE PUBLICATION walgate FOR TABLE t").await.unwrap();
    let mut attached = attach(&cluster, &resume, OpenOptions::default()).await.unwrap();
    let error = attached.error().await;
    assert!(matches!(error, Error::PublicationVanished { .. }), "{error}");
    let mut attached = attach(&cluster, &resume, ACCEPT).await.unwrap();
    cluster.execute("INSERT INTO t VALUES (3, 'behind it')").await.unwrap();
    attached.changes(1).await;
}

#[tokio::test]
async fn a_wal_level_that_does_not_do_is_named() {
    let cluster =
        prepare(Cluster::builder().setting("wal_level", "replica").start().await.unwrap());
    let error = refused(&cluster.await, &Resume::default()).await;
    assert!(matches!(&error, Error::WalLevel { seen } if seen == "replica"), "{error}");
    assert_eq!(error.ends_run(), Some(Ending::Preflight));
}

#[tokio::test]
async fn a_transaction_that_the_slot_has_to_wait_for_is_named() {
    let cluster = cluster().await;
    let session = cluster.connect("postgres").await.unwrap();
    session.rows("BEGIN").await.unwrap();
    session.rows("INSERT INTO t VALUES (1, 'a')").await.unwrap();
    let pid = session.rows("SELECT pg_backend_pid()::text").await.unwrap();
    let error = refused(&cluster, &Resume::default()).await;
    let Error::SlotWaits { holders, .. } = &error else { panic!("{error}") };
    let pids: Vec<_> = holders.iter().filter_map(|it| it.pid).map(|pid| pid.to_string()).collect();
    assert_eq!(pids, [pid[0][0].clone().unwrap()]);
    assert!(error.ends_run().is_none());
    let slots = cluster.value("SELECT count(*)::text FROM pg_replication_slots").await.unwrap();
    assert_eq!(slots, "0");
}

/// One that was prepared and left has no process that could be ended.
#[tokio::test]
async fn a_prepared_transaction_that_the_slot_has_to_wait_for_is_named_with_its_cure() {
    let cluster = cluster().await;
    let left = "BEGIN; INSERT INTO t VALUES (1, 'a'); PREPARE TRANSACTION 'left'";
    let session = cluster.connect("postgres").await.unwrap();
    session.rows(left).await.unwrap();
    let error = refused(&cluster, &Resume::default()).await;
    assert!(error.to_string().contains("prepared transaction \"left\""), "{error}");
    assert!(error.help().unwrap().contains("ROLLBACK PREPARED 'left'"), "{:?}", error.help());
}

#[tokio::test]
async fn odd_names_are_quoted_all_the_way() {
    let cluster = cluster().await;
    cluster.execute("CREATE PUBLICATION \"My \"\"Pub', x\" FOR TABLE t").await.unwrap();
    let mut settings = settings(&cluster.url("postgres", "postgres"));
    settings.publication = "My \"Pub', x".to_owned();
    let opened = open(&settings, &Resume::default(), OpenOptions::default()).await;
    let (mut reader, _writer, opened) = opened.unwrap();
    assert!(opened.started_at > Lsn::ZERO);
    cluster.execute("INSERT INTO t VALUES (1, 'a')").await.unwrap();
    loop {
        if let walgate::source::Received::Chunk(chunk) = reader.next().await.unwrap() {
            assert_eq!(chunk.entries.len(), 1);
            return;
        }
    }
}
