-- Writing and reading the audit log. incarnation, xact and id are the database's, never ours.

-- name: audit_insert
INSERT INTO audit (request_id, actor_id, actor_name, actor_kind, on_behalf_of, token_id, action, outcome, code, resource_kind,
                   resource_id, resource_name, app, environment, node, version, peer, client, repeats, text_id, text_commitment)
SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::uuid[], $6::uuid[], $7::text[], $8::text[], $9::text[],
                     $10::text[], $11::uuid[], $12::text[], $13::text[], $14::text[], $15::text[], $16::integer[], $17::text[],
                     $18::text[], $19::integer[], $20::uuid[], $21::bytea[]);

-- name: audit_text_insert
INSERT INTO audit_text (id, salt, reason, user_agent) SELECT * FROM unnest($1::uuid[], $2::bytea[], $3::text[], $4::text[]);

-- name: audit_page
-- Newest first; the cursor is the primary key of the last row seen. Filters that are NULL do not count.
SELECT a.incarnation, a.xact::text AS xact, a.id, a.at, a.request_id, a.actor_id, a.actor_name, a.actor_kind, a.on_behalf_of,
       a.token_id, a.action, a.outcome, a.code, a.resource_kind, a.resource_id, a.resource_name, a.app, a.environment, a.node,
       a.version, a.peer, a.client, a.repeats, COALESCE(t.reason, '') AS reason
FROM audit a LEFT JOIN audit_text t ON t.id = a.text_id
WHERE ($1::text IS NULL OR a.actor_name = $1)
  AND ($2::text IS NULL OR a.action = $2)
  AND ($3::text IS NULL OR a.outcome = $3)
  AND ($4::text IS NULL OR a.request_id = $4)
  AND ($5::text IS NULL OR a.resource_name = $5)
  AND ($6::text IS NULL OR a.app = $6)
  AND ($7::timestamptz IS NULL OR a.at >= $7)
  AND ($8::timestamptz IS NULL OR a.at < $8)
  AND ($9::integer IS NULL OR (a.incarnation, a.xact, a.id) < ($9, $10::text::xid8, $11::bigint))
  AND ($13::uuid IS NULL OR a.resource_id = $13)
ORDER BY a.incarnation DESC, a.xact DESC, a.id DESC
LIMIT $12;
