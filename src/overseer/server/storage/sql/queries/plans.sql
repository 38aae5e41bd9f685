-- What plans said.

-- name: plan_insert
INSERT INTO plan (digest, content) VALUES ($1, $2::text::jsonb) ON CONFLICT (digest) DO UPDATE SET created_at = clock_timestamp();

-- name: plan_by_digest
SELECT content::text FROM plan WHERE digest = $1;

-- name: plan_purge
DELETE FROM plan WHERE created_at < statement_timestamp() - $1::interval;
