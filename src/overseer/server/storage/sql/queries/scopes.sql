-- Apps, environments, and the scopes that secrets live at.

-- name: scope_by_names
SELECT (SELECT id FROM app WHERE name = $1) AS app,
       (SELECT id FROM environment WHERE name = $2) AS environment,
       (SELECT id FROM node WHERE name = $3) AS node;

-- name: scope_insert
INSERT INTO scope (id, app_id, environment_id, node_id) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING;

-- name: scope_id_by_parts
SELECT id FROM scope
WHERE app_id IS NOT DISTINCT FROM $1 AND environment_id IS NOT DISTINCT FROM $2 AND node_id IS NOT DISTINCT FROM $3;

-- name: app_insert
INSERT INTO app (id, name, description) VALUES ($1, $2, $3) RETURNING id, name, description, created_at, revision;

-- name: app_all
-- $1 the last name of the page before, or NULL.
SELECT id, name, description, created_at, revision FROM app WHERE $1::text IS NULL OR name > $1 ORDER BY name;

-- name: app_by_name
SELECT id, name, description, created_at, revision FROM app WHERE name = $1;

-- name: app_by_id
SELECT id, name, description, created_at, revision FROM app WHERE id = $1;

-- name: app_lock
-- Nothing new comes to live at it until the transaction ends.
SELECT id FROM app WHERE id = $1 FOR UPDATE;

-- name: app_describe
UPDATE app SET description = $2, revision = revision + 1 WHERE id = $1;

-- name: app_scopes_delete_empty
-- A scope row outlives its last secret; it must not keep its app from being deleted.
DELETE FROM scope WHERE app_id = $1 AND NOT EXISTS (SELECT FROM secret WHERE secret.scope_id = scope.id);

-- name: app_delete
DELETE FROM app WHERE id = $1;

-- name: environment_insert
INSERT INTO environment (id, name, description) VALUES ($1, $2, $3) RETURNING id, name, description, created_at, revision;

-- name: environment_all
-- $1 the last name of the page before, or NULL.
SELECT id, name, description, created_at, revision FROM environment WHERE $1::text IS NULL OR name > $1 ORDER BY name;

-- name: environment_by_name
SELECT id, name, description, created_at, revision FROM environment WHERE name = $1;

-- name: environment_by_id
SELECT id, name, description, created_at, revision FROM environment WHERE id = $1;

-- name: environment_lock
-- Nothing new comes to live at it until the transaction ends.
SELECT id FROM environment WHERE id = $1 FOR UPDATE;

-- name: environment_describe
UPDATE environment SET description = $2, revision = revision + 1 WHERE id = $1;

-- name: environment_scopes_delete_empty
DELETE FROM scope WHERE environment_id = $1 AND NOT EXISTS (SELECT FROM secret WHERE secret.scope_id = scope.id);

-- name: environment_delete
DELETE FROM environment WHERE id = $1;
