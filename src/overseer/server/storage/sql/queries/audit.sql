-- Writing and reading the audit log. incarnation, xact and id are the database's, never ours.

-- name: audit_insert
INSERT INTO audit (request_id, actor_id, actor_name, actor_kind, on_behalf_of, token_id, action, outcome, code, resource_kind,
                   resource_id, resource_name, app, environment, node, version, peer, client, repeats, text_id, text_commitment)
SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::uuid[], $6::uuid[], $7::text[], $8::text[], $9::text[],
                     $10::text[], $11::uuid[], $12::text[], $13::text[], $14::text[], $15::text[], $16::integer[], $17::text[],
                     $18::text[], $19::integer[], $20::uuid[], $21::bytea[]);

-- name: audit_text_insert
INSERT INTO audit_text (id, salt, reason, user_agent) SELECT * FROM unnest($1::uuid[], $2::bytea[], $3::text[], $4::text[]);

-- fragment: audit_view
a.incarnation, a.xact::text AS xact, a.id, a.at, a.request_id, a.actor_id, a.actor_name, a.actor_kind, a.on_behalf_of, a.token_id,
a.action, a.outcome, a.code, a.resource_kind, a.resource_id, a.resource_name, a.app, a.environment, a.node, a.version, a.peer,
a.client, a.repeats, COALESCE(t.reason, '') AS reason

-- name: audit_scan
-- Newest first: of the next $4 rows before the key ($1, $2, $3) and not before ($5, $6), those that match, up to $7. Only so many
-- rows are looked at, whatever matches. Filters that are NULL do not count.
SELECT @{audit_view}
FROM (SELECT * FROM audit WHERE (incarnation, xact, id) < ($1::integer, $2::text::xid8, $3::bigint)
        AND (incarnation, xact) >= ($5::integer, $6::text::xid8)
      ORDER BY incarnation DESC, xact DESC, id DESC LIMIT $4) a
LEFT JOIN audit_text t ON t.id = a.text_id
WHERE ($8::text IS NULL OR a.actor_name = $8 OR a.actor_id::text = $8)
  AND ($9::text IS NULL OR a.on_behalf_of::text = $9 OR a.on_behalf_of IN (SELECT p.id FROM principal p WHERE p.name = $9))
  AND ($10::text IS NULL OR a.action = $10)
  AND ($11::text IS NULL OR starts_with(a.action, $11))
  AND ($12::text IS NULL OR a.outcome = $12)
  AND ($13::text IS NULL OR a.code = $13)
  AND ($14::text IS NULL OR a.resource_kind = $14)
  AND ($15::text IS NULL OR a.resource_name = $15)
  AND ($16::uuid IS NULL OR a.resource_id = $16)
  AND ($17::text IS NULL OR a.app = $17)
  AND ($18::text IS NULL OR a.environment = $18)
  AND ($19::text IS NULL OR a.node = $19)
  AND ($20::text IS NULL OR a.peer = $20)
  AND ($21::text IS NULL OR a.request_id = $21)
  AND ($22::uuid IS NULL OR a.token_id = $22)
  AND ($23::timestamptz IS NULL OR a.at >= $23)
  AND ($24::timestamptz IS NULL OR a.at < $24)
  AND ($25::text IS NULL OR strpos(lower(t.reason), lower($25)) > 0)
ORDER BY a.incarnation DESC, a.xact DESC, a.id DESC
LIMIT $7;

-- name: audit_scan_end
-- The key of the last row that such a step looks at; nothing where it looks at all that are left.
SELECT incarnation, xact::text AS xact, id FROM audit
WHERE (incarnation, xact, id) < ($1::integer, $2::text::xid8, $3::bigint) AND (incarnation, xact) >= ($5::integer, $6::text::xid8)
ORDER BY audit.incarnation DESC, audit.xact DESC, audit.id DESC OFFSET $4 - 1 LIMIT 1; -- bare, xact would be the text above

-- name: audit_span
-- Between which keys rows of a time lie: every row from $1 on is not before the first, every row before $2 is before the second.
-- Ten seconds more on both sides, for clocks that are set.
SELECT COALESCE(since.incarnation, 0) AS first_incarnation, COALESCE(since.horizon::text, '0') AS first_xact,
       COALESCE(until.incarnation, 2147483647) AS end_incarnation, COALESCE(until.ceiling::text, '0') AS end_xact
FROM (SELECT 1) AS always
LEFT JOIN LATERAL (SELECT incarnation, horizon FROM audit_checkpoint WHERE at < $1::timestamptz - interval '10 seconds'
                   ORDER BY at DESC LIMIT 1) AS since ON true
LEFT JOIN LATERAL (SELECT c.ceiling, (SELECT max(i.incarnation) FROM audit_incarnation i WHERE i.at <= c.at) AS incarnation
                   FROM audit_checkpoint c WHERE c.at >= $2::timestamptz + interval '10 seconds'
                   ORDER BY c.at LIMIT 1) AS until ON true;

