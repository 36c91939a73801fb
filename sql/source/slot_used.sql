-- Whether the slot has ever decoded a transaction, as far as the server's statistics go back.
SELECT coalesce(
    (SELECT total_txns > 0 FROM pg_stat_replication_slots WHERE slot_name = $1),
    false
)::text
