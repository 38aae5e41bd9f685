-- Rotation: when a secret is due, what changes its credential at the source, and every run of it.

-- When a secret is due next. policy is the one that due_at was counted from; rotator what changes the credential at its source
-- (kind and settings, no credential), NULL where a new version is all that a rotation is.
CREATE TABLE secret_rotation (
    secret_id       uuid PRIMARY KEY REFERENCES secret ON DELETE CASCADE,
    policy          jsonb,
    due_at          timestamptz,
    noticed_at      timestamptz,
    paused          boolean NOT NULL DEFAULT false,
    rotator         jsonb,
    set_by          uuid REFERENCES principal ON DELETE SET NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX secret_rotation_due ON secret_rotation (due_at) WHERE NOT paused;

-- One rotation on its way or past. The state is the last step that is known to be done, so whoever goes on repeats at most one.
CREATE TABLE secret_rotation_run (
    id                uuid PRIMARY KEY,
    secret_id         uuid NOT NULL REFERENCES secret ON DELETE CASCADE,
    cause             text NOT NULL CHECK (cause IN ('schedule', 'request')),
    rotator           jsonb,
    state             text NOT NULL CHECK (state IN ('waiting', 'prepared', 'applied', 'verified', 'published', 'acknowledged',
                                                     'reverting', 'succeeded', 'reverted', 'failed')),
    previous_version  integer,
    candidate_version integer,
    rollout_id        uuid,
    attempts          integer NOT NULL DEFAULT 0,
    next_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease             uuid,
    leased_until      timestamptz,
    error             text NOT NULL DEFAULT '',
    created_by        uuid REFERENCES principal ON DELETE SET NULL,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at       timestamptz
);
CREATE UNIQUE INDEX secret_rotation_run_open ON secret_rotation_run (secret_id) WHERE finished_at IS NULL;
CREATE INDEX secret_rotation_run_next ON secret_rotation_run (next_at) WHERE finished_at IS NULL;
CREATE INDEX secret_rotation_run_history ON secret_rotation_run (secret_id, id);
