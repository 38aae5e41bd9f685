-- Deployments whose files a node has lost.

-- name: refill_allowed
-- Of $2, those that are current on node $1 while nothing is under way for their project there.
SELECT d.id, d.action, a.name AS app, e.name AS environment, d.project, d.options, d.attempts
FROM current_deployment c JOIN deployment d ON d.id = c.id JOIN app a ON a.id = d.app_id
LEFT JOIN environment e ON e.id = d.environment_id
WHERE c.node_id = $1 AND c.id = ANY ($2::uuid[])
  AND NOT EXISTS (SELECT FROM deployment o WHERE o.node_id = d.node_id AND o.project = d.project
                  AND o.state IN ('queued', 'released', 'applying'))
ORDER BY d.project;
