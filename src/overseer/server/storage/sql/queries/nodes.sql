-- Nodes, their keys and how they enrol.

-- name: node_insert
INSERT INTO node (id, name, description) VALUES ($1, $2, $3);

-- name: node_patch
-- NULL leaves a column as it is.
UPDATE node SET description = COALESCE($2, description), labels = COALESCE($3::jsonb, labels),
       drained_at = CASE WHEN $4::boolean IS NULL THEN drained_at
                         WHEN $4 THEN COALESCE(drained_at, statement_timestamp()) END,
       revision = revision + 1
WHERE id = $1;

-- name: node_all
-- $1 a name, $2 an id, $3 the last name of the page before; NULL: whichever.
SELECT id, name, description, labels, state, drained_at, principal_id, agent_version, last_seen_at, created_at,
       revision
FROM node
WHERE ($1::text IS NULL OR name = $1) AND ($2::uuid IS NULL OR id = $2) AND ($3::text IS NULL OR name > $3) ORDER BY name;

-- name: node_lock
SELECT id FROM node WHERE id = $1 FOR UPDATE;

-- name: node_revoke
UPDATE node SET state = 'revoked', revision = revision + 1 WHERE id = $1;

-- name: node_activate
UPDATE node SET state = 'active', principal_id = $2, agent_version = CASE WHEN $3 = '' THEN agent_version ELSE $3 END
WHERE id = $1;

-- name: node_seen
UPDATE node SET last_seen_at = statement_timestamp(), agent_version = CASE WHEN $2 = '' THEN agent_version ELSE $2 END
WHERE id = $1;

-- name: node_deployments_fail
UPDATE deployment SET state = 'failed', error = $2, finished_at = statement_timestamp(), lease_until = NULL
WHERE node_id = $1 AND state IN ('queued', 'released', 'applying');

-- name: principal_enable
UPDATE principal SET disabled_at = NULL WHERE id = $1;

-- name: enrolment_token_insert
INSERT INTO enrolment_token (id, hash, node_id, expires_at, created_by) VALUES ($1, $2, $3, $4, $5);

-- name: enrolment_token_lock
-- The row lock makes two agents with one token take turns.
SELECT t.id, t.node_id, n.name AS node, t.expires_at <= statement_timestamp() AS expired, t.used_by_key,
       k.encryption_key AS used_encryption_key, k.signing_key AS used_signing_key, k.retired_at AS used_retired_at
FROM enrolment_token t JOIN node n ON n.id = t.node_id LEFT JOIN node_key k ON k.id = t.used_by_key
WHERE t.hash = $1 FOR UPDATE OF t;

-- name: enrolment_token_use
UPDATE enrolment_token SET used_at = COALESCE(used_at, statement_timestamp()), used_by_key = $2 WHERE id = $1;

-- name: enrolment_token_drop
DELETE FROM enrolment_token WHERE node_id = $1 AND used_at IS NULL;

-- name: node_key_insert
INSERT INTO node_key (id, node_id, encryption_key, signing_key) VALUES ($1, $2, $3, $4);

-- name: node_key_pending
SELECT id FROM node_key WHERE node_id = $1 AND encryption_key = $2 AND signing_key = $3 AND confirmed_at IS NULL AND retired_at IS NULL;

-- name: node_key_drop_pending
-- Keys of an enrolment that is under way are tied to its token and stay.
DELETE FROM node_key WHERE node_id = $1 AND confirmed_at IS NULL AND retired_at IS NULL
AND NOT EXISTS (SELECT FROM enrolment_token t WHERE t.used_by_key = node_key.id);

-- name: node_key_challenge
UPDATE node_key SET challenge = $2 WHERE id = $1;

-- name: node_key_lock
SELECT k.id, k.node_id, n.name AS node, n.principal_id, k.challenge, k.confirmed_at, k.retired_at
FROM node_key k JOIN node n ON n.id = k.node_id WHERE k.id = $1 FOR UPDATE OF k, n;

-- name: node_key_confirm
UPDATE node_key SET confirmed_at = COALESCE(confirmed_at, statement_timestamp()) WHERE id = $1;

-- name: node_key_retire_others
UPDATE node_key SET retired_at = statement_timestamp() WHERE node_id = $1 AND id <> $2 AND retired_at IS NULL;

-- name: node_key_retire_all
UPDATE node_key SET retired_at = statement_timestamp() WHERE node_id = $1 AND retired_at IS NULL;

-- name: node_key_live
SELECT k.id, k.encryption_key, k.signing_key, n.name AS node, n.state, n.principal_id
FROM node n LEFT JOIN node_key k ON k.node_id = n.id AND k.confirmed_at IS NOT NULL AND k.retired_at IS NULL
WHERE n.id = $1;

-- name: node_assertion_insert
INSERT INTO node_assertion (node_id, jti, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;

-- name: node_assertion_purge
DELETE FROM node_assertion WHERE node_id = $1 AND expires_at < statement_timestamp() - interval '5 minutes';
