-- Who keeps restart_lsn, and a new slot, waiting: sessions that have written and not ended, and
-- prepared transactions, the oldest first. No query text: it may hold values.
SELECT json_build_object(
    'pid', h.pid,
    'gid', h.gid,
    'xid', h.xid::text,
    'role', h.role,
    'database', h.database,
    'application_name', h.application_name,
    'state', h.state,
    'seconds', extract(epoch FROM clock_timestamp() - h.since)::bigint
)::text
FROM (
    -- Without pg_monitor neither state nor age of another role's session is told.
    SELECT a.pid, NULL::text AS gid, a.backend_xid AS xid, a.usename::text AS role,
           a.datname::text AS database, a.application_name, a.state, a.xact_start AS since
    FROM pg_stat_activity a
    WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_backend_pid()
    UNION ALL
    SELECT NULL, p.gid, p.transaction, p.owner::text, p.database::text, NULL, 'prepared', p.prepared
    FROM pg_prepared_xacts p
) h
ORDER BY age(h.xid) DESC
LIMIT 8
