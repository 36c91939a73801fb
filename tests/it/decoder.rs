//! Our decoder against another one (the crate `pg_walstream`), on the same bytes.

use pg_walstream::protocol::{
    ColumnData, LogicalReplicationMessage as Theirs, LogicalReplicationParser, TupleData,
};
use walgate::change::{Cell, Images};
use walgate::demo::cluster::{Cluster, Installation, Session};
use walgate::lsn::{Lsn, Oid, Timestamp, Xid};
use walgate::pgoutput::{self, Message, Tuple, build};
use walgate::relation::ReplicaIdentity;

/// Statements that bring every kind of message, and rows in every state.
const STATEMENTS: &str = r"
    CREATE TYPE mood AS ENUM ('so so', 'happy');
    CREATE DOMAIN cents AS numeric(12,2);
    CREATE TABLE plain (id int PRIMARY KEY, name text, mood mood, price cents);
    INSERT INTO plain VALUES (1, 'a', 'happy', 1.5), (2, '', NULL, NULL);
    UPDATE plain SET name = 'b' WHERE id = 1;
    UPDATE plain SET id = 10 WHERE id = 1;
    DELETE FROM plain WHERE id = 2;
    CREATE TABLE toasted (id int PRIMARY KEY, big text);
    ALTER TABLE toasted ALTER big SET STORAGE EXTERNAL;
    INSERT INTO toasted VALUES (1, repeat('x', 100000));
    UPDATE toasted SET id = 2;
    ALTER TABLE toasted REPLICA IDENTITY FULL;
    UPDATE toasted SET id = 3;
    DELETE FROM toasted;
    CREATE TABLE by_index (a int NOT NULL, b text NOT NULL, c text, PRIMARY KEY (a));
    CREATE UNIQUE INDEX by_b ON by_index (b);
    ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_b;
    INSERT INTO by_index VALUES (1, 'x', 'y');
    UPDATE by_index SET b = 'z';
    DELETE FROM by_index;
    CREATE TABLE bare ();
    INSERT INTO bare DEFAULT VALUES;
    CREATE TABLE keyless (v int); ALTER TABLE keyless REPLICA IDENTITY NOTHING;
    INSERT INTO keyless VALUES (1), (NULL);
    TRUNCATE plain;
    TRUNCATE plain, keyless RESTART IDENTITY CASCADE;
    SELECT pg_logical_emit_message(true, 'prefix', 'content');
    SELECT pg_logical_emit_message(false, '', decode('00ff', 'hex'));
    BEGIN; INSERT INTO plain VALUES (3); SAVEPOINT s; INSERT INTO plain VALUES (4);
    ROLLBACK TO s; INSERT INTO plain VALUES (5); COMMIT;
    BEGIN; INSERT INTO plain VALUES (6); ROLLBACK;
    BEGIN; ALTER TABLE plain ADD COLUMN added int DEFAULT 7;
    INSERT INTO plain VALUES (7); ALTER TABLE plain DROP COLUMN name;
    INSERT INTO plain VALUES (8); COMMIT;
    SELECT pg_replication_origin_create('elsewhere');
    SELECT pg_replication_origin_session_setup('elsewhere');
    BEGIN; SELECT pg_replication_origin_xact_setup('0/12345', now());
    INSERT INTO plain VALUES (9); COMMIT;
    SELECT pg_replication_origin_session_reset();
    BEGIN; INSERT INTO plain VALUES (20); PREPARE TRANSACTION 'kept';
    COMMIT PREPARED 'kept';
    BEGIN; INSERT INTO plain VALUES (21); PREPARE TRANSACTION 'gone';
    ROLLBACK PREPARED 'gone';
";

/// Every kind of message that these bring.
const KINDS: &str = "BCDIKMOPRTUYbr";

#[tokio::test]
async fn another_decoder_reads_the_same_in_what_real_servers_send() {
    let mut majors: Vec<_> = Installation::all().iter().map(|one| one.major).collect();
    majors.sort_unstable();
    majors.dedup();
    for major in majors {
        let cluster = Cluster::builder().major(major).start().await.unwrap();
        let session = cluster.connect("postgres").await.unwrap();
        let frames = capture(&session).await;
        // Its plugin knows no prepared transactions.
        let unknown: &[_] = if major < 15 { &['K', 'P', 'b', 'r'] } else { &[] };
        let expected: String = KINDS.chars().filter(|kind| !unknown.contains(kind)).collect();
        let mut kinds: Vec<u8> = frames.iter().map(|frame| frame[0]).collect();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(String::from_utf8(kinds).unwrap(), expected, "PostgreSQL {major}");
        for frame in &frames {
            check(frame);
        }
    }
}

