-- Backends: where they are, what a secret is taken from, how that went. What was taken lies in secret_version like every value.

CREATE TABLE backend (
    id              uuid PRIMARY KEY,
    name            text COLLATE "C" NOT NULL UNIQUE,
    kind            text NOT NULL,
    description     text NOT NULL DEFAULT '',
    settings        jsonb NOT NULL CHECK (jsonb_typeof(settings) = 'object'),
    ttl             integer NOT NULL CHECK (ttl >= 0),
    stale_if_error  integer NOT NULL CHECK (stale_if_error >= 0),
    max_age         integer NOT NULL CHECK (max_age >= 0),
    timeout         integer NOT NULL CHECK (timeout > 0),
    credential_id   uuid NOT NULL,
    format          smallint NOT NULL,
    kek_term        integer NOT NULL,
    wrapped_dek     bytea NOT NULL,
    ciphertext      bytea NOT NULL,
    revision        bigint NOT NULL DEFAULT 1,
    created_by      uuid REFERENCES principal ON DELETE SET NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX backend_term ON backend (kek_term, id);

CREATE TABLE secret_source (
    secret_id       uuid PRIMARY KEY REFERENCES secret ON DELETE CASCADE,
    backend_id      uuid NOT NULL REFERENCES backend ON DELETE RESTRICT,
    ref             text COLLATE "C" NOT NULL,
    field           text NOT NULL DEFAULT '',
    mode            text NOT NULL CHECK (mode IN ('pull', 'sync')),
    fetched_at      timestamptz NOT NULL,
    tried_at        timestamptz NOT NULL,
    failure         text NOT NULL DEFAULT '',
    created_by      uuid REFERENCES principal ON DELETE SET NULL
);
CREATE INDEX secret_source_backend ON secret_source (backend_id);
CREATE INDEX secret_source_due ON secret_source (tried_at) WHERE mode = 'sync';
