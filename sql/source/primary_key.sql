-- The primary key's columns in the key's own order.
SELECT a.attname::text
FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place), pg_attribute a
WHERE i.indrelid = $1 AND i.indisprimary AND a.attrelid = i.indrelid AND a.attnum = k.attnum
  AND k.place <= i.indnkeyatts
ORDER BY k.place
