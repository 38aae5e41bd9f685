-- Backups. The statements that read and fill whole tables are written by the catalogue, so that a new table cannot be forgotten.

-- name: backup_tables
-- Every table but the migrations' own, with the statement that reads it in the order of its primary key.
SELECT c.relname::text AS name,
       array_agg(a.attname::text ORDER BY a.attnum) AS columns,
       format('SELECT %s FROM public.%I%s', string_agg(format('%I', a.attname), ', ' ORDER BY a.attnum), c.relname,
              (SELECT ' ORDER BY ' || string_agg(format('%I', k.attname), ', ' ORDER BY p.place)
               FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS p (attnum, place)
               JOIN pg_attribute k ON k.attrelid = c.oid AND k.attnum = p.attnum
               WHERE i.indrelid = c.oid AND i.indisprimary)) AS query
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname <> 'schema_migration'
GROUP BY c.oid, c.relname ORDER BY c.relname;

-- name: backup_references
-- Which table has to be filled before which: a foreign key that can wait for the end of the transaction does not count.
SELECT DISTINCT f.relname::text AS child, t.relname::text AS parent
FROM pg_constraint c JOIN pg_class f ON f.oid = c.conrelid JOIN pg_class t ON t.oid = c.confrelid
WHERE c.contype = 'f' AND NOT c.condeferrable AND c.conrelid <> c.confrelid AND c.connamespace = 'public'::regnamespace;

-- name: backup_facts
SELECT current_setting('server_version') AS postgres_version, clock_timestamp() AS now,
       COALESCE((SELECT max(size) FROM audit_checkpoint), 0) AS log_size;

-- name: backup_migrations
SELECT number, name, checksum FROM schema_migration ORDER BY number;

-- name: restore_is_empty
-- Nothing of anybody's: no table, view, sequence or function outside of PostgreSQL's own schemas.
SELECT NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace)
   AND NOT EXISTS (SELECT FROM pg_proc WHERE pronamespace = 'public'::regnamespace
                   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = pg_proc.oid AND d.deptype = 'e'));

-- name: restore_constraints
SET CONSTRAINTS ALL IMMEDIATE;

-- name: restore_sequences
-- Numbers that the database gives go on behind the last one.
DO $$
DECLARE
    one record;
BEGIN
    FOR one IN SELECT c.relname, a.attname, pg_get_serial_sequence(format('public.%I', c.relname), a.attname) AS sequence
               FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
               WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
               AND pg_get_serial_sequence(format('public.%I', c.relname), a.attname) IS NOT NULL
    LOOP
        EXECUTE format('SELECT setval(%L, GREATEST(1, max(%I)), max(%I) IS NOT NULL) FROM public.%I',
                       one.sequence, one.attname, one.attname, one.relname);
    END LOOP;
END $$;

-- name: restore_log_size
SELECT COALESCE(max(size), 0) FROM audit_checkpoint;

-- name: restore_revoke_tokens
UPDATE token SET revoked_at = clock_timestamp() WHERE revoked_at IS NULL;

-- name: restore_revoke_node_keys
UPDATE node_key SET retired_at = clock_timestamp() WHERE retired_at IS NULL;

-- name: restore_expect_nodes
UPDATE node SET state = 'expected', revision = revision + 1 WHERE state = 'active';

-- name: restore_drop_enrolment_tokens
DELETE FROM enrolment_token;

-- name: restore_drop_invitations
DELETE FROM invitation;

-- name: restore_fail_deployments
-- What was on its way when the backup was made is not on its way any more.
UPDATE deployment SET state = 'failed', error = $1, finished_at = clock_timestamp(), lease_until = NULL
WHERE state IN ('queued', 'released', 'applying');

-- name: restore_withdraw_rollouts
UPDATE rollout SET state = 'withdrawn', error = $1, finished_at = clock_timestamp() WHERE state = 'running';

-- name: restore_end_approvals
-- What was approved then may have been used or taken back since: nobody gets a second use out of a restore.
UPDATE approval SET state = 'withdrawn', ended_at = clock_timestamp() WHERE state IN ('pending', 'approved');

-- name: restore_end_emergencies
-- An emergency that was on is over; whoever may activate it again can, and that is an alarm again.
UPDATE binding SET expires_at = clock_timestamp() WHERE active_seconds IS NOT NULL AND expires_at > clock_timestamp();

