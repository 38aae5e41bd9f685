-- What is wrapped by a key-encryption key: five statements a table, named wrapped_TABLE_…, found through storage/wrapped_tables.py.
-- A table that holds data keys has the columns id (unique), format, kek_term, wrapped_dek and an index (kek_term, id).
--
-- due: rows under older terms than $1 after (term $2, id $3), at most $4. Nothing is locked.
-- rewrap: ids $10 get the wraps $12 under term $9 where they still have the wraps $11, and the rotation $1 moves from the place
-- ($2, $3, $4) to ($5, $6, $7) with $8 unreadable rows more; nothing at all where it is not at the former place. Who waits for a
-- lock while it holds others can end in a deadlock, so rows that somebody has locked are left to the next pass.
-- terms: how many rows are under each term older than $1.
-- page: rows after id $1, at most $2 of them and about $3 bytes of ciphertext, at least one row.
-- freeze: until the end of the transaction nobody writes; rows that are being written are waited for.

-- fragment: wrapped_anew
unnest($10::uuid[], $11::bytea[], $12::bytea[]) AS anew (id, before, wrapped)

-- name: wrapped_secret_version_due
SELECT v.id, v.secret_id, s.scope_id, v.format, v.kek_term, v.wrapped_dek
FROM secret_version v JOIN secret s ON s.id = v.secret_id
WHERE v.kek_term < $1 AND (v.kek_term, v.id) > ($2::integer, $3::uuid)
ORDER BY v.kek_term, v.id LIMIT $4;

-- name: wrapped_secret_version_rewrap
WITH held AS MATERIALIZED (@{key_rotation_held}),
locked AS MATERIALIZED (
    SELECT v.id, anew.wrapped FROM @{wrapped_anew} JOIN secret_version v ON v.id = anew.id
    WHERE v.wrapped_dek = anew.before AND EXISTS (SELECT FROM held)
    FOR NO KEY UPDATE OF v SKIP LOCKED
),
done AS (
    UPDATE secret_version v SET kek_term = $9, wrapped_dek = locked.wrapped FROM locked WHERE v.id = locked.id RETURNING v.id
)
@{key_rotation_moved};

-- name: wrapped_secret_version_terms
SELECT kek_term AS term, count(*) AS rows FROM secret_version WHERE kek_term < $1 GROUP BY kek_term;

-- name: wrapped_secret_version_page
WITH ahead AS (
    SELECT p.id, sum(p.size) OVER (ORDER BY p.id) - p.size AS before
    FROM (SELECT id, octet_length(ciphertext) AS size FROM secret_version WHERE id > $1 ORDER BY id LIMIT $2) AS p
)
SELECT v.id, v.secret_id, v.version, s.scope_id, v.format, v.kek_term, v.wrapped_dek, v.ciphertext
FROM ahead JOIN secret_version v ON v.id = ahead.id JOIN secret s ON s.id = v.secret_id
WHERE ahead.before < $3 ORDER BY v.id;

-- name: wrapped_secret_version_freeze
LOCK TABLE secret_version IN SHARE MODE;

-- name: wrapped_bundle_due
SELECT b.id, b.app_id, b.format, b.kek_term, b.wrapped_dek
FROM bundle b
WHERE b.kek_term < $1 AND (b.kek_term, b.id) > ($2::integer, $3::uuid)
ORDER BY b.kek_term, b.id LIMIT $4;

-- name: wrapped_bundle_rewrap
WITH held AS MATERIALIZED (@{key_rotation_held}),
locked AS MATERIALIZED (
    SELECT b.id, anew.wrapped FROM @{wrapped_anew} JOIN bundle b ON b.id = anew.id
    WHERE b.wrapped_dek = anew.before AND EXISTS (SELECT FROM held)
    FOR NO KEY UPDATE OF b SKIP LOCKED
),
done AS (
    UPDATE bundle b SET kek_term = $9, wrapped_dek = locked.wrapped FROM locked WHERE b.id = locked.id RETURNING b.id
)
@{key_rotation_moved};

