-- What the batch statements share: who holds a token, and whether a binding covers something. The same decision as
-- core.access.decide and storage.identity_rows; tests compare the two over random principals, groups, bindings and networks.

-- fragment: holders
-- Once for each token of the CTE request (hash): its holder, why it cannot be used (whatever the peer), and its subjects.
    SELECT t.hash, t.id AS token_id, t.networks, t.enrolling, p.id, p.kind, p.name,
           CASE WHEN t.revoked_at IS NOT NULL THEN 'token_revoked'
                WHEN t.expires_at <= statement_timestamp() THEN 'token_expired'
                WHEN COALESCE(t.last_used_at, t.created_at) + make_interval(secs => t.idle_seconds) <= statement_timestamp()
                    THEN 'session_idle'
                WHEN p.disabled_at IS NOT NULL THEN 'principal_disabled' END AS refusal,
           p.kind = 'node' AND COALESCE(n.state <> 'active', true) AS dormant,
           ARRAY(SELECT m.group_id FROM group_member m WHERE m.principal_id = p.id) || p.id AS subjects
    FROM (SELECT DISTINCT hash FROM request) d
    JOIN token t ON t.hash = d.hash
    JOIN principal p ON p.id = t.principal_id
    LEFT JOIN node n ON n.principal_id = p.id

-- fragment: refusal
-- Why the request r of the holder h (of none: NULL) is refused before anything is looked for; NULL: it is not.
-- NULL <<= ANY is NULL, hence the COALESCE: a token bound to networks never passes without a peer.
           CASE WHEN h.hash IS NULL THEN 'unauthenticated'
                WHEN h.refusal IS NOT NULL THEN h.refusal
                WHEN NOT COALESCE(h.networks IS NULL OR NULLIF(r.peer, '')::inet <<= ANY (h.networks), false) THEN 'foreign_network'
                WHEN h.enrolling THEN 'second_factor_unset'
                WHEN h.dormant THEN 'node_not_active' END

-- fragment: selects
-- The binding b selects the place of f, a scope by ids, whatever the name.
          (b.app_match = 'any' OR (b.app_match = 'unset' AND f.app_id IS NULL) OR (b.app_match = 'is' AND b.app_id = f.app_id))
          AND (b.environment_match = 'any' OR (b.environment_match = 'unset' AND f.environment_id IS NULL)
               OR (b.environment_match = 'is' AND b.environment_id = f.environment_id))
          AND (b.node_match = 'any' OR (b.node_match = 'unset' AND f.node_id IS NULL)
               OR (b.node_match = 'is' AND b.node_id = f.node_id))

-- fragment: covers
-- The binding b selects f: a name at a scope by ids.
@{selects}
          AND CASE WHEN b.name_is_prefix THEN starts_with(f.name, b.name) ELSE f.name = b.name END

-- fragment: lives
          COALESCE(b.expires_at > statement_timestamp(), true)

-- fragment: guards
-- The approval policy b speaks of f: a name with labels (jsonb) at a scope by ids. The same as core.approvals.Policy.selects.
@{covers}
          AND (b.label_key IS NULL OR f.labels ->> b.label_key = b.label_value)
