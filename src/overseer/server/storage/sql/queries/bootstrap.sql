-- Making an instance, and bringing an existing one up to the release that starts it.

-- name: bootstrap_lock
-- Two inits at once: the second waits and then finds the instance.
SELECT pg_advisory_xact_lock(8102661214773306990);

-- name: instance_table_exists
SELECT to_regclass('instance') IS NOT NULL;

-- name: instance_insert
INSERT INTO instance (id, check_value, seal_kind, seal_config) VALUES ($1, $2, $3, $4);

-- name: keyring_insert
INSERT INTO keyring_key (purpose, term, wrapped) VALUES ($1, $2, $3);

-- name: role_refresh
-- A built-in role gets the permissions of this release. A role of the same name that people made is left alone, and told by its absence.
INSERT INTO role (id, name, permissions, built_in) VALUES ($1, $2, $3, true)
ON CONFLICT (name) DO UPDATE SET permissions = EXCLUDED.permissions WHERE role.built_in AND role.permissions <> EXCLUDED.permissions
RETURNING name;

-- name: role_refresh_bindings
UPDATE binding SET permissions = role.permissions
FROM role WHERE role.id = binding.role_id AND role.built_in AND binding.permissions <> role.permissions;