-- name: wrapped_bundle_terms
SELECT kek_term AS term, count(*) AS rows FROM bundle WHERE kek_term < $1 GROUP BY kek_term;

-- name: wrapped_bundle_page
WITH ahead AS (
    SELECT p.id, sum(p.size) OVER (ORDER BY p.id) - p.size AS before
    FROM (SELECT id, octet_length(ciphertext) AS size FROM bundle WHERE id > $1 ORDER BY id LIMIT $2) AS p
)
SELECT b.id, b.app_id, b.format, b.kek_term, b.wrapped_dek, b.ciphertext
FROM ahead JOIN bundle b ON b.id = ahead.id
WHERE ahead.before < $3 ORDER BY b.id;

-- name: wrapped_bundle_freeze
LOCK TABLE bundle IN SHARE MODE;

-- name: wrapped_user_totp_due
SELECT u.id, u.principal_id, u.format, u.kek_term, u.wrapped_dek
FROM user_totp u
WHERE u.kek_term < $1 AND (u.kek_term, u.id) > ($2::integer, $3::uuid)
ORDER BY u.kek_term, u.id LIMIT $4;

-- name: wrapped_user_totp_rewrap
WITH held AS MATERIALIZED (@{key_rotation_held}),
locked AS MATERIALIZED (
    SELECT u.id, anew.wrapped FROM @{wrapped_anew} JOIN user_totp u ON u.id = anew.id
    WHERE u.wrapped_dek = anew.before AND EXISTS (SELECT FROM held)
    FOR NO KEY UPDATE OF u SKIP LOCKED
),
done AS (
    UPDATE user_totp u SET kek_term = $9, wrapped_dek = locked.wrapped FROM locked WHERE u.id = locked.id RETURNING u.id
)
@{key_rotation_moved};

-- name: wrapped_user_totp_terms
SELECT kek_term AS term, count(*) AS rows FROM user_totp WHERE kek_term < $1 GROUP BY kek_term;

-- name: wrapped_user_totp_page
SELECT id, principal_id, format, kek_term, wrapped_dek, ciphertext FROM user_totp
WHERE id > $1 AND $3::bigint > 0 ORDER BY id LIMIT $2;

-- name: wrapped_user_totp_freeze
LOCK TABLE user_totp IN SHARE MODE;

-- name: wrapped_backend_due
SELECT b.id, b.credential_id, b.kind, b.settings::text AS settings, b.format, b.kek_term, b.wrapped_dek
FROM backend b
WHERE b.kek_term < $1 AND (b.kek_term, b.id) > ($2::integer, $3::uuid)
ORDER BY b.kek_term, b.id LIMIT $4;

-- name: wrapped_backend_rewrap
WITH held AS MATERIALIZED (@{key_rotation_held}),
locked AS MATERIALIZED (
    SELECT b.id, anew.wrapped FROM @{wrapped_anew} JOIN backend b ON b.id = anew.id
    WHERE b.wrapped_dek = anew.before AND EXISTS (SELECT FROM held)
    FOR NO KEY UPDATE OF b SKIP LOCKED
),
done AS (
    UPDATE backend b SET kek_term = $9, wrapped_dek = locked.wrapped FROM locked WHERE b.id = locked.id RETURNING b.id
)
@{key_rotation_moved};

-- name: wrapped_backend_terms
SELECT kek_term AS term, count(*) AS rows FROM backend WHERE kek_term < $1 GROUP BY kek_term;

-- name: wrapped_backend_page
SELECT id, credential_id, kind, settings::text AS settings, format, kek_term, wrapped_dek, ciphertext FROM backend
WHERE id > $1 AND $3::bigint > 0 ORDER BY id LIMIT $2;

-- name: wrapped_backend_freeze
LOCK TABLE backend IN SHARE MODE;
