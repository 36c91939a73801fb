-- The transaction that has been open longest of those that have written: it pins restart_lsn, and
-- a new slot waits for it. The role sees others' age only with pg_monitor.
SELECT json_build_object(
    'pid', a.pid,
    'role', a.usename,
    'application_name', a.application_name,
    'seconds', extract(epoch FROM clock_timestamp() - a.xact_start)::bigint
)::text
FROM pg_stat_activity a
WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_backend_pid()
ORDER BY a.xact_start NULLS LAST
LIMIT 8
