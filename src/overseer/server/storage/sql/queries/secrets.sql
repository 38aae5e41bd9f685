-- Secrets with the names of their scope. Every query that gives a secret gives the same columns.

-- fragment: secret_columns
SELECT s.id, s.name, s.scope_id, s.latest_version, s.active_version, s.revision, s.description, s.labels::text AS labels, s.owner,
       s.expires_at, s.generator, s.rotation::text AS rotation, s.source::text AS source, s.created_at, s.updated_at,
       c.app_id, c.environment_id, c.node_id, a.name AS app, e.name AS environment, n.name AS node,
       (SELECT r.id FROM rollout r WHERE r.secret_id = s.id AND r.state = 'running') AS rollout

-- fragment: scope_parts
-- The parts of a scope c by name.
LEFT JOIN app a ON a.id = c.app_id LEFT JOIN environment e ON e.id = c.environment_id LEFT JOIN node n ON n.id = c.node_id

-- fragment: secret_rows
@{secret_columns}
FROM secret s
JOIN scope c ON c.id = s.scope_id
@{scope_parts}

-- name: secret_by_id
@{secret_rows}
WHERE s.id = $1;

-- name: secret_by_ids
@{secret_rows}
WHERE s.id = ANY ($1::uuid[])
ORDER BY s.name, s.id;

-- name: secret_by_id_locked
-- The row as it is once the lock is had: a writer that was waited for has changed it.
@{secret_rows}
WHERE s.id = $1
FOR UPDATE OF s;

-- name: secret_by_ids_locked
-- As above, for many, in order of their ids.
@{secret_rows}
WHERE s.id = ANY ($1::uuid[])
ORDER BY s.id
FOR UPDATE OF s;

-- name: secret_by_name
@{secret_rows}
WHERE s.name = $1
ORDER BY s.id;

-- name: secret_at_scope
-- $1-$3 the scope exactly, $4 a name or NULL.
@{secret_rows}
WHERE c.app_id IS NOT DISTINCT FROM $1 AND c.environment_id IS NOT DISTINCT FROM $2 AND c.node_id IS NOT DISTINCT FROM $3
  AND ($4::text IS NULL OR s.name = $4)
ORDER BY s.name;

-- name: secret_candidates_by_name
-- $1 names, $2-$4 the place: every secret of those names whose set scope parts all match. Which one wins is core.scope_selection's.
@{secret_rows}
WHERE s.name = ANY ($1::text[])
  AND (c.app_id IS NULL OR c.app_id = $2) AND (c.environment_id IS NULL OR c.environment_id = $3)
  AND (c.node_id IS NULL OR c.node_id = $4);

-- name: secret_candidates_all
-- $1-$3 the place, $4 limit: every secret that applies there, by name.
@{secret_columns}
FROM scope c
JOIN secret s ON s.scope_id = c.id
@{scope_parts}
WHERE (c.app_id IS NULL OR c.app_id = $1) AND (c.environment_id IS NULL OR c.environment_id = $2)
  AND (c.node_id IS NULL OR c.node_id = $3)
ORDER BY s.name, s.id
LIMIT $4;

-- fragment: secret_place_wanted
-- Whether the scope c is among those that a page is asked for.
      ($4::text IS NULL OR c.app_id = (SELECT id FROM app WHERE name = $4))
  AND ($5::text IS NULL OR c.environment_id = (SELECT id FROM environment WHERE name = $5))
  AND ($6::text IS NULL OR c.node_id = (SELECT id FROM node WHERE name = $6))
  AND ($7::integer IS NULL
       OR $7 = 4 * (c.app_id IS NOT NULL)::integer + 2 * (c.node_id IS NOT NULL)::integer + (c.environment_id IS NOT NULL)::integer)

-- fragment: secret_wanted
-- Whether the secret s is among those that a page is asked for, and after the last row of the page before.
      ($8::text IS NULL OR CASE WHEN $9::boolean THEN starts_with(s.name, $8) ELSE s.name = $8 END)
  AND ($10::text IS NULL OR (s.labels ? $10 AND ($11::text IS NULL OR s.labels ->> $10 = $11)))
  AND ($12::text IS NULL OR strpos(lower(s.name), lower($12)) > 0 OR strpos(lower(s.description), lower($12)) > 0)
  AND ($13::text IS NULL OR (s.name, s.id) > ($13, $14::uuid))

