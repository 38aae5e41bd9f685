-- Principals, tokens, roles and bindings.

-- name: principal_insert
INSERT INTO principal (id, kind, name, description, created_by) VALUES ($1, $2, $3, $4, $5)
RETURNING id, kind, name, description, disabled_at, created_at, revision;

-- name: principal_all
-- $1 kind or NULL; $2, $3 name and id of the last one of the page before, or NULL; $4 limit or NULL.
SELECT id, kind, name, description, disabled_at, created_at, revision FROM principal
WHERE ($1::text IS NULL OR kind = $1) AND ($2::text IS NULL OR (name, id) > ($2, $3::uuid))
ORDER BY name, id
LIMIT $4;

-- name: principal_by_id
SELECT id, kind, name, description, disabled_at, created_at, revision FROM principal WHERE id = $1;

-- name: principal_by_name
SELECT id, kind, name, description, disabled_at, created_at, revision FROM principal WHERE kind = $1 AND name = $2;

-- name: principal_delete
-- Of a machine it stays written who could act as it.
WITH held AS (
    INSERT INTO account_hand (principal_id, hand_id, act)
    SELECT p.id, m.id, 'held' FROM principal p
    CROSS JOIN LATERAL (SELECT p.created_by AS id UNION SELECT t.created_by FROM token t WHERE t.principal_id = p.id) m
    WHERE p.id = $1 AND p.kind = 'service_account' AND m.id <> p.id
)
DELETE FROM principal WHERE id = $1;

-- name: principal_disable
UPDATE principal SET disabled_at = statement_timestamp() WHERE id = $1 AND disabled_at IS NULL;

-- name: token_insert
INSERT INTO token (hash, id, principal_id, description, expires_at, networks, created_by)
VALUES ($1, $2, $3, $4, $5, $6::text[]::cidr[], $7);

-- name: token_all
-- Sessions have a list of their own; by id they are found as what they are: tokens.
SELECT t.id, t.principal_id, p.name AS principal, p.kind, t.description, t.expires_at, t.networks::text[] AS networks, t.revoked_at,
       t.last_used_at, t.created_at, t.kind = 'session' AS is_session,
       p.kind = 'service_account' AS of_machine
FROM token t JOIN principal p ON p.id = t.principal_id
WHERE ($1::text IS NULL OR p.name = $1) AND CASE WHEN $2::uuid IS NULL THEN t.kind = 'token' ELSE t.id = $2 END
  AND p.kind <> 'node' AND ($3::uuid IS NULL OR t.id > $3)
ORDER BY t.id
LIMIT $4;

-- name: token_by_id
SELECT t.id, t.principal_id, p.name AS principal, t.revoked_at FROM token t JOIN principal p ON p.id = t.principal_id WHERE t.id = $1;

-- name: token_expiry
SELECT expires_at FROM token WHERE id = $1;

-- name: token_revoke
UPDATE token SET revoked_at = statement_timestamp() WHERE id = $1 AND revoked_at IS NULL;

-- name: token_revoke_all
UPDATE token SET revoked_at = statement_timestamp() WHERE principal_id = $1 AND revoked_at IS NULL;

-- name: token_delete_expired
DELETE FROM token WHERE principal_id = $1 AND expires_at < statement_timestamp();

-- name: role_by_name
SELECT id, name, permissions, built_in FROM role WHERE name = $1;

-- name: binding_insert
INSERT INTO binding (id, subject_id, subject_kind, role_id, permissions, app_match, app_id, environment_match, environment_id,
                     node_match, node_id, name, name_is_prefix, expires_at, created_by, active_seconds, available_until)
VALUES ($1, $2, $15, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $16, $17);

-- name: binding_all
-- $1 subjects, $2 id, $3 name of the role, $4 of the principal, $5 of the group, $6 whether it is for an emergency, $7 the last id
-- of the page before, $8 limit, $9 id of the role; NULL: whichever.
SELECT b.id, b.subject_id, b.subject_kind, COALESCE(p.name, g.name) AS subject, b.role_id, r.name AS role, b.permissions,
       b.active_seconds, b.available_until, b.app_match, b.app_id, a.name AS app, b.environment_match, b.environment_id, e.name AS environment, b.node_match, b.node_id, n.name AS node,
       b.name AS pattern, b.name_is_prefix, b.expires_at, b.created_at
FROM binding b
JOIN role r ON r.id = b.role_id
LEFT JOIN principal p ON p.id = b.subject_id AND b.subject_kind = 'principal'
LEFT JOIN principal_group g ON g.id = b.subject_id AND b.subject_kind = 'group'
LEFT JOIN app a ON a.id = b.app_id
LEFT JOIN environment e ON e.id = b.environment_id
LEFT JOIN node n ON n.id = b.node_id
WHERE ($1::uuid[] IS NULL OR b.subject_id = ANY ($1)) AND ($2::uuid IS NULL OR b.id = $2)
  AND ($3::text IS NULL OR r.name = $3) AND ($4::text IS NULL OR p.name = $4) AND ($5::text IS NULL OR g.name = $5)
  AND ($6::boolean IS NULL OR (b.active_seconds IS NOT NULL) = $6) AND ($7::uuid IS NULL OR b.id > $7)
  AND ($9::uuid IS NULL OR b.role_id = $9)
ORDER BY b.id
LIMIT $8;

-- name: binding_delete
DELETE FROM binding WHERE id = $1;

-- name: binding_delete_of_subject
DELETE FROM binding WHERE subject_id = $1;

-- name: subjects_of
SELECT ARRAY(SELECT m.group_id FROM group_member m WHERE m.principal_id = $1) || $1::uuid;
