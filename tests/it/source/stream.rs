//! What the stream brings, and what is said back.

use std::time::{Duration, Instant};

use walgate::chunk::Operation;
use walgate::demo::cluster::Cluster;
use walgate::relation::Kind;
use walgate::source::{Catalog, Error, OpenOptions, Received, Resume};

use super::{attach, cluster, end_lsn, operations, positions, prepare, until};

#[tokio::test]
async fn changes_arrive_in_order_with_their_places() {
    let cluster = cluster().await;
    let mut attached = attach(&cluster, &Resume::default(), OpenOptions::default()).await.unwrap();
    assert!(attached.opened.created);
    cluster
        .execute(
            "BEGIN; INSERT INTO t VALUES (1, 'a'), (2, 'b'); UPDATE t SET v = 'c' WHERE id = 1;
             SELECT pg_logical_emit_message(true, 'p', 'c'); DELETE FROM t WHERE id = 2; COMMIT;
             TRUNCATE t",
        )
        .await
        .unwrap();
    let chunks = attached.changes(6).await;
    assert_eq!(
        operations(&chunks),
        [
            Operation::Insert,
            Operation::Insert,
            Operation::Update,
            Operation::Message,
            Operation::Delete,
            Operation::Truncate,
        ]
    );
    let positions = positions(&chunks);
    assert_eq!(positions.iter().map(|p| p.seq).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 0]);
    assert!(positions.is_sorted());
    let relation = &chunks[0].relations[0];
    assert_eq!(relation.quoted_name(), "public.t");
    assert_eq!(relation.primary_key, [0]);
    assert_eq!(relation.columns[0].kind, Kind::Integer);
}

/// The message's LSN is where the commit record starts: both had one position, and every sink took
/// the row for done.
#[tokio::test]
async fn a_message_outside_the_transaction_that_wrote_it_has_a_place_of_its_own() {
    let cluster = cluster().await;
    let mut attached = attach(&cluster, &Resume::default(), OpenOptions::default()).await.unwrap();
    let rows = cluster
        .query(
            "BEGIN; INSERT INTO t VALUES (1, 'a');
             SELECT pg_logical_emit_message(false, 'p', 'x')::text; COMMIT",
        )
        .await;
    let told: walgate::lsn::Lsn = rows.unwrap()[0][0].as_ref().unwrap().parse().unwrap();
    let chunks = attached.changes(2).await;
    assert_eq!(operations(&chunks), [Operation::Message, Operation::Insert]);
    let [message, row] = positions(&chunks)[..] else { panic!("{chunks:?}") };
    assert_eq!(row.commit_lsn, told, "this test needs a commit right behind the message");
    assert_eq!((message.commit_lsn.0, message.seq), (told.0 - 1, 0));
    // Once the message is durable, a restart brings the row.
    let mut resume = attached.resume(told);
    resume.journaled = Some(message);
    attached.close().await;
    let mut attached = attach(&cluster, &resume, OpenOptions::default()).await.unwrap();
    assert_eq!(operations(&attached.changes(1).await), [Operation::Insert]);
}

#[tokio::test]
async fn a_restart_at_what_was_received_repeats_nothing() {
    let cluster = cluster().await;
    let mut attached = attach(&cluster, &Resume::default(), OpenOptions::default()).await.unwrap();
    cluster.execute("INSERT INTO t VALUES (1, 'a')").await.unwrap();
    let chunks = attached.changes(1).await;
    // Received and durable here, confirmed only by half: the server would send it again.
    let mut resume = attached.resume(end_lsn(&chunks));
    resume.confirmed = attached.opened.started_at;
    attached.close().await;
    cluster.execute("INSERT INTO t VALUES (2, 'b')").await.unwrap();
    let mut attached = attach(&cluster, &resume, OpenOptions::default()).await.unwrap();
    let again = attached.changes(1).await;
    assert!(super::positions(&again)[0].commit_lsn >= resume.received);
}

#[tokio::test]
async fn a_transaction_that_is_half_in_the_journal_goes_on_where_it_stopped() {
    let cluster = cluster().await;
    let mut attached = attach(&cluster, &Resume::default(), OpenOptions::default()).await.unwrap();
    let started = attached.opened.started_at;
    cluster.execute("INSERT INTO t SELECT n, 'x' FROM generate_series(1, 100) n").await.unwrap();
    let all = positions(&attached.changes(100).await);
    let mut resume = attached.resume(started);
    resume.journaled = Some(all[39]);
    attached.close().await;
    let mut attached = attach(&cluster, &resume, OpenOptions::default()).await.unwrap();
    assert_eq!(positions(&attached.changes(60).await), all[40..]);
}

