GRANT SELECT ON :tables TO :role
