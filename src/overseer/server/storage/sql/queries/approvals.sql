-- Approvals: policies, requests and the decisions about them.

-- fragment: approval_policy_rows
SELECT b.id, b.title, b.description, b.actions, b.app_match, b.app_id, b.environment_match, b.environment_id, b.node_match, b.node_id,
       b.name, b.name_is_prefix, b.label_key, b.label_value, b.approvers, b.waits_seconds, b.lives_seconds, b.distance_days, b.created_at,
       b.revision,
       a.name AS app, e.name AS environment, n.name AS node
FROM approval_policy b
LEFT JOIN app a ON a.id = b.app_id LEFT JOIN environment e ON e.id = b.environment_id LEFT JOIN node n ON n.id = b.node_id

-- name: approval_policies_guarding
-- Those that guard any of the actions in the bits $1; which of them speak of something is core.approvals'.
@{approval_policy_rows}
WHERE b.actions & $1::smallint <> 0;

-- name: approval_policy_page
-- $1 an id or NULL, $2 the last title of the page before or NULL, $3 limit or NULL.
@{approval_policy_rows}
WHERE ($1::uuid IS NULL OR b.id = $1) AND ($2::text IS NULL OR b.title > $2)
ORDER BY b.title
LIMIT $3;

-- name: approval_policy_lock
SELECT id FROM approval_policy WHERE id = $1 FOR UPDATE;

-- name: approval_policy_insert
INSERT INTO approval_policy (id, title, description, actions, app_match, app_id, environment_match, environment_id, node_match, node_id,
                             name, name_is_prefix, label_key, label_value, approvers, waits_seconds, lives_seconds,
                             distance_days, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19);

-- name: approval_policy_update
UPDATE approval_policy
SET title = $2, description = $3, actions = $4, app_match = $5, app_id = $6, environment_match = $7, environment_id = $8,
    node_match = $9, node_id = $10, name = $11, name_is_prefix = $12, label_key = $13, label_value = $14, approvers = $15,
    waits_seconds = $16, lives_seconds = $17, distance_days = $18, revision = revision + 1
WHERE id = $1;

-- name: approval_policy_delete
DELETE FROM approval_policy WHERE id = $1;

-- fragment: approval_rows
-- The state as it is now: what waited too long, or was not used in time, has expired without anybody's doing.
SELECT r.id, r.principal_id, p.name AS principal, p.kind AS principal_kind, r.digest, r.content::text AS content, r.names::text AS names,
       r.secret_id, r.reason, r.approvers, r.lives_seconds, r.distance_days, r.waits_until, r.usable_until, r.created_at, r.ended_at,
       CASE WHEN r.state = 'pending' AND r.waits_until <= statement_timestamp() THEN 'expired'
            WHEN r.state = 'approved' AND r.usable_until <= statement_timestamp() THEN 'expired'
            ELSE r.state END AS state
FROM approval r JOIN principal p ON p.id = r.principal_id

-- name: approval_by_id
@{approval_rows}
WHERE r.id = $1;

-- name: approval_lock
SELECT id FROM approval WHERE id = $1 FOR UPDATE;

