-- LSNs are 64 bits; SQLite's integers are too, but signed. They are stored bit for bit, so order
-- holds for every LSN below 8000000/00000000 (8 EiB of write-ahead log). Times are microseconds
-- since 1970-01-01T00:00:00Z. Positions are exclusive where a column says `end` or `floor`.

-- Whose state this is, and how far the stream has come. One row.
CREATE TABLE meta (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    system_id    TEXT,
    timeline     INTEGER,
    -- Where that timeline left the one before; 0 for the first. Two servers may give their own the
    -- same number.
    began        INTEGER NOT NULL DEFAULT 0,
    -- When the server was started, as it says: while it is the same, its log only ever grew.
    started      TEXT NOT NULL DEFAULT '',
    database     TEXT,
    slot         TEXT,
    -- The end of the last whole transaction that is durable in the journal.
    received     INTEGER NOT NULL DEFAULT 0,
    -- What the slot was told last, stored before it was told.
    confirmed    INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO meta (one) VALUES (1);

-- Stored before a slot is made and gone once meta knows it, so that a slot that was made while
-- nobody was left to remember it is known as ours. At most one row.
CREATE TABLE slot_intent (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    system_id    TEXT NOT NULL,
    database     TEXT NOT NULL,
    slot         TEXT NOT NULL,
    -- Where the server's log ended while there was no such slot.
    lsn          INTEGER NOT NULL
) STRICT;

-- How far each sink has come.
CREATE TABLE progress (
    sink         TEXT PRIMARY KEY,
    -- The lowest position not known to be done.
    floor_lsn    INTEGER NOT NULL,
    floor_seq    INTEGER NOT NULL,
    -- Finished ranges above the floor: 24 bytes each, start and end (exclusive), big-endian.
    ranges       BLOB NOT NULL DEFAULT x'',
    delivered    INTEGER NOT NULL DEFAULT 0,
    skipped      INTEGER NOT NULL DEFAULT 0,
    -- The commit time of the newest change known to be done there.
    newest_done  INTEGER,
    -- What a person or the breaker decided about it, and why (paused, halted, gap); NULL: nothing.
    halted       TEXT,
    updated_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The journal's index. A row covers a run of records in a segment, about 1 MiB of them: a row a
-- record would cost more than the records where chunks are small.
CREATE TABLE chunks (
    segment      INTEGER NOT NULL,
    "offset"     INTEGER NOT NULL,
    length       INTEGER NOT NULL,
    records      INTEGER NOT NULL,
    -- The first change, and the position behind the last.
    first_lsn    INTEGER NOT NULL,
    first_seq    INTEGER NOT NULL,
    end_lsn      INTEGER NOT NULL,
    end_seq      INTEGER NOT NULL,
    -- Commit times, and when the last record was written.
    oldest       INTEGER,
    newest       INTEGER,
    written_at   INTEGER NOT NULL,
    -- The oids of the tables in it, 4 bytes each, big-endian, rising.
    relations    BLOB NOT NULL,
    PRIMARY KEY (segment, "offset")
) STRICT, WITHOUT ROWID;
CREATE INDEX chunks_end ON chunks (end_lsn, end_seq);

-- Events set aside. `original` is a journal record holding just this change.
CREATE TABLE dead_letters (
    id              INTEGER PRIMARY KEY,
    event_id        TEXT NOT NULL,
    sink            TEXT NOT NULL,
    route           TEXT NOT NULL,
    "table"         TEXT,
    "key"           TEXT,
    key_hash        INTEGER,
    -- Only where the change moved the row to another key.
    before_key_hash INTEGER,
    op              TEXT NOT NULL,
    commit_lsn      INTEGER NOT NULL,
    seq             INTEGER NOT NULL,
    -- NULL while `blocked`: the event is then read from the journal, which keeps it.
    original        BLOB,
    payload         BLOB,
    mapping_name    TEXT,
    mapping_version INTEGER,
    mapping_hash    TEXT,
    category        TEXT,
    message         TEXT,
    status          INTEGER,
    answer          TEXT,
    attempts        INTEGER NOT NULL DEFAULT 0,
    first_failed    INTEGER,
    last_failed     INTEGER,
    next_attempt    INTEGER,
    state           TEXT NOT NULL
        CHECK (state IN ('retrying', 'blocked', 'dead', 'replaying', 'discarded', 'delivered')),
    -- Why it was discarded, or why it was not sent again.
    reason          TEXT,
    -- Its sink or route was forgotten with it: should that begin anew, this is an event like others.
    forgotten       INTEGER NOT NULL DEFAULT 0,
    -- A change of the same key that the sink took after this one; its own place where there may be
    -- one, as it was sent again out of the journal; NULL: none.
    newer_lsn       INTEGER,
    newer_seq       INTEGER,
    -- How often a person had it sent again, and by which request last.
    replays         INTEGER NOT NULL DEFAULT 0,
    request         INTEGER,
    -- The mapping that a replay is to use: NULL today's, 0 the one it had, else that version.
    replay_mapping  INTEGER,
    -- Whether it is sent though the sink has something newer.
    forced          INTEGER NOT NULL DEFAULT 0,
    UNIQUE (sink, route, commit_lsn, seq, event_id)
) STRICT;
CREATE INDEX dead_letters_state ON dead_letters (sink, state, commit_lsn, seq);
-- For those who count them, again and again.
CREATE INDEX dead_letters_count ON dead_letters (state, sink, category);
CREATE INDEX dead_letters_key ON dead_letters (sink, key_hash, commit_lsn, seq);
CREATE INDEX dead_letters_old_key ON dead_letters (sink, before_key_hash, commit_lsn, seq)
    WHERE before_key_hash IS NOT NULL;
-- Keys whose later changes have to be noted.
CREATE INDEX dead_letters_newest ON dead_letters (sink, key_hash, before_key_hash)
    WHERE state IN ('dead', 'replaying') AND newer_lsn IS NULL AND "key" <> 'null';
CREATE INDEX dead_letters_request ON dead_letters (request) WHERE request IS NOT NULL;

CREATE TABLE tries (
    dead_letter  INTEGER NOT NULL REFERENCES dead_letters (id) ON DELETE CASCADE,
    time         INTEGER NOT NULL,
    category     TEXT,
    status       INTEGER,
    answer       TEXT
) STRICT;
CREATE INDEX tries_dead_letter ON tries (dead_letter, time);

-- What was acknowledged, per batch; pruned with the journal. Where requests are many, neighbours
-- of a lane share a row. An event whose key has the hash h went through lane h % lanes: its row is
-- the one of that lane with first <= position <= last. One that had been set aside has a row of
-- its own, without a lane, which goes before.
CREATE TABLE batches (
    id           INTEGER PRIMARY KEY,
    sink         TEXT NOT NULL,
    lane         INTEGER,
    lanes        INTEGER NOT NULL,
    first_lsn    INTEGER NOT NULL,
    first_seq    INTEGER NOT NULL,
    last_lsn     INTEGER NOT NULL,
    last_seq     INTEGER NOT NULL,
    count        INTEGER NOT NULL,
    requests     INTEGER NOT NULL,
    -- The routes in it, each with name and version of its mapping, as JSON.
    mappings     TEXT NOT NULL,
    -- How often these events were sent.
    attempts     INTEGER NOT NULL,
    -- Which replay it was; 0: none.
    replay       INTEGER NOT NULL,
    started_at   INTEGER NOT NULL,
    -- From then to the last answer.
    took_us      INTEGER NOT NULL
) STRICT;
CREATE INDEX batches_event ON batches (sink, lanes, lane, last_lsn, last_seq);
CREATE INDEX batches_last ON batches (last_lsn, last_seq);

-- Every version of a mapping that ran, so that the same number with other fields is noticed.
CREATE TABLE mappings (
    name         TEXT NOT NULL,
    version      INTEGER NOT NULL,
    hash         TEXT NOT NULL,
    body         TEXT NOT NULL,
    first_seen   INTEGER NOT NULL,
    PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;

-- Sinks and routes that ran: one that the config no longer names is asked about, not forgotten.
CREATE TABLE known (
    kind         TEXT NOT NULL CHECK (kind IN ('sink', 'route')),
    name         TEXT NOT NULL,
    detail       TEXT NOT NULL DEFAULT '',
    first_seen   INTEGER NOT NULL,
    -- Why a person holds the route; NULL: nobody does.
    held         TEXT,
    -- The route begins with the rows that are there, and its tables are not among the loads yet.
    to_load      INTEGER NOT NULL DEFAULT 0,
    -- What it was called before, as JSON: pieces of loads in the journal may name it so.
    formerly     TEXT NOT NULL DEFAULT '[]',
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

-- By which name each table was first known: routes go by that while nobody else has it.
CREATE TABLE tables (
    oid          INTEGER PRIMARY KEY,
    namespace    TEXT NOT NULL,
    name         TEXT NOT NULL,
    -- What it is called by now.
    now_in       TEXT NOT NULL,
    now          TEXT NOT NULL
) STRICT;

-- In which file each published table lay when it was last looked at.
CREATE TABLE files (
    oid          INTEGER PRIMARY KEY,
    -- The file, and the version of each column, as JSON.
    seen         TEXT NOT NULL,
    -- When its rows were found to have been written anew; NULL: nobody has to do anything.
    rewritten_at INTEGER
) STRICT;

-- The shapes of tables that a person knows of, for routes that are held when one changes.
CREATE TABLE shapes (
    route        TEXT NOT NULL,
    -- The table's oid: it survives a rename.
    relation     INTEGER NOT NULL,
    -- Its columns and key, as JSON.
    shape        TEXT NOT NULL,
    PRIMARY KEY (route, relation)
) STRICT, WITHOUT ROWID;

-- Initial loads and backfills with their cursor.
CREATE TABLE loads (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    -- As SQL would quote it.
    "table"        TEXT NOT NULL,
    -- Its oid, which survives a rename; NULL until it was found.
    relation       INTEGER,
    -- The one sink that it was asked for; NULL: every sink that wants the table.
    sink           TEXT,
    -- The names of the routes that it is for, as JSON.
    routes         TEXT NOT NULL,
    -- A condition in SQL that rows have to meet; NULL: none.
    "where"        TEXT,
    -- Keys that the journal has and the table has not are deleted at its end.
    sweep          INTEGER NOT NULL DEFAULT 0,
    state          TEXT NOT NULL
        CHECK (state IN ('running', 'paused', 'done', 'cancelled', 'failed')),
    -- Why it does not go on.
    reason         TEXT,
    -- Where the next piece begins, as JSON; NULL: with the first row.
    "cursor"       TEXT,
    rows           INTEGER NOT NULL DEFAULT 0,
    total_estimate INTEGER,
    started_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL
) STRICT;
CREATE INDEX loads_state ON loads (state, id);

-- Pieces of loads that have their place in the stream and may not be in the journal for good yet:
-- should the stream bring that place again, they come again, row by row the same.
CREATE TABLE pieces (
    commit_lsn     INTEGER PRIMARY KEY,
    -- The end of the watermark's transaction.
    end_lsn        INTEGER NOT NULL,
    load           INTEGER NOT NULL,
    -- Where the load was before, should the place never come: its cursor, and the rows of the piece.
    "before"       TEXT,
    rows           INTEGER NOT NULL,
    -- Journal records, end to end.
    records        BLOB NOT NULL
) STRICT;

-- What the command line asks of a running instance, as JSON, and what came of it.
CREATE TABLE requests (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    asked_at     INTEGER NOT NULL,
    arguments    TEXT NOT NULL,
    state        TEXT NOT NULL DEFAULT 'asked'
        CHECK (state IN ('asked', 'taken', 'done', 'failed')),
    -- While it is taken: how far it is.
    answer       TEXT,
    answered_at  INTEGER
) STRICT;
CREATE INDEX requests_state ON requests (state, id);

-- Figures for charts, bounded.
CREATE TABLE history (
    time         INTEGER NOT NULL,
    name         TEXT NOT NULL,
    sink         TEXT NOT NULL DEFAULT '',
    value        REAL NOT NULL,
    PRIMARY KEY (name, sink, time)
) STRICT, WITHOUT ROWID;

-- What a running instance says of itself for `status`, as one JSON document; one row.
CREATE TABLE report (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    time         INTEGER NOT NULL,
    body         TEXT NOT NULL
) STRICT;
