-- Where secrets are used, what containers hold, and what somebody could have seen: read from deployments and the audit log.

-- name: usage_consumers
-- $1 secrets: every reference of a current deployment to one of them.
SELECT s.secret_id, s.reference, s.version, s.services, s.persists, s.matches, s.checked_at,
       d.id AS deployment_id, d.app_id, a.name AS app, d.environment_id, e.name AS environment, d.node_id, n.name AS node,
       n.state AS node_state, d.project, d.services::text AS reported, d.held_services::text AS held
FROM deployment_secret s
JOIN current_deployment c ON c.id = s.deployment_id
JOIN deployment d ON d.id = c.id
JOIN app a ON a.id = d.app_id JOIN node n ON n.id = d.node_id LEFT JOIN environment e ON e.id = d.environment_id
WHERE s.secret_id = ANY ($1::uuid[])
ORDER BY a.name, e.name NULLS FIRST, n.name, d.id, s.reference;

-- name: usage_wanted
-- $1 secrets: those that a current or an open deployment refers to.
SELECT DISTINCT s.secret_id FROM deployment_secret s JOIN deployment d ON d.id = s.deployment_id
WHERE s.secret_id = ANY ($1::uuid[])
  AND (d.state IN ('queued', 'released', 'applying') OR EXISTS (SELECT FROM current_deployment c WHERE c.id = d.id));

-- name: usage_last_release
-- $1 secrets: when a node last got each.
SELECT s.secret_id, max(d.released_at) AS at FROM deployment_secret s JOIN deployment d ON d.id = s.deployment_id
WHERE s.secret_id = ANY ($1::uuid[]) AND d.released_at IS NOT NULL GROUP BY s.secret_id;

-- name: current_on_node
-- $1 node, $2 deployments: those that are current there, and what ran of each at the last check.
SELECT c.id, d.held_services::text AS services, d.checked_at
FROM current_deployment c JOIN deployment d ON d.id = c.id
WHERE c.node_id = $1 AND c.id = ANY ($2::uuid[]) ORDER BY c.id;

-- name: deployment_checked
UPDATE deployment SET held_services = $2::jsonb, checked_at = statement_timestamp() WHERE id = $1;

-- name: drift_page
-- Current deployments, newest first. $1-$3 names of app, environment, node or NULL; $4 the last row of the page before or NULL.
SELECT d.id, d.app_id, a.name AS app, d.environment_id, e.name AS environment, d.node_id, n.name AS node, n.state AS node_state,
       d.project, d.services::text AS reported, d.held_services::text AS held, d.checked_at, d.finished_at
FROM current_deployment c
JOIN deployment d ON d.id = c.id
JOIN app a ON a.id = d.app_id JOIN node n ON n.id = d.node_id LEFT JOIN environment e ON e.id = d.environment_id
WHERE ($1::text IS NULL OR a.name = $1) AND ($2::text IS NULL OR e.name = $2) AND ($3::text IS NULL OR n.name = $3)
  AND ($4::uuid IS NULL OR d.id < $4)
ORDER BY d.id DESC LIMIT $5;

-- name: drift_references
SELECT deployment_id, reference, secret_name, version, services, matches, checked_at
FROM deployment_secret WHERE deployment_id = ANY ($1::uuid[]) ORDER BY deployment_id, reference;

-- name: seen_by_node
-- Every version that was released to a node, for which app, and when last.
SELECT s.secret_id, s.version, a.name AS subject, max(d.released_at) AS at
FROM deployment d JOIN deployment_secret s ON s.deployment_id = d.id JOIN app a ON a.id = d.app_id
WHERE d.node_id = $1 AND d.released_at IS NOT NULL
GROUP BY s.secret_id, s.version, a.name ORDER BY s.secret_id, s.version, a.name;

-- name: seen_by_principal
-- What the log says that a principal was shown, or wrote: from the summary, and from the rows that are not in it yet.
SELECT f.secret_id, f.version, f.subject, max(f.at) AS at FROM (
    SELECT secret_id, version, action AS subject, at FROM audit_seen WHERE actor_id = $1
    UNION ALL
    SELECT resource_id, version, action, at FROM audit
    WHERE (incarnation, xact, id) > ($2::integer, $3::text::xid8, $4::bigint) AND actor_id = $1 AND outcome = 'allowed'
      AND resource_kind = 'secret' AND resource_id IS NOT NULL AND version IS NOT NULL
      AND action IN ('secret:reveal', 'secret:resolve', 'secret:create', 'secret:update', 'secret:rotate', 'secret:export',
                     'migration:import')
) f
GROUP BY f.secret_id, f.version, f.subject ORDER BY f.secret_id, f.version, f.subject;
