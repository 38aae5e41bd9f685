-- Who may do what with secrets, for many at once: the decision of core.access.decide as sets.

-- name: access_of_secrets
-- $1 secrets; $2 bits asked for; $3 name of the principal or NULL; $4, $5 name and id of the last principal of the page before, for
-- the secret $6 alone; $7 limit. One row for each secret and each enabled principal that holds any of the bits, now or once an
-- emergency binding is activated, with the bindings that it holds them by.
WITH page AS MATERIALIZED (
    SELECT s.id, s.name, s.scope_id, c.app_id, c.environment_id, c.node_id
    FROM secret s JOIN scope c ON c.id = s.scope_id
    WHERE s.id = ANY ($1::uuid[])
),
place AS MATERIALIZED (SELECT DISTINCT scope_id, app_id, environment_id, node_id FROM page),
member AS MATERIALIZED (
    SELECT p.id AS subject_id, p.id, p.name, NULL::text AS group_name
    FROM principal p WHERE p.disabled_at IS NULL AND ($3::text IS NULL OR p.name = $3)
    UNION ALL
    SELECT g.id, p.id, p.name, g.name
    FROM principal p JOIN group_member m ON m.principal_id = p.id JOIN principal_group g ON g.id = m.group_id
    WHERE p.disabled_at IS NULL AND ($3 IS NULL OR p.name = $3)
),
able AS MATERIALIZED (
    SELECT b.*, b.permissions & $2::bigint AS bits, r.name AS role, @{lives} AS lives
    FROM binding b JOIN role r ON r.id = b.role_id
    WHERE b.permissions & $2 <> 0 AND b.subject_id IN (SELECT subject_id FROM member)
      AND (@{lives} OR (b.active_seconds IS NOT NULL AND COALESCE(b.available_until > statement_timestamp(), true)))
),
-- Scopes are far fewer than secrets: what a binding selects is found once for each scope, its name pattern for each secret. Most
-- bindings name an app, which finds their scopes by a hash and not by looking at every pair.
held AS MATERIALIZED (
    SELECT f.scope_id, b.id, b.subject_id, b.bits, b.name, b.name_is_prefix, b.role, b.lives
    FROM place f JOIN able b ON b.app_id = f.app_id WHERE @{selects}
    UNION ALL
    SELECT f.scope_id, b.id, b.subject_id, b.bits, b.name, b.name_is_prefix, b.role, b.lives
    FROM place f JOIN able b ON b.app_id IS NULL WHERE @{selects}
)
-- Gathered by ids, named and sorted afterwards: the rows before are many times as many. The three arrays are filled from the same
-- rows in the same order.
SELECT x.secret_id, x.principal_id, p.name AS principal, p.kind, x.bits, x.dormant_bits, x.bindings, x.roles, x.groups
FROM (
    SELECT f.id AS secret_id, m.id AS principal_id,
           COALESCE(bit_or(h.bits) FILTER (WHERE h.lives), 0) AS bits,
           COALESCE(bit_or(h.bits) FILTER (WHERE NOT h.lives), 0) AS dormant_bits,
           array_agg(h.id) AS bindings, array_agg(h.role) AS roles, array_agg(m.group_name) AS groups
    FROM page f
    JOIN held h ON h.scope_id = f.scope_id AND CASE WHEN h.name_is_prefix THEN starts_with(f.name, h.name) ELSE f.name = h.name END
    JOIN member m ON m.subject_id = h.subject_id
    WHERE $6::uuid IS NULL OR f.id <> $6 OR (m.name, m.id) > ($4::text, $5::uuid)
    GROUP BY f.id, m.id
) x
JOIN page f ON f.id = x.secret_id
JOIN principal p ON p.id = x.principal_id
ORDER BY f.name, f.id, p.name, p.id
LIMIT $7;
