-- Writes in batches: who may, the locks, the rows. One transaction each: write_decide_*, idempotency_claim, write_lock, write_*.
-- What is not plain (a refusal, a replay, a rollout, a name that is taken) is left out by these and done by the gate alone.

-- name: write_decide_updates
-- $1 token hashes, $2 peers ('' or a valid address), $3 secrets, $4 whether the version becomes the active one; $5 the bit of
-- secret:write, $6 that of policies that guard activation. Those that may, and wait for nobody, with who they are.
WITH request AS MATERIALIZED (
    SELECT * FROM unnest($1::bytea[], $2::text[], $3::uuid[], $4::boolean[]) WITH ORDINALITY AS r (hash, peer, secret_id, activate, ord)
),
holder AS MATERIALIZED (
    @{holders}
),
found AS MATERIALIZED (
    SELECT r.ord, h.id AS principal_id, h.kind, h.name AS principal_name, h.token_id, h.subjects,
           @{refusal} AS refusal,
           r.activate, s.name, s.labels, s.scope_id, c.app_id, c.environment_id, c.node_id
    FROM request r
    JOIN holder h ON h.hash = r.hash
    JOIN secret s ON s.id = r.secret_id
    JOIN scope c ON c.id = s.scope_id
)
SELECT f.ord, f.principal_id, f.kind, f.principal_name, f.token_id, f.scope_id, f.name, f.labels::text AS labels, statement_timestamp() AS now
FROM found f
WHERE f.refusal IS NULL AND EXISTS (
    SELECT FROM binding b
    WHERE b.subject_id = ANY (f.subjects) AND b.permissions & $5::bigint <> 0 AND @{lives}
      AND @{covers})
  AND NOT (f.activate AND EXISTS (SELECT FROM approval_policy b WHERE b.actions & $6::smallint <> 0 AND @{guards}));

-- name: write_decide_creates
-- $1 token hashes, $2 peers, $3-$5 names of app, environment, node (NULL: unset), $6 names of the secrets, $7 their labels;
-- $8 the bit of secret:write, $9 that of policies that guard activation. Those that may and wait for nobody, where the place exists,
-- has its row of scope, and has no secret of that name.
WITH request AS MATERIALIZED (
    SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
        WITH ORDINALITY AS r (hash, peer, app, environment, node, name, labels, ord)
),
holder AS MATERIALIZED (
    @{holders}
),
found AS MATERIALIZED (
    SELECT r.ord, r.name, r.labels::jsonb AS labels, h.id AS principal_id, h.kind, h.name AS principal_name, h.token_id, h.subjects,
           @{refusal} AS refusal,
           a.id AS app_id, e.id AS environment_id, n.id AS node_id
    FROM request r
    JOIN holder h ON h.hash = r.hash
    LEFT JOIN app a ON a.name = r.app
    LEFT JOIN environment e ON e.name = r.environment
    LEFT JOIN node n ON n.name = r.node
    WHERE (r.app IS NULL) = (a.id IS NULL) AND (r.environment IS NULL) = (e.id IS NULL) AND (r.node IS NULL) = (n.id IS NULL)
)
SELECT f.ord, f.principal_id, f.kind, f.principal_name, f.token_id, c.id AS scope_id, f.app_id, f.environment_id, f.node_id,
       statement_timestamp() AS now
FROM found f
-- In two halves, because IS NOT DISTINCT FROM cannot use the index.
JOIN LATERAL (
    SELECT c.id FROM scope c
    WHERE c.app_id = f.app_id AND c.environment_id IS NOT DISTINCT FROM f.environment_id
      AND c.node_id IS NOT DISTINCT FROM f.node_id
    UNION ALL
    SELECT c.id FROM scope c
    WHERE f.app_id IS NULL AND c.app_id IS NULL AND c.environment_id IS NOT DISTINCT FROM f.environment_id
      AND c.node_id IS NOT DISTINCT FROM f.node_id
) c ON true
WHERE f.refusal IS NULL
  AND NOT EXISTS (SELECT FROM secret s WHERE s.name = f.name AND s.scope_id = c.id)
  AND EXISTS (
    SELECT FROM binding b
    WHERE b.subject_id = ANY (f.subjects) AND b.permissions & $8::bigint <> 0 AND @{lives}
      AND @{covers})
  AND NOT EXISTS (SELECT FROM approval_policy b WHERE b.actions & $9::smallint <> 0 AND @{guards});

