-- Imports: which versions each made.

-- name: import_insert
INSERT INTO secret_import (id, origin, app_id, environment_id, node_id, app, environment, node, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: import_item_insert
-- The secret as it is right after the import, in its transaction.
INSERT INTO secret_import_item (import_id, secret_id, name, version, former_version, revision, erase_at)
SELECT $1, s.id, s.name, s.latest_version, o.former, s.revision, clock_timestamp() + make_interval(secs => o.erase_after)
FROM unnest($2::uuid[], $3::integer[], $4::integer[]) AS o (id, former, erase_after) JOIN secret s ON s.id = o.id;

-- fragment: import_columns
SELECT i.id, i.origin, i.app_id, i.environment_id, i.node_id, i.app, i.environment, i.node, i.created_by,
       coalesce(p.name, '') AS creator, i.created_at, i.undone_at
FROM secret_import i LEFT JOIN principal p ON p.id = i.created_by

-- name: import_by_id
@{import_columns}
WHERE i.id = $1;

-- name: import_page
SELECT p.*, (SELECT count(*) FROM secret_import_item t WHERE t.import_id = p.id) AS secrets
FROM (
@{import_columns}
WHERE $1::uuid IS NULL OR i.id < $1
ORDER BY i.id DESC LIMIT $2
) p ORDER BY p.id DESC;

-- name: import_items
SELECT import_id, secret_id, name, version, former_version, revision
FROM secret_import_item WHERE import_id = ANY ($1::uuid[]) ORDER BY name;

-- name: import_undone
-- Nobody undoes an import twice.
UPDATE secret_import SET undone_at = clock_timestamp() WHERE id = $1 AND undone_at IS NULL;

-- name: import_erase_due
-- What an import made for a time only, and its time is over: gone with its envelopes, and the item says no end any more.
WITH due AS (
    SELECT t.import_id, t.secret_id FROM secret_import_item t
    WHERE t.erase_at <= statement_timestamp() ORDER BY t.erase_at LIMIT $1 FOR UPDATE SKIP LOCKED
), noted AS (
    UPDATE secret_import_item t SET erase_at = NULL FROM due d
    WHERE t.import_id = d.import_id AND t.secret_id = d.secret_id RETURNING t.import_id, t.secret_id
), gone AS (
    DELETE FROM secret s USING noted n WHERE s.id = n.secret_id RETURNING s.id, s.name, n.import_id
)
SELECT g.id, g.name, i.app, i.environment, i.node, i.created_by FROM gone g JOIN secret_import i ON i.id = g.import_id;
