-- Many reveals in one statement: who asks, what may be revealed, the audit rows, and the envelopes of what is allowed.

-- name: reveal_batch
-- The decision of core.access.decide and the rows of services.gate, for a batch of requests that all arrived before the statement's
-- snapshot: revocations and new versions hold. A test compares outcomes and rows with those of the gate, one request at a time.
--
-- $1 token hashes (NULL: none), $2 secrets, $3 versions (NULL: the active one), $4 request ids, $5 peers ('' or a valid address),
-- $6 clients, $7 ids of free text (NULL: none), $8 their commitments, $9 salts, $10 reasons, $11 user agents; $12 the bit of
-- secret:reveal, $13 that of secret:list; $14 the most bytes of ciphertext in all: what is beyond is 'later', without a row. $15 the bit
-- of policies that guard reveals: what one guards is 'later' as well, for an approval is used up in a transaction of its own.
WITH request AS MATERIALIZED (
    SELECT * FROM unnest($1::bytea[], $2::uuid[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::uuid[], $8::bytea[],
                         $9::bytea[], $10::text[], $11::text[])
        WITH ORDINALITY AS r (hash, secret_id, version, request_id, peer, client, text_id, commitment, salt, reason, user_agent, ord)
),
holder AS MATERIALIZED (
    @{holders}
),
found AS MATERIALIZED (
    SELECT r.ord, r.secret_id, r.version, r.peer, h.token_id, h.id AS principal_id, h.kind, h.name AS principal_name, h.subjects,
           @{refusal} AS refusal,
           s.id AS found_id, s.source IS NOT NULL AS sourced, s.name, s.labels, s.scope_id, c.app_id, c.environment_id, c.node_id,
           COALESCE(r.version, s.active_version) AS wanted, a.name AS app, e.name AS environment, n.name AS node
    FROM request r
    LEFT JOIN holder h ON h.hash = r.hash
    LEFT JOIN secret s ON s.id = r.secret_id
    LEFT JOIN scope c ON c.id = s.scope_id
    LEFT JOIN app a ON a.id = c.app_id
    LEFT JOIN environment e ON e.id = c.environment_id
    LEFT JOIN node n ON n.id = c.node_id
),
decided AS MATERIALIZED (
    SELECT f.*, g.lists, v.id AS version_id, v.format, v.kek_term, v.wrapped_dek,
           CASE WHEN f.refusal IS NOT NULL THEN 'refused'
                WHEN f.found_id IS NULL THEN 'missing'
                WHEN g.reveals IS NOT TRUE THEN 'denied'
                WHEN p.guarded THEN 'later'
                WHEN v.id IS NULL THEN 'no_version'
                WHEN f.sourced THEN 'later'  -- its backend may have to be asked first, with no transaction open
                WHEN sum(v.size) FILTER (WHERE g.reveals) OVER (ORDER BY f.ord) > $14::bigint THEN 'later'
                ELSE 'allowed' END AS outcome,
           CASE WHEN f.refusal IS NOT NULL THEN f.refusal
                WHEN f.found_id IS NULL THEN 'unavailable'
                WHEN g.reveals IS NOT TRUE THEN CASE WHEN g.lapsed THEN 'expired_binding' ELSE 'no_binding' END
                WHEN v.id IS NULL THEN 'unavailable'
                ELSE '' END AS code
    FROM found f
    LEFT JOIN LATERAL (
        SELECT bool_or(b.permissions & $12::bigint <> 0 AND @{lives}) AS reveals,
               bool_or(b.permissions & $12 <> 0) AS lapsed,
               bool_or(b.permissions & $13::bigint <> 0 AND @{lives}) AS lists
        FROM binding b
        WHERE b.subject_id = ANY (f.subjects)
          AND @{covers}
    ) g ON f.refusal IS NULL AND f.found_id IS NOT NULL
    LEFT JOIN LATERAL (
        SELECT EXISTS (SELECT FROM approval_policy b WHERE b.actions & $15::smallint <> 0 AND @{guards}) AS guarded
    ) p ON g.reveals
    -- OFFSET 0: without it every version of the secret is scanned.
    LEFT JOIN LATERAL (
        SELECT w.id, w.format, w.kek_term, w.wrapped_dek, octet_length(w.ciphertext) AS size
        FROM secret_version w WHERE w.secret_id = f.found_id AND w.version = f.wanted OFFSET 0
    ) v ON g.reveals
),
texts AS (
    INSERT INTO audit_text (id, salt, reason, user_agent)
    SELECT r.text_id, r.salt, r.reason, r.user_agent FROM request r JOIN decided d USING (ord)
    WHERE r.text_id IS NOT NULL AND d.outcome <> 'later'
),
written AS (
    INSERT INTO audit (request_id, actor_id, actor_name, actor_kind, token_id, action, outcome, code, resource_kind, resource_id,
                       resource_name, app, environment, node, version, peer, client, text_id, text_commitment)
    SELECT r.request_id, d.principal_id, COALESCE(d.principal_name, ''), COALESCE(d.kind, ''), d.token_id, 'secret:reveal',
           CASE d.outcome WHEN 'allowed' THEN 'allowed' WHEN 'refused' THEN 'denied' WHEN 'denied' THEN 'denied' ELSE 'failed' END,
           d.code,
           CASE WHEN d.outcome = 'refused' AND d.principal_id IS NOT NULL THEN 'token' ELSE 'secret' END,
           CASE WHEN d.outcome = 'refused' THEN d.token_id ELSE d.secret_id END,
           CASE WHEN d.outcome = 'refused' THEN '' ELSE COALESCE(d.name, '') END,
           CASE WHEN d.outcome <> 'refused' THEN d.app END, CASE WHEN d.outcome <> 'refused' THEN d.environment END,
           CASE WHEN d.outcome <> 'refused' THEN d.node END, CASE WHEN d.outcome = 'allowed' THEN d.wanted END,
           d.peer, r.client, r.text_id, r.commitment
    FROM decided d JOIN request r USING (ord)
    WHERE d.outcome <> 'later'
    ORDER BY d.ord
)
SELECT d.outcome, d.code, d.lists, d.principal_id, d.principal_name, d.kind, d.token_id, d.name, d.wanted, d.scope_id, d.app,
       d.environment, d.node, d.version_id, d.format, d.kek_term, d.wrapped_dek, c.ciphertext, statement_timestamp() AS now
FROM decided d
LEFT JOIN LATERAL (
    SELECT w.ciphertext FROM secret_version w WHERE w.secret_id = d.found_id AND w.version = d.wanted OFFSET 0
) c ON d.outcome = 'allowed'
ORDER BY d.ord;
