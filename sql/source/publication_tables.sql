-- Its tables; from PostgreSQL 15 with their row filters and column lists, and the columns that the
-- filters are about: a tree of nodes names them by number.
SELECT (to_jsonb(t) || jsonb_build_object('filtercolumns', (
    SELECT coalesce(jsonb_agg(DISTINCT a.attname), '[]')
    FROM pg_publication p
    JOIN pg_publication_rel r ON r.prpubid = p.oid
    JOIN pg_class c ON c.oid = r.prrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace,
    regexp_matches(to_jsonb(r) ->> 'prqual', ':varattno (\d+)', 'g') m (number)
    JOIN pg_attribute a ON a.attnum = m.number[1]::int
    WHERE p.pubname = t.pubname AND n.nspname = t.schemaname AND c.relname = t.tablename
      AND a.attrelid = c.oid
)))::text
FROM pg_publication_tables t
WHERE t.pubname = $1
ORDER BY t.schemaname, t.tablename
