-- Tables an event may come from: those of $1, or all of users when it is null.
SELECT json_build_object(
    'oid', c.oid::bigint,
    'namespace', n.nspname,
    'name', c.relname,
    'partitioned', c.relkind = 'p',
    'partition', c.relispartition,
    'unlogged', c.relpersistence <> 'p',
    'root', CASE WHEN c.relispartition THEN pg_partition_root(c.oid)::oid::bigint END,
    -- For this role.
    'row_security', row_security_active(c.oid),
    'toasted', c.reltoastrelid <> 0 AND pg_relation_size(c.reltoastrelid) > 0,
    'identity', c.relreplident,
    'rows', greatest(c.reltuples, 0)::bigint,
    'may_use', has_schema_privilege(n.oid, 'USAGE'),
    'may_select', has_table_privilege(c.oid, 'SELECT'),
    'owned', pg_has_role(current_user, c.relowner, 'USAGE'),
    'columns', coalesce((
        SELECT json_agg(json_build_object(
            'name', a.attname,
            'type_oid', a.atttypid::bigint,
            'type_modifier', a.atttypmod,
            'type', format_type(a.atttypid, a.atttypmod),
            'not_null', a.attnotnull,
            'generated', a.attgenerated <> '',
            'toastable', a.attlen = -1 AND a.attstorage IN ('x', 'e')
        ) ORDER BY a.attnum)
        FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    ), '[]'),
    'primary_key', coalesce((
        SELECT json_agg(a.attname ORDER BY k.place)
        FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place), pg_attribute a
        WHERE i.indrelid = c.oid AND i.indisprimary
          AND a.attrelid = c.oid AND a.attnum = k.attnum AND k.place <= i.indnkeyatts
    ), '[]'),
    'identity_index', coalesce((
        SELECT json_agg(a.attname ORDER BY k.place)
        FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place), pg_attribute a
        WHERE i.indrelid = c.oid AND i.indisreplident
          AND a.attrelid = c.oid AND a.attnum = k.attnum AND k.place <= i.indnkeyatts
    ), '[]')
)::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE CASE WHEN $1::oid[] IS NULL
           THEN c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
                AND n.nspname NOT IN ('pg_catalog', 'information_schema')
                AND n.nspname NOT LIKE 'pg\_toast%' AND n.nspname NOT LIKE 'pg\_temp%'
           ELSE c.oid = ANY ($1::oid[]) END
ORDER BY n.nspname, c.relname
