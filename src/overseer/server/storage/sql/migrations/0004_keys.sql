-- Keys: rotations of the key-encryption key, and the order in which they find what is wrapped under an old term.

CREATE TABLE key_rotation (
    id              uuid PRIMARY KEY,
    term            integer NOT NULL CHECK (term >= 1),
    reason          text NOT NULL CHECK (reason IN ('asked', 'age', 'count', 'found')),
    state           text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'finished')),
    at_table        text COLLATE "C" NOT NULL DEFAULT '',
    at_term         integer NOT NULL DEFAULT 0,
    at_id           uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    rewrapped       bigint NOT NULL DEFAULT 0,
    unreadable      bigint NOT NULL DEFAULT 0,
    started_by      uuid REFERENCES principal ON DELETE SET NULL,
    started_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at     timestamptz,
    CHECK ((state = 'finished') = (finished_at IS NOT NULL))
);
CREATE UNIQUE INDEX key_rotation_running ON key_rotation (state) WHERE state = 'running';

DROP INDEX secret_version_term;
CREATE INDEX secret_version_term ON secret_version (kek_term, id);
DROP INDEX bundle_term;
CREATE INDEX bundle_term ON bundle (kek_term, id);
