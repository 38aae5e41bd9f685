-- Backends, and what secrets are taken from them.

-- fragment: backend_columns
SELECT b.id, b.name, b.kind, b.description, b.settings::text AS settings, b.ttl, b.stale_if_error, b.max_age, b.timeout,
       b.credential_id, b.format, b.kek_term, b.wrapped_dek, b.ciphertext, b.revision, b.created_at, b.updated_at,
       (SELECT count(*) FROM secret_source o WHERE o.backend_id = b.id) AS secrets,
       (SELECT count(*) FROM secret_source o WHERE o.backend_id = b.id AND o.failure <> '') AS failing,
       (SELECT max(o.fetched_at) FROM secret_source o WHERE o.backend_id = b.id) AS last_success
FROM backend b

-- name: backend_by_id
@{backend_columns}
WHERE b.id = $1;

-- name: backends_by_id
@{backend_columns}
WHERE b.id = ANY ($1::uuid[]);

-- name: backend_by_name
@{backend_columns}
WHERE b.name = $1;

-- name: backend_by_id_locked
@{backend_columns}
WHERE b.id = $1
FOR UPDATE OF b;

-- name: backend_page
-- By name, after $1 (NULL: from the first); $2 limit.
@{backend_columns}
WHERE $1::text IS NULL OR b.name > $1
ORDER BY b.name
LIMIT $2;

-- name: backend_insert
INSERT INTO backend (id, name, kind, description, settings, ttl, stale_if_error, max_age, timeout, credential_id, format, kek_term,
                     wrapped_dek, ciphertext, created_by)
VALUES ($1, $2, $3, $4, $5::text::jsonb, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
ON CONFLICT (name) DO NOTHING
RETURNING id;

-- name: backend_update
-- What was kept by an earlier set of credentials is asked for anew: the tries of its secrets begin again.
WITH again AS (
    UPDATE secret_source SET tried_at = '-infinity' WHERE backend_id = $1 AND failure <> ''
)
UPDATE backend
SET description = $2, settings = $3::text::jsonb, ttl = $4, stale_if_error = $5, max_age = $6, timeout = $7, credential_id = $8,
    format = $9, kek_term = $10, wrapped_dek = $11, ciphertext = $12, revision = revision + 1, updated_at = clock_timestamp()
WHERE id = $1;

-- name: backend_delete
DELETE FROM backend WHERE id = $1;

-- fragment: source_columns
SELECT o.secret_id, o.backend_id, o.ref, o.field, o.mode, o.fetched_at, o.tried_at, o.failure, o.created_by, b.name AS backend,
       b.ttl, b.stale_if_error, b.max_age, b.revision, p.name AS setter, o.stopped, s.active_version
FROM secret_source o
JOIN backend b ON b.id = o.backend_id
JOIN secret s ON s.id = o.secret_id
LEFT JOIN principal p ON p.id = o.created_by

-- name: sources_of
@{source_columns}
WHERE o.secret_id = ANY ($1::uuid[]);

-- name: source_page
-- Those of backend $1 by the id of their secret, after $2 (NULL: from the first); $3 limit.
@{source_columns}
WHERE o.backend_id = $1 AND ($2::uuid IS NULL OR o.secret_id > $2)
ORDER BY o.secret_id
LIMIT $3;

-- name: sources_to_sync
-- Those of the mode sync whose last try is older than the backend's ttl (at least $1 seconds), the longest waiting first; $2 limit.
@{source_columns}
WHERE o.mode = 'sync' AND o.tried_at < statement_timestamp() - make_interval(secs => greatest(b.ttl, $1::integer))
ORDER BY o.tried_at
LIMIT $2;

-- name: source_put
INSERT INTO secret_source (secret_id, backend_id, ref, field, mode, fetched_at, tried_at, created_by)
VALUES ($1, $2, $3, $4, $5, statement_timestamp(), statement_timestamp(), $6)
ON CONFLICT (secret_id) DO UPDATE
SET backend_id = $2, ref = $3, field = $4, mode = $5, fetched_at = statement_timestamp(), tried_at = statement_timestamp(),
    failure = '', created_by = $6, stopped = '';

-- name: source_stopped
UPDATE secret_source SET tried_at = statement_timestamp(), stopped = $2 WHERE secret_id = $1;

-- name: source_tried
-- $2 the failure ('' for none), $3 when the asking began: fresh is what was asked for then, not what was stored later.
UPDATE secret_source
SET tried_at = $3, failure = $2, stopped = '', fetched_at = CASE WHEN $2 = '' THEN $3 ELSE fetched_at END
WHERE secret_id = $1;

-- name: source_delete
DELETE FROM secret_source WHERE secret_id = $1;

-- name: secret_set_source
-- $2 the source as the secret's view shows it, or NULL.
UPDATE secret SET source = $2::text::jsonb, revision = revision + 1, updated_at = clock_timestamp() WHERE id = $1;
