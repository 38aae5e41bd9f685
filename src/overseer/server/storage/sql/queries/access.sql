-- Roles, groups and their members, emergency bindings, and the rule that somebody stays who may do everything.

-- name: role_insert
INSERT INTO role (id, name, permissions, description) VALUES ($1, $2, $3, $4);

-- name: role_found
-- $1 id or NULL, $2 the last name of the page before or NULL, $3 limit or NULL. In use: by how many bindings.
SELECT r.id, r.name, r.permissions, r.built_in, r.description, r.revision, r.created_at,
       (SELECT count(*) FROM binding b WHERE b.role_id = r.id) AS in_use
FROM role r
WHERE ($1::uuid IS NULL OR r.id = $1) AND ($2::text IS NULL OR r.name > $2)
ORDER BY r.name
LIMIT $3;

-- name: role_lock
-- For whoever changes the role: nobody binds it meanwhile.
SELECT id FROM role WHERE id = $1 FOR UPDATE;

-- name: role_bits
-- For whoever binds it: its bits stay as they are until the binding is committed.
SELECT permissions FROM role WHERE id = $1 FOR SHARE;

-- name: role_patch
UPDATE role SET name = $2, description = $3, permissions = $4, revision = revision + 1,
    changed_by = CASE WHEN permissions = $4 THEN changed_by ELSE $5 END,
    changed_at = CASE WHEN permissions = $4 THEN changed_at ELSE clock_timestamp() END
WHERE id = $1;

-- name: role_rewrite_bindings
UPDATE binding SET permissions = $2 WHERE role_id = $1;

-- name: role_delete_bindings
DELETE FROM binding WHERE role_id = $1;

-- name: role_delete
DELETE FROM role WHERE id = $1;

-- name: group_insert
INSERT INTO principal_group (id, name, description) VALUES ($1, $2, $3);

-- name: group_found
-- As role_found.
SELECT g.id, g.name, g.description, g.revision, g.created_at,
       (SELECT count(*) FROM group_member m WHERE m.group_id = g.id) AS members
FROM principal_group g
WHERE ($1::uuid IS NULL OR g.id = $1) AND ($2::text IS NULL OR g.name > $2)
ORDER BY g.name
LIMIT $3;

-- name: group_by_name
SELECT g.id FROM principal_group g WHERE g.name = $1;

-- name: group_lock
SELECT id FROM principal_group WHERE id = $1 FOR UPDATE;

-- name: group_patch
UPDATE principal_group SET name = $2, description = $3, revision = revision + 1 WHERE id = $1;

-- name: group_delete
DELETE FROM principal_group WHERE id = $1;

-- name: member_insert
INSERT INTO group_member (principal_id, group_id) VALUES ($1, $2) ON CONFLICT DO NOTHING;

-- name: member_delete
-- Whoever comes into the group again has the place from whoever gives it then.
WITH hand AS (
    DELETE FROM account_hand h USING group_member m
    WHERE m.principal_id = $1 AND m.group_id = $2 AND h.principal_id = $1 AND h.group_id = $2
)
DELETE FROM group_member WHERE principal_id = $1 AND group_id = $2;

-- name: member_page
-- $1 group, $2 and $3 name and id of the last one of the page before, $4 limit.
SELECT p.id, p.kind, p.name, p.description, p.disabled_at, p.created_at, p.revision
FROM group_member m JOIN principal p ON p.id = m.principal_id
WHERE m.group_id = $1 AND ($2::text IS NULL OR (p.name, p.id) > ($2, $3::uuid))
ORDER BY p.name, p.id
LIMIT $4;

-- name: groups_of
SELECT g.id, g.name FROM group_member m JOIN principal_group g ON g.id = m.group_id WHERE m.principal_id = $1 ORDER BY g.name;

-- name: principal_touch
-- Under the row's lock: what was checked against the entity tag still holds when it is written.
SELECT revision FROM principal WHERE id = $1 FOR UPDATE;

-- name: principal_describe
UPDATE principal SET description = $2, revision = revision + 1 WHERE id = $1;

-- name: principal_switch
-- $2: disabled or not.
UPDATE principal SET disabled_at = CASE WHEN $2::boolean THEN COALESCE(disabled_at, statement_timestamp()) END, revision = revision + 1
WHERE id = $1;

-- name: binding_activate
-- An emergency binding lives from now on for its stated time, and no longer than it is available. No row: it lives already, it is
-- none, or its time is over.
UPDATE binding
SET expires_at = LEAST(statement_timestamp() + active_seconds * interval '1 second', available_until)
WHERE id = $1 AND active_seconds IS NOT NULL AND expires_at <= statement_timestamp()
  AND (available_until IS NULL OR available_until > statement_timestamp())
RETURNING expires_at;

-- name: binding_deactivate
-- The transaction's clock: who shows the binding in the same transaction must not find it alive.
UPDATE binding SET expires_at = now() WHERE id = $1 AND active_seconds IS NOT NULL AND expires_at > statement_timestamp();

-- name: token_shorten
-- The predecessor of a rotated token: it lives for $2 more seconds at most.
UPDATE token SET expires_at = LEAST(expires_at, statement_timestamp() + $2::integer * interval '1 second') WHERE id = $1;

-- name: owner_lock
-- Whoever may have taken away an owner asks under this lock whether one is left: two at once never each count on the other's.
SELECT id FROM role WHERE name = 'owner' FOR NO KEY UPDATE;

-- name: owner_lives
-- A live person or service account that holds the owner role without limits and without end, itself or through a group.
SELECT EXISTS (
    SELECT FROM binding b
    JOIN role r ON r.id = b.role_id AND r.name = 'owner'
    JOIN principal p ON p.disabled_at IS NULL AND p.kind <> 'node'
         AND (p.id = b.subject_id OR EXISTS (SELECT FROM group_member m WHERE m.group_id = b.subject_id AND m.principal_id = p.id))
    WHERE b.app_match = 'any' AND b.environment_match = 'any' AND b.node_match = 'any' AND b.name = '' AND b.name_is_prefix
      AND b.expires_at IS NULL);
