-- The transparency log: sealing rows, and reading back rows, tiles and checkpoints.

-- fragment: audit_record
-- The canonical bytes of a row: format 1 of core/audit_record.py, column by column, so that a column more changes nothing.
record_send(ROW(1, a.incarnation, a.xact, a.id, a.at, a.request_id, a.actor_id, a.actor_name, a.actor_kind, a.on_behalf_of,
                a.token_id, a.action, a.outcome, a.code, a.resource_kind, a.resource_id, a.resource_name, a.app, a.environment,
                a.node, a.version, a.peer, a.client, a.repeats, a.text_id, a.text_commitment))

-- fragment: checkpoint_columns
seq, size, root, frontier, incarnation, horizon::text AS horizon, timeline, at, signature, key_term

-- name: seal_lock
-- Only saves work: what two sealers must not do at once is stopped by the primary key of audit_checkpoint.
SELECT pg_try_advisory_xact_lock(8102661214773306992);

-- name: seal_rows
-- Leaf hashes of what no open transaction can still precede: $1 incarnation and $2 horizon of the last checkpoint, $3 about how many
-- rows. The horizon is that of this statement's own snapshot, so every row below it is seen or never was. Whole transactions only.
-- Older incarnations are over: the newest one began under a lock that waits for every writer.
WITH bound AS MATERIALIZED (
    SELECT pg_snapshot_xmin(pg_current_snapshot()) AS horizon, (SELECT max(incarnation) FROM audit_incarnation) AS incarnation
),
taken AS MATERIALIZED (
    SELECT a.incarnation, a.xact, a.id, sha256('\x00'::bytea || @{audit_record}) AS leaf
    FROM audit a
    WHERE (a.incarnation, a.xact) >= ($1::integer, $2::text::xid8)
      AND (a.incarnation, a.xact) < ((SELECT incarnation FROM bound), (SELECT horizon FROM bound))
    ORDER BY a.incarnation, a.xact
    FETCH FIRST $3 ROWS WITH TIES
)
SELECT string_agg(t.leaf, ''::bytea ORDER BY t.incarnation, t.xact, t.id) AS leaves, count(*) AS rows,
       max(t.incarnation) AS last_incarnation,
       (SELECT k.xact::text FROM taken k ORDER BY k.incarnation DESC, k.xact DESC LIMIT 1) AS last_xact,
       (SELECT horizon::text FROM bound) AS horizon, (SELECT incarnation FROM bound) AS incarnation,
       ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer AS timeline,
       clock_timestamp() AS at
FROM taken t;

-- name: checkpoint_last
SELECT @{checkpoint_columns} FROM audit_checkpoint ORDER BY seq DESC LIMIT 1;

-- name: checkpoint_at_size
SELECT @{checkpoint_columns} FROM audit_checkpoint WHERE size = $1;

-- name: checkpoint_below_size
-- The last one that is not larger.
SELECT @{checkpoint_columns} FROM audit_checkpoint WHERE size <= $1 ORDER BY size DESC LIMIT 1;

-- name: checkpoint_above_size
-- The first one that is larger.
SELECT @{checkpoint_columns} FROM audit_checkpoint WHERE size > $1 ORDER BY size LIMIT 1;

-- name: checkpoint_before
-- The last one at a moment.
SELECT @{checkpoint_columns} FROM audit_checkpoint WHERE at < $1 ORDER BY seq DESC LIMIT 1;

-- name: checkpoint_page
-- Newest first, before a sequence number.
SELECT @{checkpoint_columns} FROM audit_checkpoint WHERE $1::bigint IS NULL OR seq < $1 ORDER BY seq DESC LIMIT $2;

-- name: checkpoint_range
-- In order, larger than $1 and up to $2.
SELECT @{checkpoint_columns} FROM audit_checkpoint WHERE size > $1 AND size <= $2 ORDER BY size;

-- name: checkpoint_insert
INSERT INTO audit_checkpoint (seq, size, root, frontier, incarnation, horizon, timeline, at, signature, key_term)
VALUES ($1, $2, $3, $4, $5, $6::text::xid8, $7, $8, $9, $10);

-- name: tile_insert
INSERT INTO audit_tile (level, number, first, hashes)
SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::smallint[], $4::bytea[]);

-- name: tiles_named
SELECT t.level, t.number, string_agg(t.hashes, ''::bytea ORDER BY t.first) AS hashes
FROM audit_tile t JOIN unnest($1::smallint[], $2::bigint[]) AS w (level, number) USING (level, number)
GROUP BY t.level, t.number;

-- name: tiles_of_leaves
-- In order, from a number on.
SELECT number, string_agg(hashes, ''::bytea ORDER BY first) AS hashes
FROM audit_tile WHERE level = 0 AND number >= $1 AND number < $2 GROUP BY number ORDER BY number;