-- name: write_lock
-- In the order of the ids, so that two replicas cannot wait for each other. Whom somebody else has locked is left out: the others
-- of the batch need not wait for it.
@{secret_rows}
WHERE s.id = ANY ($1::uuid[])
ORDER BY s.id
FOR UPDATE OF s SKIP LOCKED;

-- name: write_versions
-- A new version of each secret, which the transaction has locked: $1 secrets, $2 version numbers, $3 ids of the versions, $4 formats,
-- $5 key terms, $6 wrapped data keys, $7 ciphertexts, $8 who, $9 whether it becomes the active one, $10 at once (else only where no
-- deployment uses the secret), $11 the generator or NULL, $12 the version that is active now; $13 how long that one stays readable.
-- Its snapshot begins after the locks were had: rollouts are begun under them.
WITH request AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::integer[], $3::uuid[], $4::smallint[], $5::integer[], $6::bytea[], $7::bytea[], $8::uuid[],
                         $9::boolean[], $10::boolean[], $11::text[], $12::integer[])
        AS r (secret_id, version, id, format, kek_term, wrapped_dek, ciphertext, created_by, activate, immediate, generator, was_active)
),
plain AS MATERIALIZED (
    SELECT r.* FROM request r
    WHERE NOT EXISTS (SELECT FROM rollout o WHERE o.secret_id = r.secret_id AND o.state = 'running')
      AND NOT EXISTS (SELECT FROM secret_rotation_run o
                      WHERE o.secret_id = r.secret_id AND o.finished_at IS NULL AND o.at_source <> '')
      AND (r.immediate OR NOT r.activate OR NOT EXISTS (SELECT @{placed} AND s.secret_id = r.secret_id))
),
added AS (
    INSERT INTO secret_version (secret_id, version, id, format, kek_term, wrapped_dek, ciphertext, created_by)
    SELECT p.secret_id, p.version, p.id, p.format, p.kek_term, p.wrapped_dek, p.ciphertext, p.created_by FROM plain p
),
graced AS (
    UPDATE secret_version v SET readable_until = statement_timestamp() + COALESCE(
        (SELECT (s.rotation ->> 'grace_days')::integer * interval '1 day' FROM secret s WHERE s.id = p.secret_id), $13::interval)
    FROM plain p WHERE p.activate AND v.secret_id = p.secret_id AND v.version = p.was_active
)
UPDATE secret s
SET latest_version = p.version, active_version = CASE WHEN p.activate THEN p.version ELSE s.active_version END,
    generator = COALESCE(p.generator, s.generator), revision = s.revision + 1, updated_at = clock_timestamp()
FROM plain p WHERE s.id = p.secret_id
RETURNING s.id, s.latest_version, s.active_version, s.revision, s.generator, s.updated_at;

-- name: write_secrets
-- New secrets with version 1: $1 ids, $2 scopes, $3 names, $4 descriptions, $5 labels, $6 owners, $7 expiries, $8 generators,
-- $9 rotation policies, $10 who, $11 ids of the versions, $12 formats, $13 key terms, $14 wrapped data keys, $15 ciphertexts.
-- Those whose name was not taken meanwhile. In the order of scope and name, so that two replicas cannot wait for each other.
WITH request AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::text[],
                         $9::text[], $10::uuid[], $11::uuid[], $12::smallint[], $13::integer[], $14::bytea[], $15::bytea[])
        AS r (id, scope_id, name, description, labels, owner, expires_at, generator, rotation, created_by, version_id, format,
              kek_term, wrapped_dek, ciphertext)
),
made AS (
    INSERT INTO secret (id, scope_id, name, latest_version, active_version, description, labels, owner, expires_at, generator,
                        rotation, created_by)
    SELECT r.id, r.scope_id, r.name, 1, 1, r.description, r.labels::jsonb, r.owner, r.expires_at, r.generator, r.rotation::jsonb,
           r.created_by
    FROM request r ORDER BY r.scope_id, r.name COLLATE "C"
    ON CONFLICT (name, scope_id) DO NOTHING
    RETURNING id, created_at, updated_at
),
added AS (
    INSERT INTO secret_version (secret_id, version, id, format, kek_term, wrapped_dek, ciphertext, created_by)
    SELECT r.id, 1, r.version_id, r.format, r.kek_term, r.wrapped_dek, r.ciphertext, r.created_by FROM made m JOIN request r USING (id)
)
SELECT id, created_at, updated_at FROM made;
