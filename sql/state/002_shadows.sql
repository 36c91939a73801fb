-- What the next version of a mapping would have done otherwise, beside the present one. Gone once
-- the mapping has no next version any more.
CREATE TABLE shadows (
    name         TEXT PRIMARY KEY,
    -- The present version and the next, each with its hash: the figures are of these two.
    version      INTEGER NOT NULL,
    hash         TEXT NOT NULL,
    next_version INTEGER NOT NULL,
    next_hash    TEXT NOT NULL,
    since        INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    -- Counts and a few samples, as JSON; no value of a field that is masked.
    figures      TEXT NOT NULL
) STRICT, WITHOUT ROWID;