-- name: approval_page
-- Newest first: $1 whose (NULL: anybody's), $2 a state or NULL, $3 an operation or NULL, $4 the id after which the page begins or NULL,
-- $5 limit.
SELECT * FROM (@{approval_rows}) r
WHERE ($1::uuid IS NULL OR r.principal_id = $1) AND ($2::text IS NULL OR r.state = $2)
  AND ($3::text IS NULL OR r.content::jsonb ->> 'operation' = $3) AND ($4::uuid IS NULL OR r.id < $4)
ORDER BY r.id DESC
LIMIT $5;

-- name: approval_open_of
-- What somebody asked about the same thing and can still come to something: $1 who, $2 operation, $3 digest, $4 secret or NULL.
SELECT * FROM (@{approval_rows}) r
WHERE r.principal_id = $1 AND r.state IN ('pending', 'approved')
  AND (r.digest = $3 OR (r.secret_id = $4 AND r.content::jsonb ->> 'operation' = $2))
ORDER BY r.id DESC
LIMIT 10;

-- name: approval_pending_count
SELECT count(*) FROM approval WHERE principal_id = $1 AND state = 'pending' AND waits_until > statement_timestamp();

-- name: approval_usable
-- $1 who, $2 the digest of what is about to be done.
SELECT * FROM (@{approval_rows}) r WHERE r.principal_id = $1 AND r.digest = $2 AND r.state = 'approved' ORDER BY r.id;

-- name: approval_take
-- The row lock makes it single: whoever waited for it finds it used. A rollback gives it back.
SELECT id FROM approval WHERE id = $1 AND state = 'approved' AND usable_until > statement_timestamp() FOR UPDATE;

-- name: approval_use
UPDATE approval SET state = 'used', ended_at = statement_timestamp() WHERE id = $1;

-- name: approval_insert
INSERT INTO approval (id, principal_id, operation, digest, content, names, secret_id, reason, approvers, lives_seconds, waits_until,
                      distance_days)
VALUES ($1, $2, $3, $4, $5::text::jsonb, $6::text::jsonb, $7, $8, $9, $10, $11, $12);

-- name: approval_approve
UPDATE approval SET state = 'approved', usable_until = statement_timestamp() + make_interval(secs => lives_seconds) WHERE id = $1;

-- name: approval_end
UPDATE approval SET state = $2, ended_at = statement_timestamp() WHERE id = $1;

-- name: approval_purge
-- Requests that ended long ago; the audit log keeps what they were.
DELETE FROM approval WHERE created_at < statement_timestamp() - $1::interval;

-- name: approval_decisions
SELECT d.approval_id, d.principal_id, p.name AS principal, p.kind, p.disabled_at IS NOT NULL AS disabled, d.verdict, d.comment, d.decided_at
FROM approval_decision d JOIN principal p ON p.id = d.principal_id
WHERE d.approval_id = ANY ($1::uuid[])
ORDER BY d.decided_at, d.principal_id;

-- name: approval_decision_insert
INSERT INTO approval_decision (approval_id, principal_id, verdict, comment) VALUES ($1, $2, $3, $4);

-- name: approval_hands
-- Everybody who may stand behind a principal: itself, and for what is no person whoever made it or any token of it, and behind
-- those; also where one in between is gone.
WITH RECURSIVE hand AS (
    SELECT $1::uuid AS id
    UNION
    SELECT m.id FROM hand h CROSS JOIN LATERAL (
        SELECT p.created_by AS id FROM principal p WHERE p.id = h.id AND p.kind <> 'user'
        UNION ALL
        SELECT t.created_by FROM token t JOIN principal p ON p.id = t.principal_id AND p.kind <> 'user' WHERE t.principal_id = h.id
        UNION ALL
        SELECT a.hand_id FROM account_hand a WHERE a.principal_id = h.id AND a.act = 'held'
    ) m
    WHERE m.id IS NOT NULL
)
SELECT id FROM hand;

-- name: approval_given_bindings
-- Of the bindings $1 those that nobody of $2 has made; one without a maker is the installation's.
SELECT id FROM binding WHERE id = ANY ($1::uuid[]) AND (created_by <> ALL ($2::uuid[])) IS NOT FALSE;

-- name: approval_side
-- Who is on the side of the hands $1: themselves; machines that any of them made, or has a token of; people whom any of them made, or
-- opened a way to sign in as, or machines that are gone, since $2; and those on the side of these.
WITH RECURSIVE side AS (
    SELECT unnest($1::uuid[]) AS id
    UNION
    SELECT m.id FROM side s CROSS JOIN LATERAL (
        SELECT p.id FROM principal p WHERE p.created_by = s.id AND p.kind <> 'user'
        UNION ALL
        SELECT p.id FROM token t JOIN principal p ON p.id = t.principal_id AND p.kind <> 'user' WHERE t.created_by = s.id
        UNION ALL
        SELECT h.principal_id FROM account_hand h WHERE h.hand_id = s.id AND h.act <> 'grouped' AND h.at >= $2
    ) m
)
SELECT id FROM side;

-- name: approval_not_given
-- Of the bindings $1 that the person $2 holds those that exist still, and that nobody of $3 gave since $4: by the binding itself, by
-- what its role gives, or by a place in its group.
SELECT b.id FROM binding b JOIN role r ON r.id = b.role_id
WHERE b.id = ANY ($1::uuid[])
  AND (b.created_at < $4 OR (b.created_by = ANY ($3::uuid[])) IS NOT TRUE)
  AND (r.changed_at < $4 OR (r.changed_by = ANY ($3::uuid[])) IS NOT TRUE)
  AND NOT EXISTS (SELECT FROM account_hand h
                  WHERE h.hand_id = ANY ($3::uuid[]) AND h.at >= $4 AND h.principal_id = $2 AND h.group_id = b.subject_id);

-- name: account_hand_insert
-- $1 the account, $2 whose hand, $3 what it did, $4 the group or NULL, $5 what is older is dropped.
WITH old AS (DELETE FROM account_hand WHERE at < statement_timestamp() - $5::interval)
INSERT INTO account_hand (principal_id, hand_id, act, group_id) VALUES ($1, $2, $3, $4);
