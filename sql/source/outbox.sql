-- A table for events that are written in the same transaction as what they tell of.
-- Route it with:  table = "public.outbox", outbox = {}, start = "now"
--
-- A row may be deleted in the transaction that inserts it: the event is in the log all the same,
-- and the table stays empty.
--     BEGIN;
--     UPDATE orders SET state = 'paid' WHERE id = 7;
--     INSERT INTO outbox (id, aggregate_type, aggregate_id, type, payload)
--     VALUES ('0193ad2e-…', 'order', '7', 'order-paid', '{"total": 12.50}');
--     DELETE FROM outbox WHERE id = '0193ad2e-…';
--     COMMIT;
-- Or keep rows for a while and delete them later, by created_at: deletes are never sent.
CREATE TABLE outbox (
    -- The event's identity to its receivers.
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    -- What kind of thing it is about, which one, and what happened. Events of one aggregate_id are
    -- sent in the order in which they were committed.
    aggregate_type text NOT NULL CHECK (aggregate_type <> ''),
    aggregate_id text NOT NULL,
    type text NOT NULL,
    -- What is sent.
    payload jsonb,
    -- Headers of the request: {"trace-id": "…"}.
    headers jsonb CHECK (jsonb_typeof(headers) = 'object'),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- The primary key is all that a delete need say of its row. A table without one, published with its
-- deletes, would refuse them.
ALTER TABLE outbox REPLICA IDENTITY DEFAULT;

-- For a clean-up by age.
CREATE INDEX outbox_created_at ON outbox (created_at);
