-- The instance and its keyring, as wrapped by the root key.

-- name: instance_load
SELECT id, check_value, seal_kind, seal_config FROM instance;

-- name: keyring_load
SELECT purpose, term, wrapped, wraps_reserved, created_at FROM keyring_key ORDER BY purpose, term;

-- name: keyring_recorded_term
-- The newest term that the audit log knows of, NULL where none was ever made by a rotation (or the row left by its age).
SELECT max(version) FROM audit WHERE action = 'key:rotate' AND outcome = 'allowed';

-- name: keyring_reserve_wraps
-- Committed in a transaction of its own before a single one of the wraps is made.
UPDATE keyring_key SET wraps_reserved = wraps_reserved + $3 WHERE purpose = $1 AND term = $2 RETURNING wraps_reserved;

-- name: instance_lock
-- Whoever adds, removes or re-wraps keys of the keyring takes this first: two of them would each undo the other's work.
SELECT id FROM instance FOR UPDATE;

-- name: keyring_remove
DELETE FROM keyring_key WHERE purpose = $1 AND term = $2;

-- name: keyring_rewrap
UPDATE keyring_key SET wrapped = $3 WHERE purpose = $1 AND term = $2;

-- name: instance_seal
UPDATE instance SET check_value = $1, seal_kind = $2, seal_config = $3;

-- name: seal_news_send
-- Delivered at the commit, to who listens at that moment. Kept in no table, no write-ahead log and no backup.
SELECT pg_notify('overseer_seal', $1);
