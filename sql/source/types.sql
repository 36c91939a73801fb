-- Types with all they are made of: base types of domains, elements of arrays, fields of composites,
-- bounds of ranges.
WITH RECURSIVE need (oid) AS (
    SELECT unnest($1::oid[])
    UNION
    SELECT part.oid
    FROM need
    JOIN pg_type t ON t.oid = need.oid,
    LATERAL (
        SELECT t.typbasetype WHERE t.typtype = 'd'
        UNION ALL
        SELECT t.typelem WHERE t.typcategory = 'A' AND t.typelem <> 0
        UNION ALL
        SELECT a.atttypid FROM pg_attribute a
        WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT r.rngsubtype FROM pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
    ) part (oid)
)
SELECT t.oid, t.typname::text, t.typtype::text,
       CASE WHEN t.typtype = 'd' THEN t.typbasetype END AS base,
       CASE WHEN t.typcategory = 'A' AND t.typelem <> 0 AND t.typlen = -1 THEN t.typelem END AS element,
       t.typdelim::text,
       ARRAY(SELECT a.attname::text FROM pg_attribute a
             WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
             ORDER BY a.attnum) AS names,
       ARRAY(SELECT a.atttypid FROM pg_attribute a
             WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
             ORDER BY a.attnum) AS types,
       (SELECT p.proname::text FROM pg_proc p WHERE p.oid = t.typsend) AS send,
       (SELECT r.rngsubtype FROM pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)) AS bound
FROM pg_type t
WHERE t.oid IN (SELECT need.oid FROM need)
