//! Transactions that come while they are still open.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;
use walgate::demo::cluster::{Cluster, Session};
use walgate::failure::Classify;
use walgate::lsn::Position;
use walgate::source::{Error, OpenOptions, Received, Resume, Settings, Streaming};

use super::{Attached, Event, attach_with, events, positions, prepare, settings, until, wal_end};

/// A server that sends parts of an open transaction as soon as it may.
async fn eager(major: u32) -> Cluster {
    let builder = Cluster::builder().major(major).setting("logical_decoding_work_mem", "64kB");
    prepare(builder.start().await.unwrap()).await
}

fn with(cluster: &Cluster, streaming: Streaming, spill: &TempDir) -> Settings {
    let settings = settings(&cluster.url("postgres", "postgres"));
    Settings { streaming, spill: spill.path().join("spill"), ..settings }
}

/// Makes the slot; returns what the state remembers.
async fn slot(cluster: &Cluster) -> Resume {
    let settings = settings(&cluster.url("postgres", "postgres"));
    let attached = attach_with(&settings, &Resume::default(), OpenOptions::default()).await;
    let attached = attached.unwrap();
    let resume = attached.resume(attached.opened.started_at);
    attached.close().await;
    resume
}

/// Reads all that was committed, in one of the two ways. Nothing is confirmed.
async fn backlog(cluster: &Cluster, resume: &Resume, streaming: Streaming) -> Vec<Event> {
    let spill = TempDir::new().unwrap();
    let end = wal_end(cluster).await;
    let settings = with(cluster, streaming, &spill);
    let mut attached = attach_with(&settings, resume, OpenOptions::default()).await.unwrap();
    let chunks = attached.up_to(end).await;
    attached.close().await;
    assert_eq!(files(&settings.spill), 0);
    events(&chunks)
}

fn files(spill: &Path) -> usize {
    std::fs::read_dir(spill).map_or(0, Iterator::count)
}

#[track_caller]
fn same(off: &[Event], auto: &[Event], what: &str) {
    let differs = off.iter().zip(auto).position(|(off, auto)| off != auto);
    if let Some(at) = differs {
        panic!("{what}: change {at} is {:?} and streamed {:?}", off[at], auto[at]);
    }
    assert_eq!(off.len(), auto.len(), "{what}");
}

/// Both ways bring the same, and one of them is streamed. Returns the backlog.
async fn same_both_ways(cluster: &Cluster, resume: &Resume, what: &str) -> Vec<Event> {
    let off = backlog(cluster, resume, Streaming::Off).await;
    let streamed = "SELECT (coalesce(sum(stream_txns), 0) > 0)::text
                    FROM pg_stat_replication_slots";
    assert_eq!(cluster.value(streamed).await.unwrap(), "false", "{what}");
    let auto = backlog(cluster, resume, Streaming::Auto).await;
    until(cluster, streamed, "true").await;
    same(&off, &auto, what);
    off
}

