-- Resolves in one statement: who asks, which secret wins for each name, whether all may be revealed, the audit rows, the envelopes.

-- name: resolve_batch
-- What services.resolve_service decides, for the requests whose every name is available: a name's row for each in the log and its
-- envelope in the answer. A request that is refused in any part, or whose place is not known to its caller, has no rows here at all
-- and writes nothing: the gate decides it by itself. A test compares the two.
--
-- A request each: $1 token hashes, $2 peers ('' or a valid address), $3-$5 names of app, environment, node (NULL: unset),
-- $6 request ids, $7 clients, $8 reasons, $9 user agents. A wanted name each: $10 the number of its request (from 1), $11 the name,
-- $12 the id of free text (NULL: none), $13 its commitment, $14 its salt. $15 the bit of secret:reveal; the bits with which
-- somebody knows of $16 apps, $17 environments, $18 nodes; $19 the most bytes of ciphertext in all; $20 the bit of
-- policies that guard reveals: a name that one guards is not available here.
WITH request AS MATERIALIZED (
    SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[])
        WITH ORDINALITY AS r (hash, peer, app, environment, node, request_id, client, reason, user_agent, ord)
),
holder AS MATERIALIZED (
    @{holders}
),
found AS MATERIALIZED (
    SELECT r.ord, r.peer, r.app, r.environment, r.node, r.request_id, r.client, r.reason, r.user_agent,
           h.token_id, h.id AS principal_id, h.kind, h.name AS principal_name, h.subjects,
           a.id AS app_id, e.id AS environment_id, n.id AS node_id,
           @{refusal} AS refusal
    FROM request r
    JOIN holder h ON h.hash = r.hash
    LEFT JOIN app a ON a.name = r.app
    LEFT JOIN environment e ON e.name = r.environment
    LEFT JOIN node n ON n.name = r.node
),
place AS MATERIALIZED (
    SELECT f.* FROM found f
    WHERE f.refusal IS NULL
      AND (f.app IS NULL OR EXISTS (
          SELECT FROM binding b WHERE b.subject_id = ANY (f.subjects) AND b.permissions & $16::bigint <> 0 AND @{lives}
                              AND (b.app_match = 'any' OR b.app_id = f.app_id)))
      AND (f.environment IS NULL OR EXISTS (
          SELECT FROM binding b WHERE b.subject_id = ANY (f.subjects) AND b.permissions & $17::bigint <> 0 AND @{lives}
                              AND (b.environment_match = 'any' OR b.environment_id = f.environment_id)))
      AND (f.node IS NULL OR EXISTS (
          SELECT FROM binding b WHERE b.subject_id = ANY (f.subjects) AND b.permissions & $18::bigint <> 0 AND @{lives}
                              AND (b.node_match = 'any' OR b.node_id = f.node_id)))
      AND (f.app IS NULL) = (f.app_id IS NULL) AND (f.environment IS NULL) = (f.environment_id IS NULL)
      AND (f.node IS NULL) = (f.node_id IS NULL)
),
wanted AS MATERIALIZED (
    SELECT * FROM unnest($10::integer[], $11::text[], $12::uuid[], $13::bytea[], $14::bytea[])
        WITH ORDINALITY AS w (request, name, text_id, commitment, salt, position)
),
winner AS MATERIALIZED (
    SELECT w.request, w.position, w.text_id, w.commitment, w.salt, p.subjects, s.*
    FROM wanted w
    JOIN place p ON p.ord = w.request
    JOIN LATERAL (
        -- core.scopes.Scope.rank: app = 4, node = 2, environment = 1. No two of one name have the same rank at a place.
        SELECT s.id, s.name, s.labels, s.scope_id, s.active_version, s.source, c.app_id, c.environment_id, c.node_id
        FROM secret s JOIN scope c ON c.id = s.scope_id
        WHERE s.name = w.name
          AND (c.app_id IS NULL OR c.app_id = p.app_id) AND (c.environment_id IS NULL OR c.environment_id = p.environment_id)
          AND (c.node_id IS NULL OR c.node_id = p.node_id)
        ORDER BY 4 * (c.app_id IS NOT NULL)::integer + 2 * (c.node_id IS NOT NULL)::integer
                 + (c.environment_id IS NOT NULL)::integer DESC
        LIMIT 1
    ) s ON true
),
open AS MATERIALIZED (
    SELECT f.request, f.position, f.text_id, f.commitment, f.salt, f.id, f.name, f.scope_id, f.active_version, f.app_id,
           f.environment_id, f.node_id, v.id AS version_id, v.format, v.kek_term, v.wrapped_dek, v.size
    FROM winner f
    -- OFFSET 0: without it every version of the secret is scanned.
    JOIN LATERAL (
        SELECT w.id, w.format, w.kek_term, w.wrapped_dek, octet_length(w.ciphertext) AS size
        FROM secret_version w WHERE w.secret_id = f.id AND w.version = f.active_version OFFSET 0
    ) v ON true
    -- What comes from a backend is the gate's: the backend may have to be asked first, with no transaction open.
    WHERE f.source IS NULL AND EXISTS (
        SELECT FROM binding b
        WHERE b.subject_id = ANY (f.subjects) AND b.permissions & $15::bigint <> 0 AND @{lives}
          AND @{covers})
      AND NOT EXISTS (SELECT FROM approval_policy b WHERE b.actions & $20::smallint <> 0 AND @{guards})
),
allowed AS MATERIALIZED (
    SELECT whole.request FROM (
        SELECT o.request, count(*) AS available, sum(sum(o.size)) OVER (ORDER BY o.request) AS bytes FROM open o GROUP BY o.request
    ) whole
    WHERE whole.available = (SELECT count(*) FROM wanted w WHERE w.request = whole.request) AND whole.bytes <= $19::bigint
),
texts AS (
    INSERT INTO audit_text (id, salt, reason, user_agent)
    SELECT o.text_id, o.salt, p.reason, p.user_agent
    FROM open o JOIN allowed USING (request) JOIN place p ON p.ord = o.request
    WHERE o.text_id IS NOT NULL
),
written AS (
    INSERT INTO audit (request_id, actor_id, actor_name, actor_kind, token_id, action, outcome, resource_kind, resource_id,
                       resource_name, app, environment, node, version, peer, client, text_id, text_commitment)
    SELECT p.request_id, p.principal_id, p.principal_name, p.kind, p.token_id, 'secret:resolve', 'allowed', 'secret', o.id, o.name,
           CASE WHEN o.app_id IS NOT NULL THEN p.app END, CASE WHEN o.environment_id IS NOT NULL THEN p.environment END,
           CASE WHEN o.node_id IS NOT NULL THEN p.node END, o.active_version, p.peer, p.client, o.text_id, o.commitment
    FROM open o JOIN allowed USING (request) JOIN place p ON p.ord = o.request
    ORDER BY o.position
)
SELECT o.request, p.principal_id, p.principal_name, p.kind, p.token_id, o.id, o.name, o.active_version, o.scope_id,
       o.app_id IS NOT NULL AS of_app, o.environment_id IS NOT NULL AS of_environment, o.node_id IS NOT NULL AS of_node,
       o.version_id, o.format, o.kek_term, o.wrapped_dek, c.ciphertext, statement_timestamp() AS now
FROM open o
JOIN allowed USING (request)
JOIN place p ON p.ord = o.request
JOIN LATERAL (
    SELECT w.ciphertext FROM secret_version w WHERE w.secret_id = o.id AND w.version = o.active_version OFFSET 0
) c ON true
ORDER BY o.position;
