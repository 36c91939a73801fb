-- The slot's row: its columns differ from version to version.
SELECT row_to_json(s)::text FROM pg_replication_slots s WHERE s.slot_name = $1