#[tokio::test]
async fn idle_time_tells_what_may_be_confirmed_and_only_that_is() {
    let cluster = cluster().await;
    let mut attached = attach(&cluster, &Resume::default(), OpenOptions::default()).await.unwrap();
    cluster.execute("INSERT INTO t VALUES (1, 'a')").await.unwrap();
    let end = end_lsn(&attached.changes(1).await);
    let wal_end = loop {
        if let Received::Idle { wal_end } = attached.next().await
            && wal_end >= end
        {
            break wal_end;
        }
    };
    let confirmed = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots";
    assert_eq!(cluster.value(confirmed).await.unwrap(), attached.opened.started_at.to_string());
    attached.confirmer().confirm(wal_end);
    until(&cluster, confirmed, &wal_end.to_string()).await;
    // Above what was received: a mistake that the server would believe.
    attached.confirmer().confirm(walgate::lsn::Lsn(wal_end.0 + (1 << 30)));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let seen: walgate::lsn::Lsn = cluster.value(confirmed).await.unwrap().parse().unwrap();
    assert!(seen.0 < wal_end.0 + (1 << 20), "{seen}");
}

#[tokio::test]
async fn text_is_canonical_whatever_role_and_database_set() {
    let cluster = cluster().await;
    cluster
        .execute(
            "ALTER ROLE postgres SET datestyle = 'German';
             ALTER ROLE postgres SET intervalstyle = 'sql_standard';
             ALTER ROLE postgres SET extra_float_digits = -5;
             ALTER ROLE postgres SET bytea_output = 'escape';
             ALTER DATABASE postgres SET timezone = 'Asia/Tokyo';
             ALTER DATABASE postgres SET client_encoding = 'LATIN1';
             CREATE TABLE x (id int PRIMARY KEY, d date, ts timestamptz, i interval, f float8,
                             b bytea, s text, r regclass);
             ALTER PUBLICATION walgate ADD TABLE x",
        )
        .await
        .unwrap();
    let mut attached = attach(&cluster, &Resume::default(), OpenOptions::default()).await.unwrap();
    cluster
        .execute(
            "INSERT INTO x VALUES (1, '2024-02-03', '2024-02-03 13:05:06.789+00', '1 mon -2 days',
             0.1::float8 + 0.2, '\\x00ff41', 'ä€', 'public.t')",
        )
        .await
        .unwrap();
    let chunks = attached.changes(1).await;
    let frame = chunks[0].frame(&chunks[0].entries[0]);
    for text in [
        "2024-02-03",
        "2024-02-03 13:05:06.789+00",
        "P1M-2D",
        "0.30000000000000004",
        "\\x00ff41",
        "ä€",
        "public.t",
    ] {
        let found = frame.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(found, "{text} in {}", String::from_utf8_lossy(frame));
    }
}

#[tokio::test]
async fn made_up_types_are_known_by_what_they_are_made_of() {
    let cluster = cluster().await;
    cluster
        .execute(
            "CREATE TYPE mood AS ENUM ('a'); CREATE DOMAIN amount AS numeric(10, 2);
             CREATE TYPE pair AS (n amount, m mood[]);
             CREATE TABLE x (b mood, a amount, c pair[], d box[], e int2vector,
                             PRIMARY KEY (a, b));
             ALTER PUBLICATION walgate ADD TABLE x",
        )
        .await
        .unwrap();
    let mut attached = attach(&cluster, &Resume::default(), OpenOptions::default()).await.unwrap();
    cluster.execute("INSERT INTO x (a, b) VALUES (1, 'a')").await.unwrap();
    let chunks = attached.changes(1).await;
    let relation = &chunks[0].relations[0];
    let array = |element, delimiter| Kind::Array { element: Box::new(element), delimiter };
    let pair = Kind::Composite {
        fields: vec![("n".to_owned(), Kind::Numeric), ("m".to_owned(), array(Kind::Text, b','))],
    };
    let kinds: Vec<_> = relation.columns.iter().map(|column| column.kind.clone()).collect();
    let expected =
        [Kind::Text, Kind::Numeric, array(pair, b','), array(Kind::Text, b';'), Kind::Text];
    assert_eq!(kinds, expected);
    assert_eq!(relation.primary_key, [1, 0], "the key's own order");
}

