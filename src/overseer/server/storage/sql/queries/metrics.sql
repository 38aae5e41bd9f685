-- What the metrics say about the instance: numbers and states, never a name.

-- name: metrics_numbers
-- $1 how long an agent may be silent and count as online. The audit log is not counted row by row: PostgreSQL's own statistics
-- know how many were inserted (rows of transactions that were rolled back among them).
SELECT (SELECT count(*) FROM secret) AS secrets,
       (SELECT count(*) FROM node WHERE state = 'active' AND last_seen_at > statement_timestamp() - $1::interval) AS agents_online,
       (SELECT COALESCE(max(n_tup_ins), 0) FROM pg_stat_user_tables WHERE relid = 'audit'::regclass) AS audit_rows,
       k.term, k.wraps_reserved, extract(epoch FROM statement_timestamp() - k.created_at)::double precision AS age
FROM (SELECT term, wraps_reserved, created_at FROM keyring_key WHERE purpose = $2 ORDER BY term DESC LIMIT 1) AS k;

-- name: metrics_states
SELECT 'deployment' AS kind, state, count(*) AS number FROM deployment GROUP BY state
UNION ALL SELECT 'rollout', state, count(*) FROM rollout GROUP BY state
UNION ALL SELECT 'node', state, count(*) FROM node GROUP BY state
UNION ALL SELECT 'rotation', state, count(*) FROM secret_rotation_run GROUP BY state
UNION ALL SELECT 'rotation_schedule', CASE WHEN paused THEN 'paused' WHEN due_at < statement_timestamp() THEN 'overdue' ELSE 'due' END,
                 count(*) FROM secret_rotation WHERE due_at IS NOT NULL GROUP BY 2;
