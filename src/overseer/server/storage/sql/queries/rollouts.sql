-- Rollouts: a new version of a secret on its way to running containers. Their steps are ordinary deployments whose options name
-- the rollout and the step (candidate, back). Who changes a rollout holds the lock of its secret.

-- name: rollout_insert
INSERT INTO rollout (id, secret_id, previous_version, candidate_version, state, created_by) VALUES ($1, $2, $3, $4, 'running', $5);

-- name: rollout_by_id
SELECT r.id, r.secret_id, r.previous_version, r.candidate_version, r.state, r.error, r.created_by, p.name AS creator, r.created_at,
       r.finished_at
FROM rollout r LEFT JOIN principal p ON p.id = r.created_by WHERE r.id = $1;

-- name: rollout_running
SELECT r.id, r.secret_id, r.previous_version, r.candidate_version, r.state, r.error, r.created_by, p.name AS creator, r.created_at,
       r.finished_at
FROM rollout r LEFT JOIN principal p ON p.id = r.created_by WHERE r.secret_id = $1 AND r.state = 'running';

-- name: rollout_page
-- Newest first. $1 state and $2 secret or NULL, $3 the last one of the page before or NULL, $4 limit.
SELECT r.id, r.secret_id, r.previous_version, r.candidate_version, r.state, r.error, r.created_by, p.name AS creator, r.created_at,
       r.finished_at
FROM rollout r LEFT JOIN principal p ON p.id = r.created_by
WHERE ($1::text IS NULL OR r.state = $1) AND ($2::uuid IS NULL OR r.secret_id = $2) AND ($3::uuid IS NULL OR r.id < $3)
ORDER BY r.id DESC LIMIT $4;

-- name: rollout_all_running
-- Of one node, or (NULL) all: what may have to go on.
SELECT r.id FROM rollout r
WHERE r.state = 'running'
  AND ($1::uuid IS NULL OR EXISTS (SELECT FROM rollout_node n WHERE n.rollout_id = r.id AND n.node_id = $1))
ORDER BY r.id;

-- name: rollout_finish
UPDATE rollout SET state = $2, error = $3, finished_at = statement_timestamp() WHERE id = $1 AND state = 'running';

-- name: rollout_nodes
SELECT rn.rollout_id, rn.node_id, n.name AS node, n.state AS node_state, rn.state, rn.started_at, rn.acknowledged_at
FROM rollout_node rn JOIN node n ON n.id = rn.node_id
WHERE rn.rollout_id = ANY ($1::uuid[]) ORDER BY rn.rollout_id, n.name;

-- name: rollout_node_insert
INSERT INTO rollout_node (rollout_id, node_id, state)
SELECT $1, node_id, 'waiting' FROM unnest($2::uuid[]) AS u (node_id) ON CONFLICT DO NOTHING;

-- name: rollout_node_set
UPDATE rollout_node
SET state = $3,
    started_at = CASE WHEN $3 = 'candidate' THEN statement_timestamp() ELSE started_at END,
    acknowledged_at = CASE WHEN $3 = 'acknowledged' THEN statement_timestamp() ELSE acknowledged_at END
WHERE rollout_id = $1 AND node_id = $2;

-- name: rollout_lock_nodes
-- $1 rollout, $2 secret: every node that a move may concern, so that nobody makes a deployment there meanwhile.
SELECT id FROM node
WHERE id IN (SELECT node_id FROM rollout_node WHERE rollout_id = $1
             UNION SELECT d.node_id FROM deployment_secret s JOIN deployment d ON d.id = s.deployment_id
                   WHERE s.secret_id = $2
                     AND (d.state IN ('queued', 'released', 'applying') OR EXISTS (SELECT FROM current_deployment c WHERE c.id = d.id)))
ORDER BY id FOR NO KEY UPDATE;

-- fragment: placed
-- What uses a secret by a reference without a version, now or after what is open.
    FROM deployment_secret s JOIN deployment d ON d.id = s.deployment_id
    WHERE position('@' IN s.reference) = 0
      AND (d.state IN ('queued', 'released', 'applying') OR EXISTS (SELECT FROM current_deployment c WHERE c.id = d.id))

