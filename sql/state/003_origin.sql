-- Who asked for a change: `command line`, or `console` with the address.
ALTER TABLE requests ADD COLUMN origin TEXT NOT NULL DEFAULT '';
