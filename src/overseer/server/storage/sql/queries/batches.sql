-- Batches of changes whose idempotency key is remembered.

-- name: batch_insert
-- Part of the batch's transaction. A batch lives an hour longer than any key that could name it.
WITH purged AS (DELETE FROM secret_batch WHERE created_at < statement_timestamp() - interval '25 hours')
INSERT INTO secret_batch (id, secret_ids) VALUES ($1, $2);

-- name: batch_secrets
SELECT secret_ids FROM secret_batch WHERE id = $1;