/// The server does not describe a table anew when a type in it is altered: the third field's value
/// came under the second one's name.
#[tokio::test]
async fn a_composite_type_that_is_altered_is_soon_known_as_it_is() {
    let cluster = cluster().await;
    cluster
        .execute(
            "CREATE TYPE pair AS (a int, b text); CREATE TABLE x (id int, p pair[]);
             ALTER PUBLICATION walgate ADD TABLE x",
        )
        .await
        .unwrap();
    let mut attached = attach(&cluster, &Resume::default(), OpenOptions::default()).await.unwrap();
    for (alter, expected) in [
        ("", vec!["a", "b"]),
        ("ALTER TYPE pair ADD ATTRIBUTE c int", vec!["a", "b", "c"]),
        ("ALTER TYPE pair RENAME ATTRIBUTE a TO id", vec!["id", "b", "c"]),
        ("ALTER TYPE pair DROP ATTRIBUTE b", vec!["id", "c"]),
    ] {
        cluster.execute(alter).await.unwrap();
        let started = Instant::now();
        loop {
            cluster.execute("INSERT INTO x VALUES (1, NULL)").await.unwrap();
            let chunks = attached.changes(1).await;
            let kind = &chunks[0].relations[0].columns[1].kind;
            let Kind::Array { element, .. } = kind else { panic!("{kind:?}") };
            let Kind::Composite { fields } = element.as_ref() else { panic!("{kind:?}") };
            if fields.iter().map(|(name, _)| name.as_str()).eq(expected.iter().copied()) {
                break;
            }
            assert!(started.elapsed() < Duration::from_secs(10), "{alter}: {kind:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn the_server_is_answered_while_nobody_reads() {
    let builder = Cluster::builder().setting("wal_sender_timeout", "1s");
    let cluster = prepare(builder.start().await.unwrap()).await;
    let mut attached = attach(&cluster, &Resume::default(), OpenOptions::default()).await.unwrap();
    // More than socket buffers hold, so that the walsender is stuck in the middle of it.
    let sql = "INSERT INTO t SELECT n, repeat(md5(n::text), 100) FROM generate_series(1, 9000) n";
    cluster.execute(sql).await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    attached.changes(9000).await;
    assert!(!cluster.log().contains("terminating walsender process due to replication timeout"));
}

#[tokio::test]
async fn a_fast_stop_of_the_server_does_not_hang_on_what_is_undone() {
    let mut cluster = cluster().await;
    let mut attached = attach(&cluster, &Resume::default(), OpenOptions::default()).await.unwrap();
    cluster.execute("INSERT INTO t VALUES (1, 'a')").await.unwrap();
    attached.changes(1).await;
    let since = Instant::now();
    let fast = walgate::demo::cluster::Stop::Fast;
    let stop = cluster.stop(fast, Duration::from_secs(30));
    let (stopped, error) = tokio::join!(stop, attached.error());
    stopped.unwrap();
    assert!(matches!(error, Error::ServerStopping), "{error}");
    assert!(error.ends_run().is_none());
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    attached.tasks.join_next().await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn what_is_confirmed_in_time_lets_the_server_stop_at_once() {
    let mut cluster = cluster().await;
    let mut attached = attach(&cluster, &Resume::default(), OpenOptions::default()).await.unwrap();
    cluster.execute("INSERT INTO t VALUES (1, 'a')").await.unwrap();
    attached.changes(1).await;
    let confirmer = attached.confirmer().clone();
    let since = Instant::now();
    let fast = walgate::demo::cluster::Stop::Fast;
    let stop = cluster.stop(fast, Duration::from_secs(30));
    let reading = async {
        loop {
            match attached.reader.next().await {
                Ok(Received::Idle { wal_end }) => confirmer.confirm(wal_end),
                Ok(Received::Chunk(_)) => {}
                Err(error) => return error,
            }
        }
    };
    let (stopped, error) = tokio::join!(stop, reading);
    stopped.unwrap();
    assert!(error.ends_run().is_none(), "{error}");
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
}

#[tokio::test]
async fn a_heartbeat_goes_the_whole_road() {
    let cluster = cluster().await;
    let mut attached = attach(&cluster, &Resume::default(), OpenOptions::default()).await.unwrap();
    let mut catalog = Catalog::connect(&cluster.url("postgres", "postgres")).await.unwrap();
    catalog.heartbeat("nonce").await.unwrap();
    assert_eq!(operations(&attached.changes(1).await), [Operation::Message]);
}

#[tokio::test]
async fn a_sample_that_takes_too_long_is_given_up() {
    let cluster = cluster().await;
    cluster.execute("INSERT INTO t VALUES (1, 'a')").await.unwrap();
    let mut catalog = Catalog::connect(&cluster.url("postgres", "postgres")).await.unwrap();
    let tables = catalog.tables(None).await.unwrap();
    let table = tables.iter().find(|table| table.name == "t").unwrap();
    let relation = catalog.relation(table, |_| true).await.unwrap();
    let slow = catalog.sample(&relation, Some("pg_sleep(60) IS NOT NULL"), 1).await;
    assert_eq!(slow.unwrap_err().code(), Some("57014"));
    // The session is good for what comes next.
    assert_eq!(catalog.sample(&relation, None, 1).await.unwrap().len(), 1);
}