-- name: restore_pause_rotators
-- Another instance may rotate at the same sources, and what this one holds may be older than what they know.
UPDATE secret_rotation SET paused = true, updated_at = clock_timestamp() WHERE rotator IS NOT NULL AND NOT paused;

-- name: restore_fail_rotations
UPDATE secret_rotation_run SET state = 'failed', error = $1, finished_at = clock_timestamp(), leased_until = NULL
WHERE finished_at IS NULL;

-- name: restore_end_backups
UPDATE backup_run SET state = 'failed', error = 'restored', finished_at = clock_timestamp() WHERE state IN ('waiting', 'running');

-- name: backup_run_insert
INSERT INTO backup_run (id, target, reason, state, asked_by, incarnation)
SELECT $1, $2, $3, 'waiting', $4, max(incarnation) FROM audit_incarnation;

-- name: backup_run_insert_local
INSERT INTO backup_run (id, target, reason, state, file, size, rows, log_size, started_at, finished_at, incarnation)
SELECT $1, '', 'local', 'succeeded', $2, $3, $4, $5, $6, clock_timestamp(), max(incarnation) FROM audit_incarnation;

-- name: backup_run_open
SELECT id FROM backup_run WHERE target = $1 AND state IN ('waiting', 'running');

-- name: backup_run_take
-- The leader runs one at a time, so a running row that it finds is left over from one that ended in the middle.
UPDATE backup_run SET state = 'running', started_at = clock_timestamp()
WHERE id = (SELECT id FROM backup_run WHERE state = 'waiting' ORDER BY asked_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, target, reason, asked_by;

-- name: backup_runs_left_over
UPDATE backup_run SET state = 'failed', error = 'interrupted', finished_at = clock_timestamp() WHERE state = 'running'
RETURNING id, target;

-- name: backup_run_succeed
UPDATE backup_run SET state = 'succeeded', file = $2, size = $3, rows = $4, log_size = $5, finished_at = clock_timestamp()
WHERE id = $1 AND state = 'running';

-- name: backup_run_fail
UPDATE backup_run SET state = 'failed', error = $2, finished_at = clock_timestamp() WHERE id = $1 AND state = 'running';

-- name: backup_run_removed
UPDATE backup_run SET removed_at = clock_timestamp() WHERE id = $1;

-- name: backup_run_page
SELECT r.*, p.name AS asked_by_name FROM backup_run r LEFT JOIN principal p ON p.id = r.asked_by
WHERE ($1::uuid IS NULL OR r.id < $1) AND ($2::uuid IS NULL OR r.id = $2) ORDER BY r.id DESC LIMIT $3;

-- name: backup_runs_kept
-- Of this incarnation alone: what another one made may be all that the other one has.
SELECT id, file, finished_at, reason FROM backup_run
WHERE target = $1 AND state = 'succeeded' AND removed_at IS NULL
AND incarnation = (SELECT max(incarnation) FROM audit_incarnation) ORDER BY finished_at DESC, id DESC;

-- name: backup_schedules_held
SELECT @{schedules_held} FROM audit_incarnation;

-- fragment: schedules_held
(max(incarnation) > 1 AND max(incarnation) NOT IN (SELECT r.incarnation FROM backup_resumption r))

-- name: backup_resume
INSERT INTO backup_resumption (incarnation) SELECT max(incarnation) FROM audit_incarnation HAVING max(incarnation) > 1
ON CONFLICT DO NOTHING;

-- name: backup_take_over
UPDATE backup_run SET incarnation = (SELECT max(incarnation) FROM audit_incarnation)
WHERE incarnation < (SELECT max(incarnation) FROM audit_incarnation) AND removed_at IS NULL AND state = 'succeeded';

-- name: backup_run_last
-- When it was last tried for a target, whoever asked, and whether that one is under way.
SELECT max(asked_at) AS asked_at FROM backup_run WHERE target = $1 AND reason = 'schedule';

-- name: backup_state
SELECT (SELECT max(finished_at) FROM backup_run WHERE state = 'succeeded') AS succeeded_at,
       (SELECT size FROM backup_run WHERE state = 'succeeded' ORDER BY finished_at DESC LIMIT 1) AS size,
       (SELECT count(*) FROM backup_run WHERE state = 'failed' AND error <> 'restored') AS failures,
       (SELECT state FROM backup_run WHERE state IN ('succeeded', 'failed') ORDER BY finished_at DESC LIMIT 1) AS last_state,
       (SELECT @{schedules_held} FROM audit_incarnation) AS held,
       clock_timestamp() AS now;
