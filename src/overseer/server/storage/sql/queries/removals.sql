-- What belongs to an app, an environment or a node, and its end. $1 app, $2 environment, $3 node: exactly one is given.

-- name: part_secrets
@{secret_rows}
WHERE (c.app_id = $1 OR c.environment_id = $2 OR c.node_id = $3)
ORDER BY s.name, s.id;

-- name: part_bindings
-- But those of nodes themselves, which go with them.
SELECT b.id FROM binding b
WHERE (b.app_id = $1 OR b.environment_id = $2 OR b.node_id = $3)
  AND NOT EXISTS (SELECT FROM principal p WHERE p.id = b.subject_id AND p.kind = 'node')
ORDER BY b.id;

-- name: part_deployed
-- What runs there, or is about to.
SELECT d.id, d.app_id, a.name AS app, d.environment_id, e.name AS environment, d.node_id, n.name AS node, d.project, d.state
FROM deployment d
JOIN app a ON a.id = d.app_id JOIN node n ON n.id = d.node_id LEFT JOIN environment e ON e.id = d.environment_id
WHERE (d.app_id = $1 OR d.environment_id = $2 OR d.node_id = $3)
  AND (d.state IN ('queued', 'released', 'applying') OR EXISTS (SELECT FROM current_deployment c WHERE c.id = d.id))
ORDER BY a.name, e.name NULLS FIRST, n.name, d.id;

-- name: part_counts
SELECT (SELECT count(*) FROM deployment WHERE app_id = $1 OR environment_id = $2 OR node_id = $3) AS deployments,
       (SELECT count(*) FROM bundle WHERE app_id = $1) AS bundles;

-- name: part_deployments_delete
-- Steps and groups that were ordered together go when the last of them does.
WITH gone AS (DELETE FROM deployment WHERE app_id = $1 OR environment_id = $2 OR node_id = $3 RETURNING id, group_id)
DELETE FROM deployment_group g
WHERE g.id IN (SELECT group_id FROM gone)
  AND NOT EXISTS (SELECT FROM deployment d WHERE d.group_id = g.id AND d.id NOT IN (SELECT id FROM gone));

-- name: part_bundles_delete
DELETE FROM bundle WHERE app_id = $1;

-- name: part_rollout_nodes_delete
DELETE FROM rollout_node WHERE node_id = $1;

-- name: node_scopes_delete_empty
DELETE FROM scope WHERE node_id = $1 AND NOT EXISTS (SELECT FROM secret WHERE secret.scope_id = scope.id);

-- name: node_delete
DELETE FROM node WHERE id = $1;