-- name: rollout_places
-- $1 secret, $2 rollout: for each project of a node that uses the secret by a reference without a version, now or after what is
-- open there: the current deployment, the open ones, and failed steps of the rollout.
WITH place AS (
    SELECT DISTINCT d.node_id, d.project @{placed} AND s.secret_id = $1
)
SELECT d.id, d.node_id, n.name AS node, n.state AS node_state, d.project, d.action, d.state, d.attempts,
       d.options ->> 'rollout' AS rollout, d.options ->> 'step' AS step, d.finished_at, c.id IS NOT NULL AS current,
       ARRAY(SELECT DISTINCT s.version FROM deployment_secret s
             WHERE s.deployment_id = d.id AND s.secret_id = $1 AND position('@' IN s.reference) = 0) AS versions
FROM place p
JOIN node n ON n.id = p.node_id
JOIN deployment d ON d.node_id = p.node_id AND d.project = p.project
LEFT JOIN current_deployment c ON c.id = d.id
WHERE d.state IN ('queued', 'released', 'applying') OR c.id IS NOT NULL
   OR (d.state = 'failed' AND d.options ->> 'rollout' = $2 AND d.options ->> 'step' = 'candidate')
ORDER BY n.name, d.project, d.created_at, d.id;

-- name: rollout_step_copy
-- $1 the deployment to repeat, $2 the id of the copy, $3 options to add, $4 who activated. How that one came about is not repeated.
INSERT INTO deployment (id, app_id, environment_id, node_id, action, bundle_id, project, options, created_by)
SELECT $2, app_id, environment_id, node_id, action, bundle_id, project, (options - '{plan,rollback_of}'::text[]) || $3::jsonb, $4
FROM deployment WHERE id = $1;

-- name: rollout_step_copy_secrets
-- The secret $3 gets version $4 where its reference names none; all else is as it was.
INSERT INTO deployment_secret (deployment_id, reference, secret_id, secret_name, version, field, kinds, services, persists)
SELECT $2, reference, secret_id, secret_name,
       CASE WHEN secret_id = $3 AND position('@' IN reference) = 0 THEN $4::integer ELSE version END, field, kinds, services, persists
FROM deployment_secret WHERE deployment_id = $1;

-- name: rollout_step_cancel
-- Steps that no agent has seen.
UPDATE deployment SET state = 'superseded', finished_at = statement_timestamp()
WHERE options ->> 'rollout' = $1 AND state = 'queued' AND attempts = 0;

-- name: rollout_step_overdue
-- Steps that no agent took in time.
UPDATE deployment SET state = 'failed', error = $3, finished_at = statement_timestamp(), lease_until = NULL
WHERE options ->> 'rollout' = $1 AND node_id = $2 AND state = 'queued';

-- name: rollout_steps
-- The deployments that rollouts made, in order.
SELECT d.options ->> 'rollout' AS rollout, d.options ->> 'step' AS step, d.id, d.app_id, a.name AS app, d.environment_id,
       e.name AS environment, d.node_id, n.name AS node, d.project, d.state, d.error
FROM deployment d JOIN app a ON a.id = d.app_id JOIN node n ON n.id = d.node_id LEFT JOIN environment e ON e.id = d.environment_id
WHERE d.options ->> 'rollout' = ANY ($1::text[]) ORDER BY d.created_at, d.id;

-- name: rollout_share_lock
-- Versions that a new deployment is about to get do not change before it is written.
SELECT id FROM secret WHERE id = ANY ($1::uuid[]) ORDER BY id FOR SHARE;

-- name: rollout_versions_at
-- $1 secrets, $2 node: the version that a new deployment there gets. Read after the lock, in a statement of its own.
SELECT s.id, COALESCE((SELECT r.candidate_version FROM rollout r JOIN rollout_node rn ON rn.rollout_id = r.id
                       WHERE r.secret_id = s.id AND r.state = 'running' AND rn.node_id = $2
                         AND rn.state IN ('candidate', 'acknowledged')), s.active_version) AS version
FROM secret s WHERE s.id = ANY ($1::uuid[]);
