-- Rotations of secrets: when they are due, and runs. Who changes a run's state holds its lease, which no lock outlives.

-- name: rotation_unscheduled
-- Secrets whose schedule is not, or not any more, the one that their next time was counted from. $1 limit, $2 this
-- secret only, NULL: all.
SELECT s.id, s.rotation::text AS policy,
       (SELECT v.created_at FROM secret_version v WHERE v.secret_id = s.id AND v.version = s.latest_version) AS latest_at
FROM secret s LEFT JOIN secret_rotation r ON r.secret_id = s.id
WHERE s.rotation IS DISTINCT FROM r.policy AND (s.rotation IS NOT NULL OR r.secret_id IS NOT NULL)
  AND ($2::uuid IS NULL OR s.id = $2)
ORDER BY s.id LIMIT $1;

-- name: rotation_schedule
-- $1 secret, $2 its policy, $3 the next time or NULL.
INSERT INTO secret_rotation (secret_id, policy, due_at)
SELECT id, $2::jsonb, $3 FROM secret WHERE id = $1
ON CONFLICT (secret_id) DO UPDATE SET policy = $2::jsonb, due_at = $3, noticed_at = NULL, updated_at = statement_timestamp();

-- name: rotation_to_notice
-- Those that are due within the days that their policy names, and of which that was not said yet.
SELECT r.secret_id, r.due_at FROM secret_rotation r
WHERE NOT r.paused AND r.noticed_at IS NULL AND r.due_at > statement_timestamp()
  AND r.due_at <= statement_timestamp() + (r.policy ->> 'notify_days')::integer * interval '1 day'
ORDER BY r.due_at LIMIT $1 FOR UPDATE SKIP LOCKED;

-- name: rotation_noticed
UPDATE secret_rotation SET noticed_at = statement_timestamp() WHERE secret_id = ANY ($1::uuid[]);

-- name: rotation_due
-- However many times were missed, it is one row here, and becomes one run. What comes from a backend waits until it is untied.
SELECT r.secret_id, r.policy::text AS policy, r.rotator::text AS rotator, r.set_by FROM secret_rotation r
WHERE NOT r.paused AND r.due_at <= statement_timestamp()
  AND NOT EXISTS (SELECT FROM secret_rotation_run o WHERE o.secret_id = r.secret_id AND o.finished_at IS NULL)
  AND NOT EXISTS (SELECT FROM secret_source s WHERE s.secret_id = r.secret_id)
ORDER BY r.due_at LIMIT $1 FOR UPDATE OF r SKIP LOCKED;

-- name: rotation_due_next
UPDATE secret_rotation SET due_at = $2, noticed_at = NULL WHERE secret_id = $1;

-- name: rotation_set
-- $1 secret, $2 rotator or NULL, $3 paused, $4 who.
INSERT INTO secret_rotation (secret_id, rotator, paused, set_by) VALUES ($1, $2::jsonb, $3, $4)
ON CONFLICT (secret_id) DO UPDATE SET rotator = $2::jsonb, paused = $3, set_by = $4, updated_at = statement_timestamp(),
    policy = CASE WHEN secret_rotation.stopped = '' THEN secret_rotation.policy END, stopped = '';

-- name: rotation_policy_by
-- Where it had stopped, the next time is counted anew.
INSERT INTO secret_rotation (secret_id, policy_by) VALUES ($1, $2)
ON CONFLICT (secret_id) DO UPDATE SET policy_by = $2, updated_at = statement_timestamp(),
    policy = CASE WHEN secret_rotation.stopped = '' THEN secret_rotation.policy END, stopped = '';

-- name: rotation_stopped
UPDATE secret_rotation SET stopped = $2, updated_at = statement_timestamp() WHERE secret_id = $1;

-- name: rotation_pause
INSERT INTO secret_rotation (secret_id, paused) VALUES ($1, $2)
ON CONFLICT (secret_id) DO UPDATE SET paused = $2, updated_at = statement_timestamp();

-- fragment: rotation_rows
SELECT r.secret_id, r.due_at, r.paused, r.rotator::text AS rotator, r.set_by, p.name AS setter,
       COALESCE(r.policy_by, s.created_by) AS policy_by, q.name AS policy_setter, r.stopped
FROM secret_rotation r JOIN secret s ON s.id = r.secret_id LEFT JOIN principal p ON p.id = r.set_by
LEFT JOIN principal q ON q.id = COALESCE(r.policy_by, s.created_by)

