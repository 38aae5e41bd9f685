-- Batch writes, limits and the rest of the API.

-- The secrets that a batch changed, in the order of its operations, for as long as its idempotency key is remembered.
CREATE TABLE secret_batch (
    id              uuid PRIMARY KEY,
    secret_ids      uuid[] NOT NULL,                                          -- no foreign keys: a batch may delete secrets
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX secret_batch_age ON secret_batch (created_at);

-- Counts every change by people; the entity tag.
ALTER TABLE app ADD COLUMN revision bigint NOT NULL DEFAULT 1;
ALTER TABLE environment ADD COLUMN revision bigint NOT NULL DEFAULT 1;
ALTER TABLE node ADD COLUMN revision bigint NOT NULL DEFAULT 1;
