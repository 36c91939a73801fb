-- In which file each table of publication $1 lies, those of its partitions where it is partitioned,
-- and which version of the catalog each column and each default is of. A VACUUM FULL, a CLUSTER and
-- a TRUNCATE change the file alone; an ALTER TABLE that writes the rows anew changes both.
SELECT json_build_object(
    'oid', c.oid::bigint,
    'namespace', n.nspname,
    'name', c.relname,
    'file', coalesce(CASE WHEN c.relkind = 'p' THEN (
        SELECT string_agg(pg_relation_filenode(l.relid)::text, ',' ORDER BY l.relid)
        FROM pg_partition_tree(c.oid) l WHERE l.isleaf
    ) ELSE pg_relation_filenode(c.oid)::text END, ''),
    'columns', coalesce((
        SELECT json_agg(json_build_object('number', number, 'version', version, 'filled', filled))
        FROM (
            SELECT a.attnum::int AS number, a.xmin::text AS version, a.atthasmissing AS filled
            FROM pg_attribute a
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            UNION ALL
            SELECT -d.adnum, d.xmin::text, false FROM pg_attrdef d WHERE d.adrelid = c.oid
        ) x
    ), '[]')
)::text
FROM pg_publication_tables t
JOIN pg_namespace n ON n.nspname = t.schemaname
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
WHERE t.pubname = $1
