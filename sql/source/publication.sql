-- The publication with what it publishes.
SELECT row_to_json(p)::text FROM pg_publication p WHERE p.pubname = $1