-- name: secret_page
-- $1 principal, $2 bit of the permission, $3 now: the decision of core.access.decide in SQL (a test compares the two).
-- $4-$6 names of app, environment, node; $7 rank of the scope (core.scopes); $8 name, $9 whether it is a prefix; $10 label key,
-- $11 label value; $12 text in name or description; $13, $14 the last row of the page before; $15 limit. NULL: no such filter.
--
-- Two ways, one of which is gone. Where the places that the caller may list hold $16 secrets or fewer, all of them are looked at
-- and sorted. Else the secrets are gone through in the order of their names, each decided by itself, until the page is
-- full; as there are so many, that is soon. All that decides about a row stands in a
-- subquery that no plan can turn into a join or take for a rare condition: else all rows were sorted before the first was given.
-- Where the names of the page can lie at all is said to the index, the end as a pair because two comparisons of the name are
-- taken for a narrow range, and sorted; under "C" no text is before '' or beyond chr(1114111).
WITH held AS MATERIALIZED (
    SELECT b.app_match, b.app_id, b.environment_match, b.environment_id, b.node_match, b.node_id, b.name, b.name_is_prefix
    FROM binding b
    WHERE b.subject_id = ANY (ARRAY(SELECT m.group_id FROM group_member m WHERE m.principal_id = $1) || $1::uuid)
      AND b.permissions & $2::bigint <> 0
      AND (b.expires_at IS NULL OR b.expires_at > $3)
),
places AS MATERIALIZED (
    SELECT c.id, c.app_id, c.environment_id, c.node_id
    FROM scope c
    WHERE @{secret_place_wanted}
      AND EXISTS (SELECT FROM held b, LATERAL (SELECT c.app_id, c.environment_id, c.node_id) f WHERE @{selects})
),
counted AS MATERIALIZED (
    SELECT count(*) > $16 AS many
    FROM (SELECT FROM places p, LATERAL (SELECT FROM secret s WHERE s.scope_id = p.id LIMIT $16 + 1) AS one LIMIT $16 + 1) AS few
),
page AS MATERIALIZED (
    SELECT found.id, found.name
    FROM (
        (SELECT s.id, s.name
         FROM places c, LATERAL (SELECT * FROM secret s WHERE s.scope_id = c.id LIMIT $16 + 1) AS s
         WHERE NOT (SELECT many FROM counted) AND @{secret_wanted}
           AND EXISTS (SELECT FROM held b, LATERAL (SELECT c.app_id, c.environment_id, c.node_id, s.name) f WHERE @{covers}))
        UNION ALL
        (SELECT s.id, s.name
         FROM secret s
         WHERE (SELECT many FROM counted)
           AND s.name >= GREATEST(COALESCE($13::text, '') COLLATE "C", COALESCE($8::text, '') COLLATE "C")
           AND (s.name, s.scope_id)
               <= (CASE WHEN $8::text IS NULL THEN chr(1114111) WHEN $9::boolean THEN $8 || chr(1114111) ELSE $8 END COLLATE "C",
                   'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
           AND (SELECT EXISTS (SELECT FROM held b, LATERAL (SELECT c.app_id, c.environment_id, c.node_id, s.name) f WHERE @{covers})
                FROM scope c WHERE c.id = s.scope_id AND @{secret_place_wanted} AND @{secret_wanted})
         ORDER BY s.name, s.id
         LIMIT $15)
    ) AS found
    ORDER BY found.name, found.id
    LIMIT $15
)
@{secret_columns}
FROM page
JOIN secret s USING (id)
JOIN scope c ON c.id = s.scope_id
@{scope_parts}
ORDER BY s.name, s.id;

-- name: secret_insert
-- No row: the name is taken at that scope. The foreign key of active_version is checked at the end of the transaction.
INSERT INTO secret (id, scope_id, name, latest_version, active_version, description, labels, owner, expires_at, generator, rotation,
                    created_by)
VALUES ($1, $2, $3, 1, 1, $4, $5::text::jsonb, $6, $7, $8, $9::text::jsonb, $10)
ON CONFLICT (name, scope_id) DO NOTHING
RETURNING id;

-- name: secret_add_version
-- $2 the new version, $3 whether it becomes the active one, $4 the generator that made it or NULL.
UPDATE secret
SET latest_version = $2, active_version = CASE WHEN $3::boolean THEN $2 ELSE active_version END,
    generator = COALESCE($4, generator), revision = revision + 1, updated_at = clock_timestamp()
WHERE id = $1;

-- name: secret_activate
UPDATE secret SET active_version = $2, revision = revision + 1, updated_at = clock_timestamp() WHERE id = $1;

-- name: secret_relocate
UPDATE secret SET scope_id = $2, name = $3, revision = revision + 1, updated_at = clock_timestamp() WHERE id = $1;

-- name: secret_touch
-- Something that the secret's view shows has changed, so its entity tag must.
UPDATE secret SET revision = revision + 1, updated_at = clock_timestamp() WHERE id = $1;

-- name: secret_patch
-- $7 who: another policy is theirs to stand for.
WITH theirs AS (
    INSERT INTO secret_rotation (secret_id, policy_by) SELECT id, $7 FROM secret
    WHERE id = $1 AND rotation IS DISTINCT FROM $6::text::jsonb AND $6::text IS NOT NULL
    ON CONFLICT (secret_id) DO UPDATE SET policy_by = $7, stopped = ''
)
UPDATE secret
SET description = $2, labels = $3::text::jsonb, owner = $4, expires_at = $5, rotation = $6::text::jsonb, revision = revision + 1,
    updated_at = clock_timestamp()
WHERE id = $1;

-- name: secret_delete
DELETE FROM secret WHERE id = $1;
