-- What the server is and what this role may do, as one object.
SELECT json_build_object(
    'version_num', current_setting('server_version_num')::int,
    'version', current_setting('server_version'),
    'wal_level', current_setting('wal_level'),
    'in_recovery', pg_is_in_recovery(),
    -- What was committed without waiting for the disk lies behind pg_current_wal_lsn().
    'lsn', CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END,
    'started', extract(epoch FROM pg_postmaster_start_time())::text,
    'database', current_database(),
    'encoding', (SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()),
    'max_replication_slots', current_setting('max_replication_slots')::int,
    'used_replication_slots', (SELECT count(*) FROM pg_replication_slots),
    'max_wal_senders', current_setting('max_wal_senders')::int,
    'used_wal_senders', (SELECT count(*) FROM pg_stat_replication),
    'max_slot_wal_keep_size', current_setting('max_slot_wal_keep_size'),
    'wal_sender_timeout', current_setting('wal_sender_timeout'),
    'wal_sender_timeout_ms', (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_sender_timeout'),
    'logical_decoding_work_mem_kb',
        (SELECT setting::bigint FROM pg_settings WHERE name = 'logical_decoding_work_mem'),
    -- From PostgreSQL 18 on.
    'idle_replication_slot_timeout', current_setting('idle_replication_slot_timeout', true),
    'tls', coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),
    'is_local', coalesce(inet_server_addr() <<= '127.0.0.0/8' OR inet_server_addr() = '::1', true),
    'standbys', (SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'physical'),
    'now', (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
    'hot_standby_feedback', current_setting('hot_standby_feedback')::bool,
    'role', current_user,
    'superuser', (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
    -- A managed service may give the right by a role of its own.
    'replication', (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user)
        OR EXISTS (SELECT FROM pg_roles r
                   WHERE r.rolname IN ('rds_replication', 'azure_pg_admin', 'cloudsqlsuperuser')
                     AND pg_has_role(current_user, r.oid, 'MEMBER')),
    'create', has_database_privilege(current_database(), 'CREATE')
)::text
