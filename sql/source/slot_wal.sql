-- How much WAL the slot holds back, how far it is behind, and how much may still be written before
-- it may be lost, in bytes.
SELECT json_build_object(
    'retained', here.lsn - s.restart_lsn,
    'lag', here.lsn - s.confirmed_flush_lsn,
    'safe', s.safe_wal_size,
    'server_lsn', here.lsn
)::text
FROM pg_replication_slots s,
     (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                  ELSE pg_current_wal_lsn() END AS lsn) here
WHERE s.slot_name = $1
