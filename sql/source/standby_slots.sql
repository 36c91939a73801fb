-- Standbys that a failover slot waits for and that nobody serves now; the setting is not there
-- before PostgreSQL 17.
SELECT to_json(trim(wanted.name))::text
FROM unnest(string_to_array(current_setting('synchronized_standby_slots', true), ',')) wanted (name)
WHERE trim(wanted.name) <> '' AND NOT EXISTS (
    SELECT FROM pg_replication_slots s
    WHERE s.slot_name = trim(wanted.name) AND s.slot_type = 'physical' AND s.active
)
