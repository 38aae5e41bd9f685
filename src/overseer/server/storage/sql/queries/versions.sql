-- Versions of secrets: immutable, their values only as envelopes.

-- name: version_insert
INSERT INTO secret_version (secret_id, version, id, format, kek_term, wrapped_dek, ciphertext, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: version_exists
SELECT EXISTS (SELECT FROM secret_version WHERE secret_id = $1 AND version = $2);

-- name: versions_existing
-- $1 secrets, $2 their versions, pairwise.
SELECT v.secret_id, v.version
FROM unnest($1::uuid[], $2::integer[]) AS wanted (secret_id, version)
JOIN secret_version v ON v.secret_id = wanted.secret_id AND v.version = wanted.version;

-- name: version_page
-- Newest first. $2 the last version of the page before or NULL, $3 limit.
SELECT v.version, v.version = s.active_version AS active, v.created_at, coalesce(v.creator, p.name) AS created_by, v.readable_until
FROM secret_version v
JOIN secret s ON s.id = v.secret_id
LEFT JOIN principal p ON p.id = v.created_by
WHERE v.secret_id = $1 AND ($2::integer IS NULL OR v.version < $2)
ORDER BY v.version DESC
LIMIT $3;

-- name: versions_stored
-- $1 secrets, $2 their versions, pairwise; $3 the most bytes of ciphertext in all: beyond it every ciphertext is NULL.
SELECT v.secret_id, v.version, v.id, s.scope_id, v.format, v.kek_term, v.wrapped_dek,
       CASE WHEN sum(octet_length(v.ciphertext)) OVER () <= $3::bigint THEN v.ciphertext END AS ciphertext
FROM unnest($1::uuid[], $2::integer[]) AS wanted (secret_id, version)
JOIN secret_version v ON v.secret_id = wanted.secret_id AND v.version = wanted.version
JOIN secret s ON s.id = v.secret_id;

-- name: version_replace
-- A secret moved: the same version under a new id, with the envelope of the new place. All else about it stays.
WITH gone AS (DELETE FROM secret_version WHERE id = $1 RETURNING secret_id, version, readable_until, created_by, created_at, creator)
INSERT INTO secret_version (secret_id, version, id, format, kek_term, wrapped_dek, ciphertext, readable_until, created_by, created_at,
                            creator)
SELECT secret_id, version, $2, $3, $4, $5, $6, readable_until, created_by, created_at, creator FROM gone;

-- name: version_grace
-- $2 was the active version until now, $3 is it from now on; $4 how long the old one is kept for those that still hold it, where
-- the secret's rotation policy says nothing.
UPDATE secret_version
SET readable_until = CASE WHEN version = $2 THEN statement_timestamp() + COALESCE(
        (SELECT (s.rotation ->> 'grace_days')::integer * interval '1 day' FROM secret s WHERE s.id = $1), $4::interval) END
WHERE secret_id = $1 AND version IN ($2, $3);
