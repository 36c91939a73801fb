-- Its tables; from PostgreSQL 15 with their row filters and column lists.
SELECT row_to_json(t)::text
FROM pg_publication_tables t
WHERE t.pubname = $1
ORDER BY t.schemaname, t.tablename