-- name: rotation_of
@{rotation_rows}
WHERE r.secret_id = $1;

-- name: rotation_page
-- Those that are scheduled or have a rotator, by secret. $1 the last one of the page before or NULL, $2 limit.
@{rotation_rows}
WHERE (r.due_at IS NOT NULL OR r.rotator IS NOT NULL) AND ($1::uuid IS NULL OR r.secret_id > $1)
ORDER BY r.secret_id LIMIT $2;

-- name: rotation_run_insert
INSERT INTO secret_rotation_run (id, secret_id, cause, rotator, state, created_by) VALUES ($1, $2, $3, $4::jsonb, 'waiting', $5);

-- name: rotation_run_claim
-- The next one that nobody works on. $1 the lease, $2 how long it holds.
UPDATE secret_rotation_run SET lease = $1, leased_until = clock_timestamp() + $2::interval
WHERE id = (SELECT id FROM secret_rotation_run
            WHERE finished_at IS NULL AND next_at <= statement_timestamp()
              AND (leased_until IS NULL OR leased_until < clock_timestamp())
            ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id;

-- fragment: run_columns
r.id, r.secret_id, r.cause, r.rotator::text AS rotator, r.state, r.previous_version, r.candidate_version, r.rollout_id, r.attempts,
       r.error, r.created_by, p.name AS creator, r.created_at, r.finished_at, r.touched

-- name: rotation_run_by_id
SELECT @{run_columns} FROM secret_rotation_run r LEFT JOIN principal p ON p.id = r.created_by WHERE r.id = $1;

-- name: rotation_run_page
-- Newest first. $1 secret, $2 the last one of the page before or NULL, $3 limit.
SELECT @{run_columns} FROM secret_rotation_run r LEFT JOIN principal p ON p.id = r.created_by
WHERE r.secret_id = $1 AND ($2::uuid IS NULL OR r.id < $2) ORDER BY r.id DESC LIMIT $3;

-- name: rotation_run_newest
SELECT DISTINCT ON (r.secret_id) @{run_columns} FROM secret_rotation_run r LEFT JOIN principal p ON p.id = r.created_by
WHERE r.secret_id = ANY ($1::uuid[]) ORDER BY r.secret_id, r.id DESC;

-- name: rotation_run_held
-- Whether the lease is still the holder's, locked: nobody else takes the run over before the transaction ends.
SELECT EXISTS (SELECT FROM secret_rotation_run WHERE id = $1 AND lease = $2 FOR UPDATE);

-- name: rotation_run_move
-- $1 run, $2 state, $3 versions before and $4 after, $5 rollout, $6 seconds to the next step, $7 error, $8 whether it is the end.
UPDATE secret_rotation_run
SET state = $2, previous_version = COALESCE($3, previous_version), candidate_version = COALESCE($4, candidate_version),
    rollout_id = COALESCE($5, rollout_id), attempts = 0, at_source = '', next_at = clock_timestamp() + $6::double precision * interval '1 second',
    error = CASE WHEN $7 = '' THEN error ELSE $7 END,
    leased_until = CASE WHEN NOT $8 AND $6::double precision <= 0 THEN clock_timestamp() + interval '2 minutes' END, finished_at = CASE WHEN $8 THEN clock_timestamp() END
WHERE id = $1;

-- name: rotation_run_later
-- A step that failed, or has to wait ($4 false): $2 error, $3 seconds until it is tried again.
UPDATE secret_rotation_run
SET attempts = attempts + CASE WHEN $4 THEN 1 ELSE 0 END, error = CASE WHEN $4 THEN $2 ELSE error END, leased_until = NULL, at_source = '',
    next_at = clock_timestamp() + $3::double precision * interval '1 second'
WHERE id = $1;

-- name: rotation_run_calls
-- The run is about to call the source, or its leader was killed while it did: the next step, or the failure of this one, ends it.
UPDATE secret_rotation_run SET at_source = $2, touched = true WHERE id = $1;

-- name: rotation_calling
-- Those of $1 whose run is calling the source. Ask under the lock of the secret: the run marks itself under it.
SELECT secret_id FROM secret_rotation_run WHERE secret_id = ANY ($1::uuid[]) AND finished_at IS NULL AND at_source <> '';

-- name: rotation_run_release
UPDATE secret_rotation_run SET leased_until = NULL WHERE id = $1 AND lease = $2;
