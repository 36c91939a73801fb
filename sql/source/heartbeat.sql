-- A transactional message needs no table, and its commit flushes the WAL at once.
SELECT pg_logical_emit_message(true, $1::text, $2::text)::text
