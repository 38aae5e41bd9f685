-- The actor behind a token, as it is now: token, principal, node, groups and bindings in one snapshot.

-- name: actor_by_token
-- $1 token hash, $2 peer address as text ('' where there is none). One row a binding; one row with a NULL binding where there is none.
-- NULL <<= ANY is NULL, hence the COALESCE: a token bound to networks never passes without a peer.
SELECT t.id AS token_id,
       t.expires_at,
       t.expires_at <= statement_timestamp() AS token_expired,
       t.revoked_at IS NOT NULL AS token_revoked,
       COALESCE(COALESCE(t.last_used_at, t.created_at) + make_interval(secs => t.idle_seconds) <= statement_timestamp(), false)
           AS session_idle,
       t.enrolling,
       NOT COALESCE(t.networks IS NULL OR NULLIF($2, '')::inet <<= ANY (t.networks), false) AS foreign_network,
       p.id AS principal_id, p.kind, p.name AS principal_name, p.disabled_at IS NOT NULL AS disabled,
       n.id AS node_id, n.state AS node_state,
       statement_timestamp() AS now,
       b.id AS binding_id, b.permissions, b.app_match, b.app_id, b.environment_match, b.environment_id,
       b.node_match, b.node_id AS binding_node_id, b.name AS pattern, b.name_is_prefix, b.expires_at AS binding_expires_at,
       b.active_seconds IS NOT NULL AS emergency
FROM token t
JOIN principal p ON p.id = t.principal_id
LEFT JOIN node n ON n.principal_id = p.id
LEFT JOIN binding b ON b.subject_id = ANY (ARRAY(SELECT m.group_id FROM group_member m WHERE m.principal_id = p.id) || p.id)
WHERE t.hash = $1;

-- name: token_mark_used
-- Coarse and out of band: the request itself never waits for it.
UPDATE token SET last_used_at = u.at
FROM unnest($1::uuid[], $2::timestamptz[]) AS u (id, at)
WHERE token.id = u.id AND (token.last_used_at IS NULL OR token.last_used_at < u.at - interval '30 seconds');

-- name: database_clock
SELECT statement_timestamp();
