-- Whether there is such a role.
SELECT 1 FROM pg_roles WHERE rolname = $1
