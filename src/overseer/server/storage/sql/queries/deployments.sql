-- Bundles and deployments.

-- name: bundle_insert
INSERT INTO bundle (id, app_id, digest, format, kek_term, wrapped_dek, ciphertext, size, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (app_id, digest) DO NOTHING;

-- name: bundle_by_digest
SELECT b.id, b.app_id, a.name AS app, b.digest, b.format, b.kek_term, b.wrapped_dek, b.ciphertext, b.size, b.created_at
FROM bundle b JOIN app a ON a.id = b.app_id WHERE b.app_id = $1 AND b.digest = $2;

-- name: bundle_by_id
SELECT b.id, b.app_id, a.name AS app, b.digest, b.format, b.kek_term, b.wrapped_dek, b.ciphertext, b.size, b.created_at
FROM bundle b JOIN app a ON a.id = b.app_id WHERE b.id = $1;

-- name: bundle_page
-- Without the content: a hundred of them may be hundreds of megabytes. Ids are made in the order of time.
SELECT b.id, a.name AS app, b.digest, b.size, b.created_at
FROM bundle b JOIN app a ON a.id = b.app_id WHERE b.app_id = $1 AND ($2::uuid IS NULL OR b.id < $2) ORDER BY b.id DESC LIMIT $3;

-- name: deployment_place_lock
-- One deployment is made at a time for a node, so that project names stay unique on it. Open deployments do not wait.
SELECT id FROM node WHERE id = $1 FOR NO KEY UPDATE;

-- name: deployment_project_clash
SELECT EXISTS (SELECT FROM deployment WHERE node_id = $1 AND project = $2
               AND (app_id, environment_id) IS DISTINCT FROM ($3::uuid, $4::uuid));

-- name: deployment_supersede
UPDATE deployment SET state = 'superseded', finished_at = statement_timestamp()
WHERE node_id = $1 AND project = $2 AND state = 'queued';

-- name: deployment_insert
INSERT INTO deployment (id, app_id, environment_id, node_id, action, bundle_id, project, options, created_by, group_id, group_position)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: deployment_secret_insert
INSERT INTO deployment_secret (deployment_id, reference, secret_id, secret_name, version, field, kinds, services, persists)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: deployment_by_id
SELECT d.id, d.app_id, a.name AS app, d.environment_id, e.name AS environment, d.node_id, n.name AS node, d.action, d.bundle_id,
       b.digest AS bundle, d.project, d.options, d.state, d.output, d.error, d.services, d.attempts, d.created_by, p.name AS creator,
       d.created_at, d.finished_at, d.checked_at, d.group_id, d.group_position
FROM deployment d
JOIN app a ON a.id = d.app_id JOIN node n ON n.id = d.node_id
LEFT JOIN environment e ON e.id = d.environment_id LEFT JOIN bundle b ON b.id = d.bundle_id
LEFT JOIN principal p ON p.id = d.created_by
WHERE d.id = $1;

-- name: deployment_lock
SELECT id FROM deployment WHERE id = $1 FOR UPDATE;

-- name: deployment_page
-- Newest first. The caller filters by what it may see, so it asks again from where it stopped.
SELECT d.id, d.app_id, a.name AS app, d.environment_id, e.name AS environment, d.node_id, n.name AS node, d.action, d.bundle_id,
       b.digest AS bundle, d.project, d.options, d.state, d.output, d.error, d.services, d.attempts, d.created_by, p.name AS creator,
       d.created_at, d.finished_at, d.checked_at, d.group_id, d.group_position
FROM deployment d
JOIN app a ON a.id = d.app_id JOIN node n ON n.id = d.node_id
LEFT JOIN environment e ON e.id = d.environment_id LEFT JOIN bundle b ON b.id = d.bundle_id
LEFT JOIN principal p ON p.id = d.created_by
WHERE ($1::text IS NULL OR a.name = $1) AND ($2::text IS NULL OR e.name = $2) AND ($3::text IS NULL OR n.name = $3)
  AND ($4::text IS NULL OR d.state = $4) AND ($5::uuid IS NULL OR d.id < $5)
ORDER BY d.id DESC LIMIT $6;

-- name: deployment_secrets
SELECT deployment_id, reference, secret_id, secret_name, version, field, kinds, services, persists, matches,
       checked_at
FROM deployment_secret WHERE deployment_id = ANY ($1::uuid[]) ORDER BY deployment_id, reference;

-- name: deployment_work
-- What an agent has to do: the oldest unfinished deployment of each project that it is not busy with. One of a group has its turn
-- when all of the batches before have succeeded, and begins nothing after one of the group went wrong.
SELECT DISTINCT ON (d.project) d.id, d.action, a.name AS app, e.name AS environment, d.project, d.options, d.attempts
FROM deployment d JOIN app a ON a.id = d.app_id LEFT JOIN environment e ON e.id = d.environment_id
WHERE d.node_id = $1 AND d.state IN ('queued', 'released', 'applying')
  AND NOT EXISTS (SELECT FROM deployment o WHERE o.node_id = d.node_id AND o.project = d.project AND o.id = ANY ($2::uuid[])
                  AND o.state IN ('queued', 'released', 'applying'))
  AND NOT EXISTS (SELECT FROM deployment m JOIN deployment_group g ON g.id = m.group_id
                  WHERE m.group_id = d.group_id AND d.attempts = 0
                    AND (m.state IN ('failed', 'superseded')
                         OR (m.state <> 'succeeded' AND m.group_position / g.parallel < d.group_position / g.parallel)))
ORDER BY d.project, d.id;

-- name: deployment_nodes_to_wake
-- Of the waiting nodes ($1), those with work as deployment_work finds it ($2, $3: pairs of a node and what it is busy with), and
-- those that are revoked or gone.
WITH busy AS (SELECT * FROM unnest($2::uuid[], $3::uuid[]) AS b (node_id, id))
SELECT w.id FROM unnest($1::uuid[]) AS w (id) LEFT JOIN node n ON n.id = w.id
WHERE n.id IS NULL OR n.state = 'revoked'
   OR EXISTS (SELECT FROM deployment d WHERE d.node_id = w.id AND d.state IN ('queued', 'released', 'applying')
              AND NOT EXISTS (SELECT FROM deployment o JOIN busy b ON b.node_id = w.id AND b.id = o.id
                              WHERE o.node_id = w.id AND o.project = d.project
                                AND o.state IN ('queued', 'released', 'applying')));

-- name: deployment_hand_out
-- More than $2 tries mean that the deployment takes its agent down with it.
UPDATE deployment SET attempts = attempts + 1,
       state = CASE WHEN attempts >= $2 THEN 'failed' ELSE state END,
       error = CASE WHEN attempts >= $2 THEN $3 ELSE error END,
       finished_at = CASE WHEN attempts >= $2 THEN statement_timestamp() END,
       lease_until = statement_timestamp() + $4::interval
WHERE id = $1 AND state IN ('queued', 'released', 'applying') RETURNING state;

-- name: deployment_keep
UPDATE deployment SET lease_until = statement_timestamp() + $2::interval
WHERE id = ANY ($1::uuid[]) AND node_id = $3 AND state IN ('queued', 'released', 'applying');

-- name: deployment_released
UPDATE deployment SET state = CASE WHEN state = 'queued' THEN 'released' ELSE state END,
       released_at = COALESCE(released_at, statement_timestamp()), lease_until = statement_timestamp() + $2::interval
WHERE id = $1;

-- name: deployment_report
UPDATE deployment SET state = $2, output = $3, error = $4, services = $5, lease_until = statement_timestamp() + $6::interval,
       finished_at = CASE WHEN $2 IN ('succeeded', 'failed') THEN statement_timestamp() END
WHERE id = $1;

-- name: deployment_secret_matches
UPDATE deployment_secret SET matches = u.matches, checked_at = statement_timestamp()
FROM unnest($2::text[], $3::boolean[]) AS u (reference, matches)
WHERE deployment_secret.deployment_id = $1 AND deployment_secret.reference = u.reference;

-- name: deployment_expire
-- An agent that was handed work and went silent: the deployment ends in a true state. Queued work that nobody took stays queued.
UPDATE deployment SET state = 'failed', error = $1, finished_at = statement_timestamp(), lease_until = NULL
WHERE state IN ('released', 'applying') AND lease_until < statement_timestamp();

-- name: deployment_current
-- What runs in a place: see the view.
SELECT d.id, d.app_id, a.name AS app, d.environment_id, e.name AS environment, d.node_id, n.name AS node, d.action, d.bundle_id,
       b.digest AS bundle, d.project, d.options, d.state, d.output, d.error, d.services, d.attempts, d.created_by, p.name AS creator,
       d.created_at, d.finished_at, d.checked_at, d.group_id, d.group_position
FROM current_deployment c JOIN deployment d ON d.id = c.id
JOIN app a ON a.id = d.app_id JOIN node n ON n.id = d.node_id
LEFT JOIN environment e ON e.id = d.environment_id LEFT JOIN bundle b ON b.id = d.bundle_id
LEFT JOIN principal p ON p.id = d.created_by
WHERE c.node_id = $1 AND c.project = $2;

-- name: deployment_unsettled
-- $1 node, $2 project, $3 its current deployment or NULL: how what came after it stands.
SELECT count(*) FILTER (WHERE d.state IN ('queued', 'released', 'applying')) AS open,
       count(*) FILTER (WHERE d.state = 'failed' AND d.released_at IS NOT NULL
                        AND d.finished_at > COALESCE(c.finished_at, '-infinity')) AS failed
FROM deployment d LEFT JOIN deployment c ON c.id = $3
WHERE d.node_id = $1 AND d.project = $2;

-- name: deployment_group_insert
INSERT INTO deployment_group (id, parallel) VALUES ($1, $2);

-- name: deployment_group_by_id
SELECT id, parallel, created_at FROM deployment_group WHERE id = $1;

-- name: deployment_group_members
-- In their turn.
SELECT id FROM deployment WHERE group_id = $1 ORDER BY group_position;

-- name: deployment_groups_stop
-- After a failure no agent begins what is left of a group. Locked in one order, since agents may report failures at once.
UPDATE deployment SET state = 'superseded', finished_at = statement_timestamp(), error = $1
WHERE id IN (SELECT d.id FROM deployment d
             WHERE d.state = 'queued' AND d.attempts = 0 AND d.group_id IS NOT NULL
               AND EXISTS (SELECT FROM deployment m WHERE m.group_id = d.group_id AND m.state IN ('failed', 'superseded'))
             ORDER BY d.id FOR UPDATE)
  AND state = 'queued' AND attempts = 0;

-- name: deployment_targets
-- $1 names or NULL, $2 labels or NULL: nodes, by name.
SELECT id, name, state, drained_at IS NOT NULL AS drained FROM node
WHERE ($1::text[] IS NULL OR name = ANY ($1)) AND ($2::text IS NULL OR (labels @> $2::text::jsonb AND state <> 'revoked')) ORDER BY name;

-- name: deployment_progress
-- What a watcher has not seen yet: the output only where its length is another than $2 says.
SELECT d.id, n.name AS node, d.state, d.error, d.finished_at, length(d.output) AS size,
       CASE WHEN length(d.output) <> w.size THEN d.output END AS output
FROM unnest($1::uuid[], $2::integer[]) AS w (id, size) JOIN deployment d ON d.id = w.id JOIN node n ON n.id = d.node_id;
