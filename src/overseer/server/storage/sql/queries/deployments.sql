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

-- name: bundle_all
SELECT b.id, b.app_id, a.name AS app, b.digest, b.format, b.kek_term, b.wrapped_dek, b.ciphertext, b.size, b.created_at
FROM bundle b JOIN app a ON a.id = b.app_id WHERE b.app_id = $1 ORDER BY b.created_at DESC LIMIT 100;

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
INSERT INTO deployment (id, app_id, environment_id, node_id, action, bundle_id, project, options, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: deployment_secret_insert
INSERT INTO deployment_secret (deployment_id, reference, secret_id, secret_name, version, field, kinds, services, persists)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: deployment_by_id
SELECT d.id, d.app_id, a.name AS app, d.environment_id, e.name AS environment, d.node_id, n.name AS node, d.action, d.bundle_id,
       b.digest AS bundle, d.project, d.options, d.state, d.output, d.error, d.services, d.attempts, d.created_by, p.name AS creator,
       d.created_at, d.finished_at
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
       d.created_at, d.finished_at
FROM deployment d
JOIN app a ON a.id = d.app_id JOIN node n ON n.id = d.node_id
LEFT JOIN environment e ON e.id = d.environment_id LEFT JOIN bundle b ON b.id = d.bundle_id
LEFT JOIN principal p ON p.id = d.created_by
WHERE ($1::text IS NULL OR a.name = $1) AND ($2::text IS NULL OR e.name = $2) AND ($3::text IS NULL OR n.name = $3)
  AND ($4::text IS NULL OR d.state = $4) AND ($5::uuid IS NULL OR d.id < $5)
ORDER BY d.id DESC LIMIT $6;

-- name: deployment_secrets
SELECT deployment_id, reference, secret_id, secret_name, version, field, kinds, services, persists, matches
FROM deployment_secret WHERE deployment_id = ANY ($1::uuid[]) ORDER BY deployment_id, reference;

-- name: deployment_work
-- What an agent has to do: the oldest unfinished deployment of each project that it is not busy with.
SELECT DISTINCT ON (d.project) d.id, d.action, a.name AS app, e.name AS environment, d.project, d.options, d.attempts
FROM deployment d JOIN app a ON a.id = d.app_id LEFT JOIN environment e ON e.id = d.environment_id
WHERE d.node_id = $1 AND d.state IN ('queued', 'released', 'applying')
  AND NOT EXISTS (SELECT FROM deployment o WHERE o.node_id = d.node_id AND o.project = d.project AND o.id = ANY ($2::uuid[])
                  AND o.state IN ('queued', 'released', 'applying'))
ORDER BY d.project, d.id;

-- name: deployment_hand_out
-- More than $2 tries mean that the deployment takes its agent down with it.
UPDATE deployment SET attempts = attempts + 1,
       state = CASE WHEN attempts >= $2 THEN 'failed' ELSE state END,
       error = CASE WHEN attempts >= $2 THEN $3 ELSE error END,
       finished_at = CASE WHEN attempts >= $2 THEN statement_timestamp() END,
       lease_until = statement_timestamp() + $4::interval
WHERE id = $1 RETURNING state;

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
