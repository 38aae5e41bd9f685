-- The migrator's own statements. They run as the login role, which owns the tables.

-- name: migration_lock
-- Tried in a loop and not waited for: a waiting statement would hold a snapshot.
SELECT pg_try_advisory_lock(8102661214773306989);

-- name: migration_table_exists
SELECT to_regclass('schema_migration') IS NOT NULL;

-- name: migrations_applied
SELECT number, name, checksum FROM schema_migration ORDER BY number;

-- name: migration_record
INSERT INTO schema_migration (number, name, checksum) VALUES ($1, $2, $3);

-- name: server_facts
SELECT current_setting('server_version_num')::integer AS version,
       current_setting('server_encoding') AS encoding,
       current_setting('fsync')::boolean AS fsync,
       current_setting('full_page_writes')::boolean AS full_page_writes,
       current_setting('max_prepared_transactions')::integer AS max_prepared_transactions;
