-- Idempotency keys: what was asked (HMAC of the body) and which resource came of it, never an answer.

-- name: idempotency_lock
-- $1 principal, $2 route, $3 key. A second request with the key waits here for the end of the first one's transaction, before it
-- has written anything; two keys with one hash only wait for each other. The look-up is a statement of its own: its snapshot must
-- begin after the lock was had.
SELECT pg_advisory_xact_lock(hashtextextended(concat_ws(' ', $1::uuid, $2::text, $3::text), 7270));

-- name: idempotency_load
SELECT body_hmac, status, resource_id, version FROM idempotency_key
WHERE principal_id = $1 AND route = $2 AND key = $3 AND created_at >= statement_timestamp() - interval '24 hours';

-- name: idempotency_insert
-- Part of the request's transaction, so a key is remembered exactly when the change happened. Old keys of anybody go in passing.
WITH expired AS (
    SELECT principal_id, route, key FROM idempotency_key
    WHERE created_at < statement_timestamp() - interval '24 hours' AND (principal_id, route, key) <> ($1, $2, $3)
    ORDER BY created_at LIMIT 20 FOR UPDATE SKIP LOCKED
), purged AS (
    DELETE FROM idempotency_key k USING expired e
    WHERE k.principal_id = e.principal_id AND k.route = e.route AND k.key = e.key
)
INSERT INTO idempotency_key (principal_id, route, key, body_hmac, status, resource_id, version)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (principal_id, route, key) DO UPDATE
SET body_hmac = EXCLUDED.body_hmac, status = EXCLUDED.status, resource_id = EXCLUDED.resource_id, version = EXCLUDED.version,
    created_at = clock_timestamp();

-- name: idempotency_claim
-- $1 principals, $2 routes, $3 keys: the positions of those that this transaction holds from now on. Nothing waits: whose key
-- somebody else holds is left out.
SELECT k.ord
FROM unnest($1::uuid[], $2::text[], $3::text[]) WITH ORDINALITY AS k (principal_id, route, key, ord)
WHERE pg_try_advisory_xact_lock(hashtextextended(concat_ws(' ', k.principal_id, k.route, k.key), 7270));

-- name: idempotency_known
-- $1 principals, $2 routes, $3 keys: the positions of those that stand for something. After idempotency_claim, as a statement of its
-- own: its snapshot must begin after the locks were had.
SELECT k.ord
FROM unnest($1::uuid[], $2::text[], $3::text[]) WITH ORDINALITY AS k (principal_id, route, key, ord)
JOIN idempotency_key i ON i.principal_id = k.principal_id AND i.route = k.route AND i.key = k.key
                      AND i.created_at >= statement_timestamp() - interval '24 hours';
