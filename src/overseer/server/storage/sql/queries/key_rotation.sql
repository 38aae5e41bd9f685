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

-- name: key_rotation_take
-- The running one, for one batch. Nothing where another process is at its batch: it will do the rest as well.
SELECT r.*, NULL::text AS started_by_name FROM key_rotation r WHERE r.state = 'running' FOR UPDATE SKIP LOCKED;

-- name: key_rotation_move
-- The place up to which this pass has come, in the transaction of the batch.
UPDATE key_rotation SET at_table = $2, at_term = $3, at_id = $4, rewrapped = rewrapped + $5, unreadable = unreadable + $6
WHERE id = $1;

-- name: key_rotation_begin_pass
UPDATE key_rotation SET at_table = '', at_term = 0, at_id = '00000000-0000-0000-0000-000000000000', unreadable = 0 WHERE id = $1;

-- name: key_rotation_finish
UPDATE key_rotation SET state = 'finished', finished_at = clock_timestamp(), unreadable = $2 WHERE id = $1;