/// Statements of a transaction that is streamed, and that undoes a part of it, then of one that is
/// undone as a whole and one that is prepared.
const STREAMED: &str = r"
    CREATE TYPE mood AS ENUM ('happy'); CREATE TABLE plain (id int PRIMARY KEY, name text, m mood);
    BEGIN; INSERT INTO plain SELECT g, repeat('x', 1000) FROM generate_series(1, 200) g;
    UPDATE plain SET name = 'y' WHERE id < 100; DELETE FROM plain WHERE id > 100;
    SELECT pg_logical_emit_message(true, 'prefix', 'content');
    SAVEPOINT s; INSERT INTO plain SELECT g, repeat('x', 1000) FROM generate_series(1001, 1200) g;
    ROLLBACK TO s; TRUNCATE plain;
    INSERT INTO plain SELECT g, repeat('x', 1000) FROM generate_series(1, 200) g; COMMIT;
    BEGIN; INSERT INTO plain SELECT g, repeat('x', 1000) FROM generate_series(2001, 2400) g;
    PREPARE TRANSACTION 'g'; COMMIT PREPARED 'g'
";

#[tokio::test]
async fn another_decoder_reads_the_same_in_what_comes_while_it_is_open() {
    for (major, options, version, kinds) in [
        (15, "'proto_version', '3', 'streaming', 'on'", 3, "ADEIKMRSTUYcp"),
        (18, "'proto_version', '4', 'streaming', 'parallel'", 4, "ADEIKMRSTUYcp"),
    ] {
        let builder = Cluster::builder().major(major).setting("logical_decoding_work_mem", "64kB");
        let builder = builder.setting("max_prepared_transactions", "5");
        let cluster = builder.start().await.unwrap();
        let session = cluster.connect("postgres").await.unwrap();
        let mut seen: Vec<u8> = Vec::new();
        let mut parser = LogicalReplicationParser::with_protocol_version(version);
        let mut within = false;
        for frame in read(&session, STREAMED, options).await {
            let theirs = parser.parse_wal_message(&frame).unwrap();
            if within && frame[0] != b'E' {
                let (xid, ours) = pgoutput::parse_part(&frame).unwrap();
                assert_eq!(Some(xid.0), theirs.xid);
                assert!(same(&ours, &theirs.message), "ours {ours:?}, theirs {theirs:?}");
            } else {
                let ours = pgoutput::parse(&frame).unwrap();
                assert!(same(&ours, &theirs.message), "ours {ours:?}, theirs {theirs:?}");
                within = matches!(ours, Message::StreamStart(_));
            }
            seen.push(frame[0]);
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(String::from_utf8(seen).unwrap(), kinds, "PostgreSQL {major}");
    }
}

/// Runs the statements one by one and returns what the server's plugin makes of them. The slot
/// is one of two phases: it sends prepared transactions to any client.
async fn capture(session: &Session) -> Vec<Vec<u8>> {
    read(session, STATEMENTS, "'proto_version', '1'").await
}

async fn read(session: &Session, statements: &str, options: &str) -> Vec<Vec<u8>> {
    session.batch_execute("CREATE PUBLICATION walgate FOR ALL TABLES").await.unwrap();
    let slot = "SELECT pg_create_logical_replication_slot('walgate', 'pgoutput', false, true)";
    session.batch_execute(slot).await.unwrap();
    for statement in statements.split(';') {
        session.batch_execute(statement).await.unwrap();
    }
    let read = format!(
        "SELECT data FROM pg_logical_slot_get_binary_changes('walgate', NULL, NULL,
         {options}, 'publication_names', 'walgate', 'messages', 'true')"
    );
    let rows = session.query(&read, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn another_decoder_reads_the_same_in_what_is_built() {
    let row = [Cell::Value(b"1"), Cell::Null, Cell::Unchanged, Cell::Value(b"")];
    let (mut insert, mut update, mut delete) = (Vec::new(), Vec::new(), Vec::new());
    let (mut truncate, mut message) = (Vec::new(), Vec::new());
    build::insert(Oid(9), &row, &mut insert).unwrap();
    build::update(Oid(9), Some(build::Old::Key(&row)), &row, &mut update).unwrap();
    build::delete(Oid(9), build::Old::Full(&row), &mut delete).unwrap();
    build::truncate(&[Oid(9), Oid(10)], true, false, &mut truncate).unwrap();
    build::message(true, Lsn(3), "prefix", b"\0\xff", &mut message).unwrap();
    let stream_prepare = [&b"p\0"[..], &[1; 24], &[0, 0, 0, 9], b"gid\0"].concat();
    for frame in [insert, update, delete, truncate, message, stream_prepare] {
        check(&frame);
    }
}

/// Reads a frame both ways and compares field by field.
#[track_caller]
fn check(frame: &[u8]) {
    let ours = pgoutput::parse(frame).unwrap();
    let theirs = LogicalReplicationParser::with_protocol_version(1)
        .parse_wal_message(frame)
        .unwrap()
        .message;
    assert!(same(&ours, &theirs), "ours {ours:?}, theirs {theirs:?}");
    if matches!(ours, Message::Insert(_) | Message::Update(_) | Message::Delete(_)) {
        check_images(frame, &ours);
    }
}

/// The fast path finds what the whole decoder finds.
#[track_caller]
fn check_images(frame: &[u8], message: &Message<'_>) {
    let (old, new) = match message {
        Message::Insert(insert) => (None, Some(insert.new)),
        Message::Update(update) => (update.key.or(update.old), Some(update.new)),
        Message::Delete(delete) => (delete.key.or(delete.old), None),
        other => unreachable!("{other:?} has no rows"),
    };
    let mut images = Images::default();
    pgoutput::images(frame, &mut images).unwrap();
    for (image, tuple) in [(&images.old, old), (&images.new, new)] {
        assert_eq!(image.present, tuple.is_some());
        let cells = tuple.into_iter().flat_map(Tuple::cells);
        assert!(cells.eq((0..image.slots.len()).map(|index| image.cell(frame, index))));
    }
}

fn same(ours: &Message<'_>, theirs: &Theirs) -> bool {
    match (ours, theirs) {
        (Message::Begin(b), Theirs::Begin { final_lsn, timestamp, xid }) => {
            (b.commit_lsn, b.commit_time, b.xid)
                == (Lsn(*final_lsn), Timestamp(*timestamp), Xid(*xid))
        }
        (Message::Commit(c), Theirs::Commit { commit_lsn, end_lsn, timestamp, .. }) => {
            (c.commit_lsn, c.end_lsn, c.commit_time)
                == (Lsn(*commit_lsn), Lsn(*end_lsn), Timestamp(*timestamp))
        }
        (Message::Origin(o), Theirs::Origin { origin_lsn, origin_name }) => {
            (o.lsn, o.name) == (Lsn(*origin_lsn), origin_name.as_str())
        }
        (Message::Type(t), Theirs::Type { type_id, namespace, type_name }) => {
            (t.oid, t.namespace, t.name) == (Oid(*type_id), named(namespace), type_name.as_str())
        }
        (Message::Relation(_), Theirs::Relation { .. }) => same_relation(ours, theirs),
        (Message::Truncate(t), Theirs::Truncate { relation_ids, flags }) => {
            t.relations.iter().map(|oid| oid.0).eq(relation_ids.iter().copied())
                && *flags == u8::from(t.cascade) | (u8::from(t.restart_identity) << 1)
        }
        (Message::Logical(m), Theirs::Message { flags, lsn, prefix, content }) => {
            (u8::from(m.transactional), m.lsn, m.prefix, m.content)
                == (*flags, Lsn(*lsn), prefix.as_str(), &content[..])
        }
        (Message::Insert(i), Theirs::Insert { relation_id, tuple }) => {
            i.relation.0 == *relation_id && same_row(i.new, tuple)
        }
        (Message::Update(u), Theirs::Update { relation_id, old_tuple, new_tuple, key_type }) => {
            let old = match key_type {
                Some('K') => u.key,
                Some(_) => u.old,
                None => None,
            };
            u.relation.0 == *relation_id
                && same_row(u.new, new_tuple)
                && match (old, old_tuple) {
                    (Some(old), Some(old_tuple)) => same_row(old, old_tuple),
                    (None, None) => u.key.is_none() && u.old.is_none(),
                    _ => false,
                }
        }
        (Message::Delete(d), Theirs::Delete { relation_id, old_tuple, key_type }) => {
            let old = if *key_type == 'K' { d.key } else { d.old };
            d.relation.0 == *relation_id && old.is_some_and(|old| same_row(old, old_tuple))
        }
        _ => same_streamed(ours, theirs) || same_prepared(ours, theirs),
    }
}

fn same_streamed(ours: &Message<'_>, theirs: &Theirs) -> bool {
    match (ours, theirs) {
        (Message::StreamStart(s), Theirs::StreamStart { xid, first_segment }) => {
            (s.xid, s.is_first) == (Xid(*xid), *first_segment)
        }
        (Message::StreamStop, Theirs::StreamStop) => true,
        (
            Message::StreamCommit(c),
            Theirs::StreamCommit { xid, commit_lsn, end_lsn, timestamp, .. },
        ) => {
            (c.xid, c.commit_lsn, c.end_lsn, c.commit_time)
                == (Xid(*xid), Lsn(*commit_lsn), Lsn(*end_lsn), Timestamp(*timestamp))
        }
        (
            Message::StreamAbort(a),
            Theirs::StreamAbort { xid, subtransaction_xid, abort_lsn, abort_timestamp },
        ) => {
            (a.xid, a.subxid) == (Xid(*xid), Xid(*subtransaction_xid))
                && a.abort.map(|(lsn, _)| lsn.0) == *abort_lsn
                && a.abort.map(|(_, time)| time.0) == *abort_timestamp
        }
        _ => false,
    }
}

fn same_relation(ours: &Message<'_>, theirs: &Theirs) -> bool {
    let (
        Message::Relation(r),
        Theirs::Relation { relation_id, namespace, relation_name, replica_identity, columns },
    ) = (ours, theirs)
    else {
        return false;
    };
    let identity = match replica_identity {
        b'd' => ReplicaIdentity::Default,
        b'n' => ReplicaIdentity::Nothing,
        b'f' => ReplicaIdentity::Full,
        _ => ReplicaIdentity::Index,
    };
    let same_columns = r.columns.len() == columns.len()
        && r.columns.iter().zip(columns).all(|(ours, theirs)| {
            ours.name == &*theirs.name
                && ours.type_oid.0 == theirs.type_id
                && ours.type_modifier == theirs.type_modifier
                && ours.in_identity == theirs.is_key()
        });
    (r.oid.0, r.namespace, r.name, r.identity)
        == (*relation_id, named(namespace), &**relation_name, identity)
        && same_columns
}

fn same_prepared(ours: &Message<'_>, theirs: &Theirs) -> bool {
    match (ours, theirs) {
        (
            Message::BeginPrepare(b),
            Theirs::BeginPrepare { prepare_lsn, end_lsn, timestamp, xid, gid },
        ) => {
            (b.prepare_lsn.0, b.end_lsn.0, b.prepare_time.0, b.xid.0, b.gid)
                == (*prepare_lsn, *end_lsn, *timestamp, *xid, gid.as_str())
        }
        (
            Message::Prepare(p),
            Theirs::Prepare { prepare_lsn, end_lsn, timestamp, xid, gid, .. },
        )
        | (
            Message::StreamPrepare(p),
            Theirs::StreamPrepare { prepare_lsn, end_lsn, timestamp, xid, gid, .. },
        ) => {
            (p.prepare_lsn.0, p.end_lsn.0, p.prepare_time.0, p.xid.0, p.gid)
                == (*prepare_lsn, *end_lsn, *timestamp, *xid, gid.as_str())
        }
        (
            Message::CommitPrepared(c),
            Theirs::CommitPrepared { commit_lsn, end_lsn, timestamp, xid, gid, .. },
        ) => {
            (c.commit_lsn.0, c.end_lsn.0, c.commit_time.0, c.xid.0, c.gid)
                == (*commit_lsn, *end_lsn, *timestamp, *xid, gid.as_str())
        }
        (
            Message::RollbackPrepared(r),
            Theirs::RollbackPrepared {
                prepare_end_lsn,
                rollback_end_lsn,
                prepare_timestamp,
                rollback_timestamp,
                xid,
                gid,
                ..
            },
        ) => {
            (r.prepare_end_lsn.0, r.rollback_end_lsn.0) == (*prepare_end_lsn, *rollback_end_lsn)
                && (r.prepare_time.0, r.rollback_time.0)
                    == (*prepare_timestamp, *rollback_timestamp)
                && (r.xid.0, r.gid) == (*xid, gid.as_str())
        }
        _ => false,
    }
}

fn same_row(ours: Tuple<'_>, theirs: &TupleData) -> bool {
    let cell = |column: &ColumnData, ours: Cell<'_>| match ours {
        Cell::Value(text) => column.is_text() && column.as_bytes() == text,
        Cell::Null => column.is_null(),
        Cell::Unchanged => column.is_unchanged(),
        Cell::Absent => false,
    };
    usize::from(ours.columns()) == theirs.column_count()
        && ours.cells().zip(&theirs.columns).all(|(ours, theirs)| cell(theirs, ours))
}

/// Theirs leaves the empty name as it is on the wire.
fn named(namespace: &str) -> &str {
    if namespace.is_empty() { "pg_catalog" } else { namespace }
}
