-- Secrets that move between instances, with all of their versions.

-- name: migration_secrets
-- $1 apps or NULL, $2 environment or NULL, $3 node or NULL: every secret whose scope has these parts. $4: or none at all.
@{secret_rows}
WHERE ($1::uuid[] IS NULL OR c.app_id = ANY ($1)) AND ($2::uuid IS NULL OR c.environment_id = $2)
  AND ($3::uuid IS NULL OR c.node_id = $3)
   OR $4::boolean AND c.app_id IS NULL AND c.environment_id IS NULL AND c.node_id IS NULL
ORDER BY s.name, s.id;

-- name: migration_parts
-- The apps, environments and nodes among $1 (ids) or with a name among $2, $3, $4.
SELECT 'app' AS part, id, name, description, '{}' AS labels FROM app WHERE id = ANY ($1::uuid[]) OR name = ANY ($2::text[])
UNION ALL
SELECT 'environment', id, name, description, '{}' FROM environment WHERE id = ANY ($1) OR name = ANY ($3::text[])
UNION ALL
SELECT 'node', id, name, description, labels::text FROM node WHERE id = ANY ($1) OR name = ANY ($4::text[])
ORDER BY part, name;

-- name: migration_versions
-- What is known of every version of secrets beside its value. $1 secrets, $2 versions' ids: of whatever secret.
SELECT v.secret_id, v.version, v.id, v.created_at, v.readable_until, v.creator, p.name AS maker
FROM secret_version v LEFT JOIN principal p ON p.id = v.created_by
WHERE v.secret_id = ANY ($1::uuid[]) OR v.id = ANY ($2::uuid[])
ORDER BY v.secret_id, v.version;

-- name: migration_rotators
-- What changes the credentials of secrets at their source, as a word.
SELECT secret_id, rotator ->> 'kind' AS kind FROM secret_rotation WHERE secret_id = ANY ($1::uuid[]) AND rotator IS NOT NULL;

-- name: migration_owners
-- Those of the names that somebody here has: people, service accounts, groups.
SELECT name FROM principal WHERE name = ANY ($1::text[]) AND kind <> 'node'
UNION SELECT name FROM principal_group WHERE name = ANY ($1);

-- name: migration_secret_insert
-- Its versions follow in the same transaction. Taken ids and names fail.
INSERT INTO secret (id, scope_id, name, latest_version, active_version, description, labels, owner, expires_at, generator, rotation,
                    created_by, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8, $9, $10, $11::text::jsonb, $12, $13);

-- name: migration_version_insert
INSERT INTO secret_version (secret_id, version, id, format, kek_term, wrapped_dek, ciphertext, readable_until, created_at, creator)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);

-- name: migration_secret_advance
-- More versions of a secret that came before; the caller holds the lock.
UPDATE secret SET latest_version = $2, active_version = $3, revision = revision + 1, updated_at = clock_timestamp() WHERE id = $1;
