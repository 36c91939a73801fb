-- In what order a table's rows are read: the columns of its primary key, else of the index that is
-- its replica identity, each with its type and the operators of its order.
SELECT json_build_object(
    'name', a.attname,
    'type', format_type(a.atttypid, a.atttypmod),
    'less', (
        SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname)
        FROM pg_amop m JOIN pg_operator o ON o.oid = m.amopopr JOIN pg_namespace n ON n.oid = o.oprnamespace
        WHERE m.amopfamily = c.opcfamily AND m.amoplefttype = c.opcintype
          AND m.amoprighttype = c.opcintype AND m.amopstrategy = 1
    ),
    'greater', (
        SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname)
        FROM pg_amop m JOIN pg_operator o ON o.oid = m.amopopr JOIN pg_namespace n ON n.oid = o.oprnamespace
        WHERE m.amopfamily = c.opcfamily AND m.amoplefttype = c.opcintype
          AND m.amoprighttype = c.opcintype AND m.amopstrategy = 5
    ),
    'equal', (
        SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname)
        FROM pg_amop m JOIN pg_operator o ON o.oid = m.amopopr JOIN pg_namespace n ON n.oid = o.oprnamespace
        WHERE m.amopfamily = c.opcfamily AND m.amoplefttype = c.opcintype
          AND m.amoprighttype = c.opcintype AND m.amopstrategy = 3
    )
)::text
FROM (
    SELECT i.* FROM pg_index i
    WHERE i.indrelid = $1 AND i.indisvalid
      AND (i.indisprimary OR (i.indisreplident AND EXISTS (
          SELECT FROM pg_class r WHERE r.oid = i.indrelid AND r.relreplident = 'i')))
    ORDER BY i.indisprimary DESC LIMIT 1
) i,
unnest(i.indkey::int2[], i.indclass::oid[]) WITH ORDINALITY k (attnum, opclass, place),
pg_attribute a, pg_opclass c
WHERE k.place <= i.indnkeyatts AND a.attrelid = i.indrelid AND a.attnum = k.attnum AND c.oid = k.opclass
ORDER BY k.place
