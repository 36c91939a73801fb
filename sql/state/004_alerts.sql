-- What was wrong, from when to when. The newest are kept, see `alert::store`.
CREATE TABLE incidents (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    -- The alert's name, and what it is about (`when`).
    alert        TEXT NOT NULL,
    what         TEXT NOT NULL,
    subject      TEXT NOT NULL CHECK (subject IN ('source', 'sink')),
    -- The sink's name; empty for the source.
    name         TEXT NOT NULL DEFAULT '',
    began        INTEGER NOT NULL,
    -- NULL: it is firing.
    ended        INTEGER,
    -- When something was last told of it, and how often that was.
    told         INTEGER NOT NULL,
    tellings     INTEGER NOT NULL DEFAULT 1,
    message      TEXT NOT NULL,
    -- The worst value so far, in the alert's own unit.
    worst        REAL NOT NULL
) STRICT;
CREATE INDEX incidents_open ON incidents (alert, what, subject, name) WHERE ended IS NULL;

-- Notices that have not arrived yet, by destination: stored with what they tell, gone once they
-- have arrived or were given up.
CREATE TABLE notices (
    incident     INTEGER NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
    -- The sink that they go to.
    destination  TEXT NOT NULL,
    -- The how-manieth of the incident.
    number       INTEGER NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('firing', 'resolved')),
    message      TEXT NOT NULL,
    -- Why it could not be sent last; NULL: nobody has tried.
    failed       TEXT,
    PRIMARY KEY (incident, destination, number)
) STRICT, WITHOUT ROWID;