-- name: audit_text_erase
-- Up to $5 texts: of rows of the principal of this name or id ($1), of one row ($2, $3, $4).
DELETE FROM audit_text WHERE id IN (
    SELECT a.text_id FROM audit a JOIN audit_text t ON t.id = a.text_id
    WHERE a.actor_id = $1::uuid OR (a.incarnation, a.xact, a.id) = ($2::integer, $3::text::xid8, $4::bigint) LIMIT $5);

-- name: audit_actor_ids
-- Whose id a name is or was; an id is itself.
SELECT DISTINCT id FROM principal WHERE name = $1 OR id::text = $1;

-- name: audit_reader_read
SELECT incarnation, xact::text AS xact, id, checkpoint_size, checkpoint_at, alarmed_at FROM audit_reader WHERE name = $1;

-- name: audit_reader_lock
SELECT pg_advisory_xact_lock(hashtextextended('audit reader ' || $1, 0));

-- name: audit_reader_write
INSERT INTO audit_reader (name, incarnation, xact, id, checkpoint_size, checkpoint_at, alarmed_at)
VALUES ($1, $2, $3::text::xid8, $4, $5, $6, $7)
ON CONFLICT (name) DO UPDATE
SET incarnation = $2, xact = $3::text::xid8, id = $4, checkpoint_size = $5, checkpoint_at = $6, alarmed_at = $7;

-- name: audit_read_on
-- Oldest first: the next $6 rows after the key ($1, $2, $3) and below the horizon ($4, $5).
SELECT @{audit_view}, extract(epoch FROM clock_timestamp() - a.at)::float8 AS age
FROM audit a LEFT JOIN audit_text t ON t.id = a.text_id
WHERE (a.incarnation, a.xact, a.id) > ($1::integer, $2::text::xid8, $3::bigint)
  AND (a.incarnation, a.xact) < ($4::integer, $5::text::xid8)
ORDER BY a.incarnation, a.xact, a.id LIMIT $6;

-- name: audit_unread
-- The age in seconds of the oldest row after a key; NULL where there is none.
SELECT extract(epoch FROM clock_timestamp() - a.at)::float8 FROM audit a
WHERE (a.incarnation, a.xact, a.id) > ($1::integer, $2::text::xid8, $3::bigint)
ORDER BY a.incarnation, a.xact, a.id LIMIT 1;

-- name: audit_seen_fold
-- What the next $6 rows after the key ($1, $2, $3) and below the horizon ($4, $5) say that principals were shown or wrote; the key
-- of the last of them.
WITH part AS MATERIALIZED (
    SELECT incarnation, xact, id, actor_id, outcome, action, resource_kind, resource_id, version, at FROM audit
    WHERE (incarnation, xact, id) > ($1::integer, $2::text::xid8, $3::bigint) AND (incarnation, xact) < ($4::integer, $5::text::xid8)
    ORDER BY incarnation, xact, id LIMIT $6
),
kept AS (
    INSERT INTO audit_seen AS s (actor_id, secret_id, version, action, at)
    SELECT actor_id, resource_id, version, action, max(at) FROM part
    WHERE actor_id IS NOT NULL AND outcome = 'allowed' AND resource_kind = 'secret' AND resource_id IS NOT NULL
      AND version IS NOT NULL
      AND action IN ('secret:reveal', 'secret:resolve', 'secret:create', 'secret:update', 'secret:rotate', 'secret:export',
                     'migration:import')
    GROUP BY actor_id, resource_id, version, action
    ON CONFLICT (actor_id, secret_id, version, action) DO UPDATE SET at = excluded.at WHERE s.at < excluded.at
)
SELECT incarnation, xact::text AS xact, id, (SELECT count(*) FROM part) AS rows
FROM part ORDER BY part.incarnation DESC, part.xact DESC, part.id DESC LIMIT 1;

-- name: audit_forget
SELECT audit_forget($1);

-- name: audit_between
-- Whether there is a row after a key and below a horizon.
SELECT EXISTS (SELECT FROM audit WHERE (incarnation, xact, id) > ($1::integer, $2::text::xid8, $3::bigint)
               AND (incarnation, xact) < ($4::integer, $5::text::xid8));

-- name: audit_aged_checkpoint
-- The checkpoint to remove rows up to: the last one signed before $1, but at most $2 rows beyond the size $3.
SELECT size FROM audit_checkpoint WHERE at < $1 AND size > $3 AND size <= $3 + $2 ORDER BY size DESC LIMIT 1;

-- name: audit_aged_checkpoint_next
-- Where one checkpoint alone covers more than that.
SELECT size FROM audit_checkpoint WHERE at < $1 AND size > $2 ORDER BY size LIMIT 1;

-- name: audit_texts_wrong
-- Rows whose text is not what they are bound to.
SELECT a.incarnation, a.xact::text AS xact, a.id FROM audit a JOIN audit_text t ON t.id = a.text_id
WHERE a.text_commitment IS DISTINCT FROM
      sha256(t.salt || convert_to(t.reason, 'UTF8') || '\x00'::bytea || convert_to(t.user_agent, 'UTF8'))
ORDER BY a.incarnation, a.xact, a.id LIMIT $1;

-- name: audit_texts_erased
SELECT count(*) FROM audit a WHERE a.text_id IS NOT NULL AND NOT EXISTS (SELECT FROM audit_text t WHERE t.id = a.text_id);
