-- Approvals: policies, requests, decisions.

-- Who must be asked for what. The selector and the name (pattern) are those of a binding; for a deployment the name is its app's.
CREATE TABLE approval_policy (
    id                  uuid PRIMARY KEY,
    title               text COLLATE "C" NOT NULL UNIQUE,
    description         text NOT NULL DEFAULT '',
    actions             smallint NOT NULL CHECK (actions BETWEEN 1 AND 15),   -- 1 reveal, 2 activate, 4 delete, 8 deploy
    app_match           text NOT NULL CHECK (app_match IN ('any', 'unset', 'is')),
    app_id              uuid REFERENCES app ON DELETE RESTRICT,
    environment_match   text NOT NULL CHECK (environment_match IN ('any', 'unset', 'is')),
    environment_id      uuid REFERENCES environment ON DELETE RESTRICT,
    node_match          text NOT NULL CHECK (node_match IN ('any', 'unset', 'is')),
    node_id             uuid REFERENCES node ON DELETE RESTRICT,
    name                text COLLATE "C" NOT NULL,
    name_is_prefix      boolean NOT NULL,
    label_key           text COLLATE "C",
    label_value         text COLLATE "C",
    approvers           smallint NOT NULL CHECK (approvers BETWEEN 1 AND 5),
    waits_seconds       integer NOT NULL CHECK (waits_seconds > 0),           -- how long a request may wait for its decision
    lives_seconds       integer NOT NULL CHECK (lives_seconds > 0),           -- how long what was approved can be used
    created_by          uuid REFERENCES principal ON DELETE SET NULL,
    created_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    revision            bigint NOT NULL DEFAULT 1,
    CHECK ((label_key IS NULL) = (label_value IS NULL)),
    CHECK ((app_match = 'is') = (app_id IS NOT NULL)),
    CHECK ((environment_match = 'is') = (environment_id IS NOT NULL)),
    CHECK ((node_match = 'is') = (node_id IS NOT NULL))
);

-- A request. content is exactly what was asked for, by ids; digest is its SHA-256 and all that a use is compared with; names is the
-- same for people. No foreign keys into the store: what was asked for may be deleted, and the request stays as it was.
CREATE TABLE approval (
    id                  uuid PRIMARY KEY,
    principal_id        uuid NOT NULL REFERENCES principal ON DELETE CASCADE,
    operation           text NOT NULL,
    digest              bytea NOT NULL CHECK (length(digest) = 32),
    content             jsonb NOT NULL,
    names               jsonb NOT NULL,
    secret_id           uuid,
    reason              text NOT NULL,
    approvers           smallint NOT NULL CHECK (approvers BETWEEN 1 AND 5),
    lives_seconds       integer NOT NULL CHECK (lives_seconds > 0),
    state               text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'approved', 'refused', 'used', 'withdrawn')),
    waits_until         timestamptz NOT NULL,
    usable_until        timestamptz,
    created_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at            timestamptz,
    CHECK (state NOT IN ('approved', 'used') OR usable_until IS NOT NULL),
    CHECK ((state IN ('refused', 'used', 'withdrawn')) = (ended_at IS NOT NULL))
);
CREATE INDEX approval_of_principal ON approval (principal_id, digest);
CREATE INDEX approval_age ON approval (created_at);

CREATE TABLE approval_decision (
    approval_id         uuid NOT NULL REFERENCES approval ON DELETE CASCADE,
    principal_id        uuid NOT NULL REFERENCES principal ON DELETE CASCADE,
    verdict             text NOT NULL CHECK (verdict IN ('approve', 'refuse')),
    comment             text NOT NULL DEFAULT '',
    decided_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (approval_id, principal_id)
);
CREATE INDEX approval_decision_principal ON approval_decision (principal_id);