async fn run(session: &Session, sql: &str) {
    // One by one: together they were one transaction.
    for statement in sql.split("; ") {
        let done = session.batch_execute(statement).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
}

/// Rows of about a kilobyte, from `from` on.
fn rows(table: &str, from: u32, count: u32) -> String {
    let to = from + count;
    format!(
        "INSERT INTO {table} (id, v) SELECT g, repeat(md5(g::text), 32)
         FROM generate_series({from}, {}) g",
        to - 1
    )
}

#[tokio::test]
async fn what_is_rolled_back_in_a_streamed_transaction_never_comes() {
    for major in [15, 18] {
        let cluster = eager(major).await;
        let resume = slot(&cluster).await;
        let session = cluster.connect("postgres").await.unwrap();
        let other = cluster.connect("postgres").await.unwrap();
        // Two that interleave; nested subtransactions, and the outer one undone with the inner.
        run(&session, &format!("BEGIN; {}", rows("t", 0, 200))).await;
        run(&other, &format!("BEGIN; {}", rows("t", 10_000, 200))).await;
        run(&session, &format!("SAVEPOINT a; {}", rows("t", 200, 200))).await;
        run(&session, &format!("SAVEPOINT b; {}", rows("t", 400, 200))).await;
        run(&session, &format!("RELEASE b; {}", rows("t", 600, 200))).await;
        run(&other, &format!("SAVEPOINT c; {}", rows("t", 10_200, 200))).await;
        run(&session, &format!("ROLLBACK TO a; {}", rows("t", 800, 200))).await;
        run(&other, "ROLLBACK TO c; UPDATE t SET v = 'x' WHERE id < 10010").await;
        // Many levels; every third is undone.
        for level in 0..80 {
            run(&session, &format!("SAVEPOINT s{level}; {}", rows("t", 2000 + level * 10, 5)))
                .await;
        }
        for level in (0..80).rev().step_by(3) {
            run(&session, &format!("ROLLBACK TO s{level}; {}", rows("t", 5000 + level * 10, 5)))
                .await;
        }
        run(&other, "COMMIT").await;
        run(&session, "SELECT pg_logical_emit_message(true, 'p', 'c'); COMMIT").await;
        run(&other, &format!("BEGIN; {}; ROLLBACK", rows("t", 20_000, 500))).await;
        run(&other, "BEGIN; TRUNCATE t; ROLLBACK; DELETE FROM t WHERE id = 0; TRUNCATE t").await;
        let all = same_both_ways(&cluster, &resume, &format!("PostgreSQL {major}")).await;
        assert!(all.len() > 600, "{}", all.len());
    }
}

#[tokio::test]
async fn shapes_learnt_in_a_streamed_transaction_hold_where_the_server_means_them() {
    for major in [15, 18] {
        let cluster = eager(major).await;
        cluster
            .execute(
                "CREATE TABLE a (id int PRIMARY KEY, v text); ALTER PUBLICATION walgate ADD TABLE a;
                 CREATE TYPE mood AS ENUM ('x')",
            )
            .await
            .unwrap();
        let resume = slot(&cluster).await;
        let session = cluster.connect("postgres").await.unwrap();
        let other = cluster.connect("postgres").await.unwrap();
        run(&other, "INSERT INTO t VALUES (1, 'before'); INSERT INTO a VALUES (1, 'before')").await;
        // Of t within and undone, of a type that is made within.
        run(&session, &format!("BEGIN; {}", rows("t", 100, 100))).await;
        run(&session, "CREATE TYPE pair AS (n int); ALTER TABLE t ADD c pair").await;
        run(&session, &rows("t", 200, 100)).await;
        run(&session, "SAVEPOINT s; ALTER TABLE t ADD d int; CREATE TYPE other AS (n int)").await;
        run(&session, &rows("t", 300, 100)).await;
        run(&session, "ALTER TABLE t ADD e int, ADD p other, DROP c").await;
        run(&session, &rows("t", 400, 100)).await;
        run(&session, &format!("ROLLBACK TO s; {}", rows("t", 500, 100))).await;
        // Not altered again: see what_the_server_cannot_stream_is_asked_for_without.
        run(&session, &rows("t", 600, 100)).await;
        // What others do meanwhile, also to a table that this one has written to.
        run(&session, &rows("a", 100, 100)).await;
        run(
            &other,
            "INSERT INTO a VALUES (2, 'meanwhile'); CREATE TABLE b (id int PRIMARY KEY); ALTER PUBLICATION walgate ADD TABLE b; INSERT INTO b VALUES (1)",
        )
        .await;
        run(&session, &format!("COMMIT; {}", rows("t", 700, 1))).await;
        run(
            &other,
            "INSERT INTO a VALUES (3, 'after'); ALTER TABLE a RENAME v TO w; INSERT INTO a VALUES (4, 'after')",
        )
        .await;
        // Streamed and undone as a whole: its shape is nobody's.
        run(&session, &format!("BEGIN; ALTER TABLE t ADD gone int; {}", rows("t", 800, 300))).await;
        run(&session, "ROLLBACK; INSERT INTO t VALUES (900, 'last')").await;
        let all = same_both_ways(&cluster, &resume, &format!("PostgreSQL {major}")).await;
        let shapes: BTreeSet<_> = all.iter().map(|event| event.columns.join(",")).collect();
        let expected = ["id", "id,v", "id,v,c", "id,w"];
        assert_eq!(shapes.into_iter().collect::<Vec<_>>(), expected, "PostgreSQL {major}");
    }
}

/// What several sessions do, by chance. Each has a table of its own to alter.
async fn by_chance(cluster: &Cluster, seed: u64) {
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut sessions = Vec::new();
    for number in 0..4 {
        let session = cluster.connect("postgres").await.unwrap();
        let sql = format!(
            "CREATE TABLE own{number} (id int, v text); ALTER PUBLICATION walgate ADD TABLE own{number}"
        );
        run(&session, &sql).await;
        sessions.push((session, 0_u32, false, false));
    }
    let mut next = 0;
    for step in 0..150 {
        let number = chance.usize(..4);
        let (session, savepoints, open, undone) = &mut sessions[number];
        if !*open {
            run(session, "BEGIN").await;
            (*savepoints, *open, *undone) = (0, true, false);
        }
        match chance.u32(..20) {
            0..=9 => {
                let count = chance.u32(1..60);
                let own = format!("own{number}");
                run(session, &rows(if chance.bool() { "t" } else { &own }, next, count)).await;
                next += count;
            }
            10..=12 => {
                *savepoints += 1;
                run(session, &format!("SAVEPOINT s{savepoints}")).await;
            }
            13..=14 if *savepoints > 0 => {
                *savepoints = chance.u32(1..=*savepoints);
                *undone = true;
                run(session, &format!("ROLLBACK TO s{savepoints}")).await;
            }
            15 if *savepoints > 0 => {
                run(session, &format!("RELEASE s{savepoints}")).await;
                *savepoints -= 1;
            }
            // What the server fails at: a shape that changes, that undone, and then again.
            16..=17 if *undone => {}
            16 => run(session, &format!("ALTER TABLE own{number} ADD c{step} int")).await,
            17 => run(session, &format!("TRUNCATE own{number}")).await,
            18 => {
                run(session, "ROLLBACK").await;
                *open = false;
            }
            _ => {
                run(session, "COMMIT").await;
                *open = false;
            }
        }
    }
    for (session, ..) in sessions {
        run(&session, "COMMIT").await;
    }
}

#[tokio::test]
async fn whatever_sessions_do_comes_alike_streamed_or_not() {
    for major in [14, 15, 16, 17, 18] {
        let seed = fastrand::u64(..);
        let cluster = eager(major).await;
        let resume = slot(&cluster).await;
        by_chance(&cluster, seed).await;
        let what = format!("PostgreSQL {major}, seed {seed}");
        let all = same_both_ways(&cluster, &resume, &what).await;
        // From any change on, as after a crash in the middle of a transaction.
        let mut resume = resume;
        let at = fastrand::usize(..all.len());
        resume.journaled = Some(all[at].position);
        let rest = backlog(&cluster, &resume, Streaming::Auto).await;
        same(&all[at + 1..], &rest, &what);
    }
}

/// The server says of a message in a streamed part that the whole transaction made it, whichever
/// subtransaction did: which messages go with one that is undone is not known.
#[tokio::test]
async fn a_message_that_may_be_undone_is_asked_for_again_once_the_rest_commits() {
    for major in [14, 15, 18] {
        let cluster = eager(major).await;
        let resume = slot(&cluster).await;
        let session = cluster.connect("postgres").await.unwrap();
        let message = |content| format!("SELECT pg_logical_emit_message(true, 'p', '{content}')");
        run(&session, &format!("BEGIN; {}; {}", message("kept"), rows("t", 0, 200))).await;
        run(&session, &format!("SAVEPOINT a; {}; {}", message("undone"), rows("t", 200, 200)))
            .await;
        run(&session, &format!("ROLLBACK TO a; {}; COMMIT", rows("t", 400, 200))).await;
        let folder = TempDir::new().unwrap();
        let mut attached = attached(&cluster, &resume, &folder).await;
        let error = attached.error().await;
        assert!(error.is_of_streaming(), "PostgreSQL {major}: {error}");
        assert_eq!(error.ends_run(), None);
        attached.tasks.join_next().await.unwrap().unwrap().unwrap();
        let all = backlog(&cluster, &resume, Streaming::Off).await;
        assert_eq!(all.len(), 401, "PostgreSQL {major}");
    }
}

async fn attached(cluster: &Cluster, resume: &Resume, spill: &TempDir) -> Attached {
    let settings = with(cluster, Streaming::Auto, spill);
    attach_with(&settings, resume, OpenOptions::default()).await.unwrap()
}

async fn wait_for_files(spill: &Path, attached: &mut Attached, count: usize) {
    // The reader has to run for it.
    let waiting = async {
        while files(spill) != count {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::pin!(waiting);
    loop {
        tokio::select! {
            () = &mut waiting => return,
            received = attached.next() => assert!(matches!(received, Received::Idle { .. })),
        }
    }
}

#[tokio::test]
async fn small_transactions_pass_a_huge_one_that_goes_to_disk() {
    for major in [15, 18] {
        let cluster = eager(major).await;
        let resume = slot(&cluster).await;
        let folder = TempDir::new().unwrap();
        let spill = folder.path().join("spill");
        let mut attached = attached(&cluster, &resume, &folder).await;
        let session = cluster.connect("postgres").await.unwrap();
        run(&session, &format!("BEGIN; {}", rows("t", 0, 30_000))).await;
        wait_for_files(&spill, &mut attached, 1).await;
        let mode = std::fs::metadata(&spill).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        // Past it, and the slot may move while it is open.
        for id in 100_000..100_003 {
            cluster.execute(&format!("INSERT INTO t VALUES ({id}, 'small')")).await.unwrap();
            attached.changes(1).await;
        }
        let end = wal_end(&cluster).await;
        attached.up_to(end).await;
        attached.confirmer().confirm(end);
        let confirmed = format!(
            "SELECT (confirmed_flush_lsn >= '{end}' AND restart_lsn < '{end}')::text
             FROM pg_replication_slots"
        );
        until(&cluster, &confirmed, "true").await;
        // What is undone leaves nothing behind.
        run(&session, "ROLLBACK").await;
        wait_for_files(&spill, &mut attached, 0).await;
        run(&session, &format!("BEGIN; {}", rows("t", 0, 30_000))).await;
        wait_for_files(&spill, &mut attached, 1).await;
        run(&session, "COMMIT").await;
        let chunks = attached.changes(30_000).await;
        let sizes: Vec<_> = chunks.iter().map(|chunk| chunk.frames.len()).collect();
        assert!(sizes.iter().all(|size| *size <= 1 << 20), "{sizes:?}");
        let seqs = positions(&chunks).into_iter().map(|position| position.seq);
        assert!(seqs.eq(0..30_000));
        assert_eq!(files(&spill), 0);
    }
}

#[tokio::test]
async fn a_restart_while_one_is_open_or_is_handed_on_loses_and_repeats_nothing() {
    for major in [15, 18] {
        let cluster = eager(major).await;
        let resume = slot(&cluster).await;
        let folder = TempDir::new().unwrap();
        let spill = folder.path().join("spill");
        let mut first = attached(&cluster, &resume, &folder).await;
        let session = cluster.connect("postgres").await.unwrap();
        run(&session, &format!("BEGIN; {}", rows("t", 0, 25_000))).await;
        cluster.execute("INSERT INTO t VALUES (100000, 'small')").await.unwrap();
        let small = first.changes(1).await;
        wait_for_files(&spill, &mut first, 1).await;
        // What commits while it is open may be confirmed: the server sends it again all the same.
        let end = super::end_lsn(&small);
        let mut resume = first.resume(end);
        first.confirmer().confirm(end);
        first.close().await;
        // A kill leaves its files.
        std::fs::create_dir_all(&spill).unwrap();
        std::fs::write(spill.join("left"), "behind").unwrap();
        let mut second = attached(&cluster, &resume, &folder).await;
        assert!(!spill.join("left").exists());
        run(&session, &format!("{}; COMMIT", rows("t", 25_000, 5000))).await;
        let mut had = Vec::new();
        while had.len() < 3 {
            if let Received::Chunk(chunk) = second.next().await {
                had.push(chunk);
            }
        }
        let had: Vec<Position> = positions(&had);
        assert!(had.len() < 30_000, "the middle of it");
        resume.journaled = had.last().copied();
        second.close().await;
        let mut third = attached(&cluster, &resume, &folder).await;
        let rest = positions(&third.changes(30_000 - had.len()).await);
        let all: Vec<_> = had.into_iter().chain(rest).collect();
        assert!(all.iter().map(|position| position.seq).eq(0..30_000));
        assert!(all.iter().all(|position| position.commit_lsn == all[0].commit_lsn));
    }
}

#[tokio::test]
async fn a_disk_that_takes_no_more_ends_the_attempt_and_loses_nothing() {
    let cluster = eager(15).await;
    let resume = slot(&cluster).await;
    let folder = TempDir::new().unwrap();
    let spill = folder.path().join("spill");
    let mut first = attached(&cluster, &resume, &folder).await;
    std::fs::write(&spill, "in the way").unwrap();
    cluster.execute(&rows("t", 0, 30_000)).await.unwrap();
    let error = first.error().await;
    assert!(matches!(error, Error::Spill { .. }), "{error}");
    assert_eq!(error.ends_run(), None);
    assert!(error.help().unwrap().contains("source.streaming"));
    first.tasks.join_next().await.unwrap().unwrap().unwrap();
    let settings = with(&cluster, Streaming::Auto, &folder);
    let error = attach_with(&settings, &resume, OpenOptions::default()).await.err().unwrap();
    assert!(matches!(error, Error::Spill { .. }), "{error}");
    std::fs::remove_file(&spill).unwrap();
    attached(&cluster, &resume, &folder).await.changes(30_000).await;
}