-- name: log_keys
SELECT term, public_key, since_size, statement, at FROM audit_log_key ORDER BY term;

-- name: log_key_insert
INSERT INTO audit_log_key (term, public_key, since_size, statement) VALUES ($1, $2, $3, $4);

-- name: log_rotation_lock
-- Sealers wait for the end of a rotation, and a rotation for the end of a sealing: no checkpoint is signed by a key that ended.
SELECT pg_advisory_xact_lock(8102661214773306992);

-- name: retention_last
SELECT size, statement, at FROM audit_retention ORDER BY size DESC LIMIT 1;

-- name: retention_insert
INSERT INTO audit_retention (size, statement) VALUES ($1, $2);

-- name: log_records
-- Canonical rows in the order of the log, after a key ($1, $2, $3), below a horizon ($4, $5).
SELECT @{audit_record} AS record FROM audit a
WHERE (a.incarnation, a.xact, a.id) > ($1::integer, $2::text::xid8, $3::bigint)
  AND (a.incarnation, a.xact) < ($4::integer, $5::text::xid8)
ORDER BY a.incarnation, a.xact, a.id LIMIT $6 OFFSET $7;

-- name: log_read_in_order
-- For this transaction: rows lie in the table nearly as the index has them, so that a walk along the index beats any sort.
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true), set_config('enable_sort', 'off', true);

-- name: log_records_below
-- For COPY: every row below a horizon.
SELECT @{audit_record} AS record FROM audit a WHERE (a.incarnation, a.xact) < ($1::integer, $2::text::xid8)
ORDER BY a.incarnation, a.xact, a.id;

-- name: log_impossible
-- Rows that this snapshot cannot see unless they were forged: a transaction or an incarnation that has not begun.
SELECT a.incarnation, a.xact::text AS xact, a.id FROM audit a
WHERE (a.incarnation, a.xact) >= ((SELECT max(incarnation) FROM audit_incarnation), pg_snapshot_xmax(pg_current_snapshot()))
ORDER BY a.incarnation, a.xact, a.id LIMIT $1;

-- name: log_place
-- Where a row stands: the last checkpoint before it, how many rows lie between, and the row itself; nothing where there is no such row.
SELECT COALESCE(c.size, 0) AS before,
       (SELECT count(*) FROM audit b
        WHERE (b.incarnation, b.xact) >= (COALESCE(c.incarnation, 0), COALESCE(c.horizon, '0'::xid8))
          AND (b.incarnation, b.xact, b.id) < (a.incarnation, a.xact, a.id)) AS between_,
       @{audit_record} AS record
FROM audit a
LEFT JOIN LATERAL (
    SELECT k.size, k.incarnation, k.horizon FROM audit_checkpoint k
    WHERE (k.incarnation, k.horizon) <= (a.incarnation, a.xact)
    ORDER BY k.incarnation DESC, k.horizon DESC LIMIT 1
) c ON true
WHERE (a.incarnation, a.xact, a.id) = ($1::integer, $2::text::xid8, $3::bigint);

-- name: log_unsealed
-- How many rows no checkpoint covers yet (counted up to $3), and how old the oldest is, in seconds.
SELECT count(*) AS rows, COALESCE(extract(epoch FROM clock_timestamp() - min(u.at)), 0)::float8 AS seconds
FROM (SELECT a.at FROM audit a WHERE (a.incarnation, a.xact) >= ($1::integer, $2::text::xid8)
      ORDER BY a.incarnation, a.xact, a.id LIMIT $3) u;

-- name: log_blockers
-- Who holds the horizon back, in any database of the cluster: the oldest transactions that have an id, never what they run. Before
-- them (behind is NULL) whoever is none of ours and holds the lock of the sealers or of the leader: any login that may connect can.
SELECT pid, COALESCE(datname, '') AS database, extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds,
       age(backend_xid) AS behind
FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
UNION ALL
SELECT NULL, database, extract(epoch FROM clock_timestamp() - prepared)::float8, age(transaction) FROM pg_prepared_xacts
UNION ALL
SELECT a.pid, a.datname, NULL, NULL FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND a.datname = current_database()
  AND (l.classid::bigint << 32) + l.objid::bigint IN (8102661214773306991, 8102661214773306992)
  AND NOT pg_has_role(a.usesysid, current_user, 'MEMBER')
ORDER BY behind DESC NULLS FIRST LIMIT 5;

-- name: self_check_read
SELECT next_index, started_at, finished_at, checked_size, problems, found FROM audit_self_check;

-- name: self_check_write
INSERT INTO audit_self_check AS c (next_index, started_at, finished_at, checked_size, problems, found) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (singleton)
DO UPDATE SET next_index = $1, started_at = $2, finished_at = $3, checked_size = $4, problems = $5, found = $6;
