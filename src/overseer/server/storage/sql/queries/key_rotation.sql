-- Rotations of the key-encryption key.

-- name: key_rotation_insert
INSERT INTO key_rotation (id, term, reason, started_by) VALUES ($1, $2, $3, $4);

-- name: key_rotation_newest
SELECT r.*, p.name AS started_by_name
FROM key_rotation r LEFT JOIN principal p ON p.id = r.started_by
ORDER BY r.started_at DESC, r.id DESC LIMIT 1;

-- name: key_rotation_by_id
SELECT r.*, p.name AS started_by_name FROM key_rotation r LEFT JOIN principal p ON p.id = r.started_by WHERE r.id = $1;

-- name: key_rotation_running_exists
SELECT EXISTS (SELECT FROM key_rotation WHERE state = 'running');

-- fragment: key_rotation_held
-- The running one, where its pass is at that place. Nothing where another process is at a batch: it will do the rest as well.
SELECT h.* FROM key_rotation h
WHERE h.id = $1 AND h.state = 'running' AND h.at_table = $2 AND h.at_term = $3::integer AND h.at_id = $4::uuid
FOR UPDATE SKIP LOCKED

-- fragment: key_rotation_moved
-- The place up to which this pass has come, in the statement of the batch.
UPDATE key_rotation r
SET at_table = $5, at_term = $6, at_id = $7, rewrapped = r.rewrapped + (SELECT count(*) FROM done),
    unreadable = r.unreadable + $8
FROM held WHERE r.id = held.id

-- name: key_rotation_hold
WITH held AS MATERIALIZED (@{key_rotation_held}) SELECT held.*, NULL::text AS started_by_name FROM held;

-- name: key_rotation_begin_pass
UPDATE key_rotation SET at_table = '', at_term = 0, at_id = '00000000-0000-0000-0000-000000000000', unreadable = 0 WHERE id = $1;

-- name: key_rotation_finish
UPDATE key_rotation SET state = 'finished', finished_at = clock_timestamp(), unreadable = $2 WHERE id = $1;
