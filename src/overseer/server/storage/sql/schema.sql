-- The schema of Overseer as it stands after every migration. A test replays sql/migrations/ and compares the catalogue
-- with the one that this file makes. PostgreSQL >= 15 (UNIQUE NULLS NOT DISTINCT).
--
-- Rules: ids are UUIDs made by the server before the write (a ciphertext is bound to them); names compare under collation "C";
-- times are timestamptz; nothing here holds a plaintext or a key that is not wrapped.

-- Which files of sql/migrations/ were applied; written by the migrator only. A file that changed afterwards is refused.
CREATE TABLE schema_migration (
    number          integer PRIMARY KEY CHECK (number >= 1),
    name            text COLLATE "C" NOT NULL,
    checksum        text COLLATE "C" NOT NULL CHECK (length(checksum) = 64),    -- SHA-256 of the file, hexadecimal
    applied_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One row: which installation this is. The root key that opens it is checked against check_value before anything is written.
CREATE TABLE instance (
    singleton       boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    id              uuid NOT NULL,
    check_value     bytea NOT NULL,
    seal_kind       text NOT NULL,
    seal_config     bytea,                     -- what the seal stores beside its key: salt and parameters, a wrapped root key
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The keyring. Every key is wrapped by the root key; purpose 'kek' has numbered terms, the newest encrypts and all decrypt.
CREATE TABLE keyring_key (
    purpose         text COLLATE "C" NOT NULL,
    term            integer NOT NULL CHECK (term >= 1),
    wrapped         bytea NOT NULL,
    wraps_reserved  bigint NOT NULL DEFAULT 0 CHECK (wraps_reserved >= 0),   -- counted in blocks of 2^20 per process
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (purpose, term)
);

CREATE TABLE principal (
    id              uuid PRIMARY KEY,
    kind            text NOT NULL CHECK (kind IN ('user', 'service_account', 'node')),
    name            text COLLATE "C" NOT NULL,
    description     text NOT NULL DEFAULT '',
    disabled_at     timestamptz,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by      uuid,
    revision        bigint NOT NULL DEFAULT 1,                                -- counts every change; the ETag
    UNIQUE (kind, name)
);
-- Users are told apart without regard to case, so that nobody is taken for another; names are ASCII.
CREATE INDEX principal_made_by ON principal (created_by) WHERE created_by IS NOT NULL;
CREATE UNIQUE INDEX principal_user_name ON principal (lower(name)) WHERE kind = 'user';

-- A rotation of the key-encryption key: every data key goes to ``term``. ``at_…`` is how far its current pass came, so that it goes
-- on after a kill; ``unreadable`` counts what the pass (at its end: what was left) could not open. One runs at a time.
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

CREATE TABLE principal_group (
    id              uuid PRIMARY KEY,
    name            text COLLATE "C" NOT NULL UNIQUE,
    description     text NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    revision        bigint NOT NULL DEFAULT 1
);

CREATE TABLE group_member (
    principal_id    uuid NOT NULL REFERENCES principal ON DELETE CASCADE,
    group_id        uuid NOT NULL REFERENCES principal_group ON DELETE CASCADE,
    PRIMARY KEY (principal_id, group_id)
);
CREATE INDEX group_member_group ON group_member (group_id);

CREATE TABLE role (
    id              uuid PRIMARY KEY,
    name            text COLLATE "C" NOT NULL UNIQUE,
    permissions     bigint NOT NULL CHECK (permissions >= 0),
    built_in        boolean NOT NULL DEFAULT false,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    description     text NOT NULL DEFAULT '',
    revision        bigint NOT NULL DEFAULT 1,
    changed_by      uuid,                                                     -- who changed what it gives, the last time
    changed_at      timestamptz
);

-- The three parts of a scope. Environments and nodes are shared by all apps.
CREATE TABLE app (
    id              uuid PRIMARY KEY,
    name            text COLLATE "C" NOT NULL UNIQUE,
    description     text NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    revision        bigint NOT NULL DEFAULT 1                                 -- counts every change; the ETag
);

CREATE TABLE environment (
    id              uuid PRIMARY KEY,
    name            text COLLATE "C" NOT NULL UNIQUE,
    description     text NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    revision        bigint NOT NULL DEFAULT 1                                 -- counts every change; the ETag
);

-- A node is also a principal of kind 'node', made at enrolment. Its private keys never leave it.
CREATE TABLE node (
    id              uuid PRIMARY KEY,
    name            text COLLATE "C" NOT NULL UNIQUE,
    description     text NOT NULL DEFAULT '',
    labels          jsonb NOT NULL DEFAULT '{}',
    state           text NOT NULL DEFAULT 'expected' CHECK (state IN ('expected', 'active', 'revoked')),
    drained_at      timestamptz,                                              -- from here on nobody deploys to it
    principal_id    uuid UNIQUE REFERENCES principal ON DELETE RESTRICT,
    agent_version   text NOT NULL DEFAULT '',
    last_seen_at    timestamptz,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    revision        bigint NOT NULL DEFAULT 1                                 -- counts every change by people; the ETag
);

CREATE TABLE node_key (
    id              uuid PRIMARY KEY,
    node_id         uuid NOT NULL REFERENCES node ON DELETE CASCADE,
    encryption_key  bytea NOT NULL CHECK (length(encryption_key) = 32),      -- X25519, for HPKE
    signing_key     bytea NOT NULL CHECK (length(signing_key) = 32),         -- Ed25519
    challenge       bytea,                                                   -- SHA-256 of an outstanding proof of possession
    confirmed_at    timestamptz,
    retired_at      timestamptz,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX node_key_node ON node_key (node_id);

CREATE TABLE enrolment_token (
    id              uuid PRIMARY KEY,
    hash            bytea NOT NULL UNIQUE CHECK (length(hash) = 32),
    node_id         uuid NOT NULL REFERENCES node ON DELETE CASCADE,
    expires_at      timestamptz NOT NULL,
    used_at         timestamptz,
    used_by_key     uuid REFERENCES node_key ON DELETE SET NULL,              -- the same keys may retry, others may not
    created_by      uuid REFERENCES principal ON DELETE SET NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- RFC 7523 assertions are used once: the row lives until the assertion has expired.
CREATE TABLE node_assertion (
    node_id         uuid NOT NULL REFERENCES node ON DELETE CASCADE,
    jti             text COLLATE "C" NOT NULL,
    expires_at      timestamptz NOT NULL,
    PRIMARY KEY (node_id, jti)
);

-- A role (its bits copied, in the transaction that writes the binding or the role) given to a principal or a group. No foreign
-- key on subject_id: bindings go with their principal or group in the same transaction.
CREATE TABLE binding (
    id                  uuid PRIMARY KEY,
    subject_id          uuid NOT NULL,
    subject_kind        text NOT NULL CHECK (subject_kind IN ('principal', 'group')),
    role_id             uuid NOT NULL REFERENCES role ON DELETE RESTRICT,
    permissions         bigint NOT NULL CHECK (permissions >= 0),
    app_match           text NOT NULL CHECK (app_match IN ('any', 'unset', 'is')),
    app_id              uuid REFERENCES app ON DELETE RESTRICT,
    environment_match   text NOT NULL CHECK (environment_match IN ('any', 'unset', 'is')),
    environment_id      uuid REFERENCES environment ON DELETE RESTRICT,
    node_match          text NOT NULL CHECK (node_match IN ('any', 'unset', 'is')),
    node_id             uuid REFERENCES node ON DELETE RESTRICT,
    name                text COLLATE "C" NOT NULL,
    name_is_prefix      boolean NOT NULL,
    expires_at          timestamptz,
    created_by          uuid,
    created_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    active_seconds      integer,                                         -- of an emergency binding: how long it lives once activated,
    available_until     timestamptz,                                     -- and until when it can be; before, expires_at is in the past
    CONSTRAINT binding_emergency CHECK (CASE WHEN active_seconds IS NULL THEN available_until IS NULL
                                             ELSE active_seconds > 0 AND expires_at IS NOT NULL END),
    CHECK ((app_match = 'is') = (app_id IS NOT NULL)),
    CHECK ((environment_match = 'is') = (environment_id IS NOT NULL)),
    CHECK ((node_match = 'is') = (node_id IS NOT NULL))
);
CREATE INDEX binding_subject ON binding (subject_id);
CREATE INDEX binding_role ON binding (role_id);

CREATE TABLE token (
    hash            bytea PRIMARY KEY CHECK (length(hash) = 32),              -- SHA-256 of 256 random bits: no salt needed
    id              uuid NOT NULL UNIQUE,
    principal_id    uuid NOT NULL REFERENCES principal ON DELETE CASCADE,
    description     text NOT NULL DEFAULT '',
    expires_at      timestamptz NOT NULL,
    networks        cidr[] CHECK (networks IS NULL OR cardinality(networks) > 0),
    revoked_at      timestamptz,
    last_used_at    timestamptz,
    created_by      uuid,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind            text NOT NULL DEFAULT 'token' CHECK (kind IN ('token', 'session')),
    idle_seconds    integer CHECK (idle_seconds > 0),                         -- a session ends when it is not used for so long
    enrolling       boolean NOT NULL DEFAULT false,                           -- it may set up a second factor, and nothing else
    CHECK ((kind = 'session') = (idle_seconds IS NOT NULL))
);
CREATE INDEX token_made_by ON token (created_by) WHERE created_by IS NOT NULL;
CREATE INDEX token_principal ON token (principal_id);

-- What a user signs in with here; none for those whom an identity provider signs in.
CREATE TABLE user_password (
    principal_id    uuid PRIMARY KEY REFERENCES principal ON DELETE CASCADE,
    phc             text COLLATE "C" NOT NULL,                                -- Argon2id with its parameters
    changed_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The secret of an authenticator, enveloped; in force from confirmed_at on. A code works once: its step is above last_step.
CREATE TABLE user_totp (
    principal_id    uuid PRIMARY KEY REFERENCES principal ON DELETE CASCADE,
    id              uuid NOT NULL UNIQUE,                                     -- bound into the AAD, made before the write
    format          smallint NOT NULL,
    kek_term        integer NOT NULL,
    wrapped_dek     bytea NOT NULL,
    ciphertext      bytea NOT NULL,
    last_step       bigint NOT NULL DEFAULT 0,
    confirmed_at    timestamptz,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX user_totp_term ON user_totp (kek_term, id);

CREATE TABLE recovery_code (
    principal_id    uuid NOT NULL REFERENCES principal ON DELETE CASCADE,
    hash            bytea NOT NULL CHECK (length(hash) = 32),                 -- SHA-256 of 120 random bits
    used_at         timestamptz,
    PRIMARY KEY (principal_id, hash)
);

-- Sets a password once: for a new user, or after a reset.
CREATE TABLE invitation (
    hash            bytea PRIMARY KEY CHECK (length(hash) = 32),
    id              uuid NOT NULL UNIQUE,
    principal_id    uuid NOT NULL REFERENCES principal ON DELETE CASCADE,
    expires_at      timestamptz NOT NULL,
    created_by      uuid REFERENCES principal ON DELETE SET NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX invitation_principal ON invitation (principal_id);

-- Failed sign-ins of a name (an HMAC: people type passwords where names belong) from one peer, and from all of them (peer '').
CREATE TABLE sign_in_try (
    name_key        bytea NOT NULL CHECK (length(name_key) = 32),
    peer            text COLLATE "C" NOT NULL,
    failures        integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    failed_at       timestamptz,
    blocked_until   timestamptz,
    good_at         timestamptz,                                              -- the last sign-in that succeeded from there
    PRIMARY KEY (name_key, peer)
);

-- Who an identity provider's subject is here. Never found by e-mail.
CREATE TABLE external_identity (
    issuer          text COLLATE "C" NOT NULL,
    subject         text COLLATE "C" NOT NULL,
    principal_id    uuid NOT NULL REFERENCES principal ON DELETE CASCADE,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_used_at    timestamptz,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX external_identity_principal ON external_identity (principal_id);

-- What works once and was used, on whichever replica: sign-ins that came back from a provider, identity tokens of CI jobs.
CREATE TABLE spent_credential (
    hash            bytea PRIMARY KEY CHECK (length(hash) = 32),
    expires_at      timestamptz NOT NULL
);

-- A scope that something lives at. RESTRICT everywhere: a SET NULL would make an app's secrets global.
CREATE TABLE scope (
    id              uuid PRIMARY KEY,
    app_id          uuid REFERENCES app ON DELETE RESTRICT,
    environment_id  uuid REFERENCES environment ON DELETE RESTRICT,
    node_id         uuid REFERENCES node ON DELETE RESTRICT,
    UNIQUE NULLS NOT DISTINCT (app_id, environment_id, node_id)
);

CREATE TABLE secret (
    id              uuid PRIMARY KEY,
    scope_id        uuid NOT NULL REFERENCES scope ON DELETE RESTRICT,
    name            text COLLATE "C" NOT NULL,
    latest_version  integer NOT NULL CHECK (latest_version >= 1),
    active_version  integer NOT NULL CHECK (active_version >= 1),
    revision        bigint NOT NULL DEFAULT 1,                                -- counts every change; the ETag
    description     text NOT NULL DEFAULT '',
    labels          jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(labels) = 'object'),
    owner           text NOT NULL DEFAULT '',
    expires_at      timestamptz,
    generator       text,                                                     -- the spec it was generated with
    rotation        jsonb,                                                    -- the rotation policy
    source          jsonb,                                                    -- {backend, ref, field} where it comes from a backend
    is_template     boolean NOT NULL DEFAULT false,
    created_by      uuid REFERENCES principal ON DELETE SET NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (name, scope_id)
);
CREATE INDEX secret_scope ON secret (scope_id);

-- Immutable but for its wrap: key rotation replaces kek_term and wrapped_dek, never id and ciphertext.
CREATE TABLE secret_version (
    secret_id       uuid NOT NULL REFERENCES secret ON DELETE CASCADE,
    version         integer NOT NULL CHECK (version >= 1),
    id              uuid NOT NULL UNIQUE,                                     -- bound into the AAD, made before the write
    format          smallint NOT NULL,
    kek_term        integer NOT NULL,
    wrapped_dek     bytea NOT NULL,
    ciphertext      bytea NOT NULL,
    readable_until  timestamptz,                                              -- grace period of a rotated version
    created_by      uuid REFERENCES principal ON DELETE SET NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    creator         text,                                                     -- who made it on the instance that it came from
    PRIMARY KEY (secret_id, version)
);
ALTER TABLE secret ADD CONSTRAINT secret_active_version FOREIGN KEY (id, active_version)
    REFERENCES secret_version (secret_id, version) DEFERRABLE INITIALLY DEFERRED;
CREATE INDEX secret_version_term ON secret_version (kek_term, id);

-- Backends: where they are, and what secrets are taken from. What was taken lies in secret_version.
CREATE TABLE backend (
    id              uuid PRIMARY KEY,
    name            text COLLATE "C" NOT NULL UNIQUE,
    kind            text NOT NULL,
    description     text NOT NULL DEFAULT '',
    settings        jsonb NOT NULL CHECK (jsonb_typeof(settings) = 'object'),
    ttl             integer NOT NULL CHECK (ttl >= 0),                            -- seconds
    stale_if_error  integer NOT NULL CHECK (stale_if_error >= 0),
    max_age         integer NOT NULL CHECK (max_age >= 0),
    timeout         integer NOT NULL CHECK (timeout > 0),
    credential_id   uuid NOT NULL,                                                -- bound into the AAD with kind and settings, made anew for each write
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
    fetched_at      timestamptz NOT NULL,                                         -- the last try that went well
    tried_at        timestamptz NOT NULL,
    failure         text NOT NULL DEFAULT '',                                     -- the stage of the last try, '' where it went well
    created_by      uuid REFERENCES principal ON DELETE SET NULL,
    stopped         text NOT NULL DEFAULT ''                                      -- why it is not kept up to date any more
);
CREATE INDEX secret_source_backend ON secret_source (backend_id);
CREATE INDEX secret_source_due ON secret_source (tried_at) WHERE mode = 'sync';

-- A set of Compose files of an app. People's env_files hold plaintext, so contents are enveloped; the address is an HMAC.
CREATE TABLE bundle (
    id              uuid PRIMARY KEY,
    app_id          uuid NOT NULL REFERENCES app ON DELETE RESTRICT,
    digest          text COLLATE "C" NOT NULL,
    format          smallint NOT NULL,
    kek_term        integer NOT NULL,
    wrapped_dek     bytea NOT NULL,
    ciphertext      bytea NOT NULL,
    size            integer NOT NULL,
    created_by      uuid REFERENCES principal ON DELETE SET NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (app_id, digest)
);
CREATE INDEX bundle_term ON bundle (kek_term, id);

-- Deployments that were ordered together for several nodes: ``parallel`` of them at a time, none after a failure.
CREATE TABLE deployment_group (
    id              uuid PRIMARY KEY,
    parallel        integer NOT NULL CHECK (parallel >= 1),
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE deployment (
    id              uuid PRIMARY KEY,
    app_id          uuid NOT NULL REFERENCES app ON DELETE RESTRICT,
    environment_id  uuid REFERENCES environment ON DELETE RESTRICT,
    node_id         uuid NOT NULL REFERENCES node ON DELETE RESTRICT,
    action          text NOT NULL CHECK (action IN ('deploy', 'undeploy')),
    bundle_id       uuid REFERENCES bundle ON DELETE RESTRICT,
    group_id        uuid REFERENCES deployment_group ON DELETE RESTRICT,
    group_position  integer CHECK (group_position >= 0),                      -- its turn, counted from 0
    project         text COLLATE "C" NOT NULL,
    options         jsonb NOT NULL DEFAULT '{}',
    state           text NOT NULL DEFAULT 'queued'
                    CHECK (state IN ('queued', 'released', 'applying', 'succeeded', 'failed', 'superseded')),
    lease_until     timestamptz,                                              -- an agent that went silent loses the work
    attempts        integer NOT NULL DEFAULT 0,
    output          text NOT NULL DEFAULT '',                                 -- redacted by the agent, cut to 64 KiB
    error           text NOT NULL DEFAULT '',
    services        jsonb NOT NULL DEFAULT '[]',                              -- what ran at its end, as the agent saw it
    held_services   jsonb,                                                    -- what runs, as the agent saw it at its last check
    checked_at      timestamptz,                                              -- when the agent last said what containers hold
    created_by      uuid REFERENCES principal ON DELETE SET NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    released_at     timestamptz,
    finished_at     timestamptz,
    CHECK ((action = 'deploy') = (bundle_id IS NOT NULL)),
    UNIQUE (group_id, group_position)
);
CREATE INDEX deployment_queue ON deployment (node_id, created_at) WHERE state IN ('queued', 'released', 'applying');
CREATE INDEX deployment_history ON deployment (app_id, created_at);
CREATE INDEX deployment_place ON deployment (node_id, project, finished_at, id);
CREATE INDEX deployment_rollout ON deployment ((options ->> 'rollout')) WHERE options ->> 'rollout' IS NOT NULL;

-- What runs on a node: the newest succeeded deployment of a project that no later succeeded undeployment follows.
CREATE VIEW current_deployment AS
SELECT d.id, d.node_id, d.project FROM deployment d
WHERE d.state = 'succeeded' AND d.action = 'deploy'
  AND NOT EXISTS (SELECT FROM deployment o WHERE o.node_id = d.node_id AND o.project = d.project AND o.state = 'succeeded'
                  AND (o.finished_at, o.id) > (d.finished_at, d.id));

-- What plans said, by their digest, so that a deployment that was pinned to one can tell what changed since. Never a value.
CREATE TABLE plan (
    digest          text COLLATE "C" PRIMARY KEY CHECK (length(digest) = 64), -- SHA-256 of the content
    content         jsonb NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX plan_age ON plan (created_at);

-- Which version of which secret a deployment uses, decided when it was made.
CREATE TABLE deployment_secret (
    deployment_id   uuid NOT NULL REFERENCES deployment ON DELETE CASCADE,
    reference       text COLLATE "C" NOT NULL,                                -- name, @version and #field as written
    secret_id       uuid NOT NULL,                                            -- no foreign key: history outlives the secret
    secret_name     text COLLATE "C" NOT NULL,
    version         integer NOT NULL,
    field           text COLLATE "C" NOT NULL DEFAULT '',
    kinds           text[] NOT NULL DEFAULT '{}',                             -- inline, external, file
    services        text[] NOT NULL DEFAULT '{}',
    persists        boolean NOT NULL DEFAULT false,
    matches         boolean,                                                  -- the fingerprint the node saw: NULL not reported
    checked_at      timestamptz,                                              -- when it saw that
    PRIMARY KEY (deployment_id, reference)
);
CREATE INDEX deployment_secret_secret ON deployment_secret (secret_id);

-- A new version on its way to running containers; resolution consults it before the active version flips.
CREATE TABLE rollout (
    id                uuid PRIMARY KEY,
    secret_id         uuid NOT NULL REFERENCES secret ON DELETE CASCADE,
    previous_version  integer NOT NULL,
    candidate_version integer NOT NULL,
    state             text NOT NULL CHECK (state IN ('running', 'succeeded', 'withdrawn')),
    error             text NOT NULL DEFAULT '',                               -- why it was withdrawn
    created_by        uuid REFERENCES principal ON DELETE SET NULL,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at       timestamptz
);
CREATE UNIQUE INDEX rollout_one_at_a_time ON rollout (secret_id) WHERE state = 'running';

CREATE TABLE rollout_node (
    rollout_id      uuid NOT NULL REFERENCES rollout ON DELETE CASCADE,
    node_id         uuid NOT NULL REFERENCES node ON DELETE RESTRICT,
    state           text NOT NULL CHECK (state IN ('waiting', 'candidate', 'acknowledged', 'unhealthy', 'withdrawn')),
    started_at      timestamptz,                                              -- when it was given the candidate
    acknowledged_at timestamptz,
    PRIMARY KEY (rollout_id, node_id)
);

-- An idempotency key remembers what was asked (HMAC of the body) and which resource came of it, never an answer.
CREATE TABLE idempotency_key (
    principal_id    uuid NOT NULL REFERENCES principal ON DELETE CASCADE,
    route           text COLLATE "C" NOT NULL,
    key             text COLLATE "C" NOT NULL,
    body_hmac       bytea NOT NULL CHECK (length(body_hmac) = 32),
    status          smallint NOT NULL,
    resource_id     uuid NOT NULL,
    version         integer,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (principal_id, route, key)
);
CREATE INDEX idempotency_key_age ON idempotency_key (created_at);

-- The secrets that a batch changed, in the order of its operations, for as long as its idempotency key is remembered.
CREATE TABLE secret_batch (
    id              uuid PRIMARY KEY,
    secret_ids      uuid[] NOT NULL,                                          -- no foreign keys: a batch may delete secrets
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX secret_batch_age ON secret_batch (created_at);

-- The audit log. A row is never changed; the service role may insert the data columns only.
CREATE TABLE audit_incarnation (
    incarnation       integer PRIMARY KEY,
    system_identifier text NOT NULL,
    database_oid      oid NOT NULL,
    table_oid         oid NOT NULL,
    timeline          integer NOT NULL,
    first_xact        xid8 NOT NULL,
    at                timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE audit (
    incarnation     integer NOT NULL DEFAULT 1,
    xact            xid8 NOT NULL DEFAULT pg_current_xact_id(),
    id              bigint GENERATED ALWAYS AS IDENTITY,
    at              timestamptz NOT NULL DEFAULT clock_timestamp(),
    request_id      text COLLATE "C" NOT NULL,
    actor_id        uuid,
    actor_name      text COLLATE "C" NOT NULL DEFAULT '',
    actor_kind      text COLLATE "C" NOT NULL DEFAULT '',
    on_behalf_of    uuid,
    token_id        uuid,
    action          text COLLATE "C" NOT NULL,
    outcome         text COLLATE "C" NOT NULL CHECK (outcome IN ('allowed', 'denied', 'failed')),
    code            text COLLATE "C" NOT NULL DEFAULT '',
    resource_kind   text COLLATE "C" NOT NULL DEFAULT '',
    resource_id     uuid,
    resource_name   text COLLATE "C" NOT NULL DEFAULT '',
    app             text COLLATE "C",
    environment     text COLLATE "C",
    node            text COLLATE "C",
    version         integer,
    peer            text COLLATE "C" NOT NULL DEFAULT '',
    client          text COLLATE "C" NOT NULL DEFAULT '',
    repeats         integer NOT NULL DEFAULT 1,                               -- aggregated unauthenticated denials
    text_id         uuid,
    text_commitment bytea,
    PRIMARY KEY (incarnation, xact, id)
);

-- Free text that can be erased without touching the log: the row keeps SHA-256(salt || text).
CREATE TABLE audit_text (
    id              uuid PRIMARY KEY,
    salt            bytea NOT NULL,
    reason          text NOT NULL DEFAULT '',
    user_agent      text NOT NULL DEFAULT ''
);

-- Keys that sign checkpoints; a later one is introduced by a statement that the one before it has signed, too.
CREATE TABLE audit_log_key (
    term            integer PRIMARY KEY CHECK (term >= 1),
    public_key      bytea NOT NULL CHECK (octet_length(public_key) = 32),
    since_size      bigint NOT NULL CHECK (since_size >= 0),
    statement       text CHECK ((statement IS NULL) = (term = 1)),
    at              timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Signed checkpoints of the transparency log; seq as primary key is the fence against two sealers.
CREATE TABLE audit_checkpoint (
    seq             bigint PRIMARY KEY,
    size            bigint NOT NULL UNIQUE,
    root            bytea NOT NULL,
    frontier        bytea NOT NULL,
    incarnation     integer NOT NULL,
    horizon         xid8 NOT NULL,
    timeline        integer NOT NULL,
    at              timestamptz NOT NULL,
    signature       bytea NOT NULL,
    key_term        integer NOT NULL REFERENCES audit_log_key ON DELETE RESTRICT,
    ceiling         xid8 NOT NULL DEFAULT pg_snapshot_xmax(pg_current_snapshot()) -- rows before it have lower transaction ids
);
CREATE INDEX audit_checkpoint_at ON audit_checkpoint (at);
CREATE UNIQUE INDEX audit_checkpoint_horizon ON audit_checkpoint (incarnation, horizon);

-- Pieces of tiles, written once: hashes first, first + 1, … of the tile. What is double in them cannot be inserted.
CREATE TABLE audit_tile (
    level           smallint NOT NULL CHECK (level >= 0),
    number          bigint NOT NULL CHECK (number >= 0),
    first           smallint NOT NULL CHECK (first BETWEEN 0 AND 255),
    hashes          bytea NOT NULL CHECK (octet_length(hashes) BETWEEN 32 AND (256 - first) * 32 AND octet_length(hashes) % 32 = 0),
    PRIMARY KEY (level, number, first)
);

-- Rows before size were removed on purpose: a statement signed by the log's key.
CREATE TABLE audit_retention (
    size            bigint PRIMARY KEY CHECK (size >= 1),
    statement       text NOT NULL,
    at              timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- How far the server's own check of sealed rows has come, and what it found; one row.
CREATE TABLE audit_self_check (
    singleton       boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    next_index      bigint NOT NULL DEFAULT 0,
    started_at      timestamptz NOT NULL,
    finished_at     timestamptz,
    checked_size    bigint NOT NULL DEFAULT 0,
    problems        text[] NOT NULL DEFAULT '{}',
    found           text[] NOT NULL DEFAULT '{}'
);

-- The rows with free text, by whose they are: few, for a reveal by a client of ours has none.
CREATE INDEX audit_with_text ON audit (actor_id) WHERE text_id IS NOT NULL;
CREATE INDEX audit_key_rotations ON audit (version) WHERE action = 'key:rotate' AND outcome = 'allowed';

-- How far a reader of the log has come (a sink, the summary below): the key of the last row that it is done with.
CREATE TABLE audit_reader (
    name            text COLLATE "C" PRIMARY KEY,
    incarnation     integer NOT NULL,
    xact            xid8 NOT NULL,
    id              bigint NOT NULL,
    checkpoint_size bigint NOT NULL DEFAULT 0,
    checkpoint_at   timestamptz,
    alarmed_at      timestamptz
);

-- What each principal was shown or wrote, from the rows of the log as far as the reader 'seen' has come; it outlives them.
CREATE TABLE audit_seen (
    actor_id        uuid NOT NULL,
    secret_id       uuid NOT NULL,
    version         integer NOT NULL,
    action          text COLLATE "C" NOT NULL,
    at              timestamptz NOT NULL,
    PRIMARY KEY (actor_id, secret_id, version, action)
);

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
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    policy_by       uuid,                                                     -- who set the present policy; NULL: whoever made the secret
    stopped         text NOT NULL DEFAULT ''                                  -- why it did not go on the last time
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
    finished_at       timestamptz,
    -- The call that the run is making at the source, '' between calls: meanwhile nobody makes a version the active one. touched: a
    -- call was begun at some time, so that the source may know the new credential.
    at_source         text NOT NULL DEFAULT '' CHECK (at_source IN ('', 'apply', 'revert', 'retire')),
    touched           boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX secret_rotation_run_open ON secret_rotation_run (secret_id) WHERE finished_at IS NULL;
CREATE INDEX secret_rotation_run_next ON secret_rotation_run (next_at) WHERE finished_at IS NULL;
CREATE INDEX secret_rotation_run_history ON secret_rotation_run (secret_id, id);

-- Rows leave the log by one way only: the function below, which acts as the owner of the table and takes the oldest rows up to a
-- checkpoint for which a statement is stored, none younger than 30 days.
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('overseer.audit_forget', true) = 'on'
       AND pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE') THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();

CREATE FUNCTION audit_forget(up_to bigint) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    edge record;
    removed bigint;
BEGIN
    SELECT c.incarnation, c.horizon INTO edge FROM public.audit_checkpoint c JOIN public.audit_retention r USING (size)
    WHERE c.size = up_to AND c.size = (SELECT max(size) FROM public.audit_retention);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no statement says that these rows may go' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF EXISTS (SELECT FROM public.audit a WHERE (a.incarnation, a.xact) < (edge.incarnation, edge.horizon)
               AND a.at > clock_timestamp() - interval '30 days') THEN
        RAISE EXCEPTION 'rows of the last 30 days stay' USING ERRCODE = 'insufficient_privilege';
    END IF;
    DELETE FROM public.audit_text t USING public.audit a
    WHERE t.id = a.text_id AND (a.incarnation, a.xact) < (edge.incarnation, edge.horizon);
    -- Not in the function's head: only a superuser may write a setting there that PostgreSQL does not know.
    PERFORM set_config('overseer.audit_forget', 'on', true);
    DELETE FROM public.audit a WHERE (a.incarnation, a.xact) < (edge.incarnation, edge.horizon);
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM set_config('overseer.audit_forget', 'off', true);
    RETURN removed;
END $$;
REVOKE ALL ON FUNCTION audit_forget(bigint) FROM PUBLIC;

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
    -- How many days before a request its maker may not have had their hands on who approves it.
    distance_days       smallint NOT NULL DEFAULT 0 CHECK (distance_days BETWEEN 0 AND 365),
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
    distance_days       smallint NOT NULL DEFAULT 0 CHECK (distance_days BETWEEN 0 AND 365),
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

-- Who has had their hands on an account or on what it may do: made it, opened a way to sign in as it, put it into a group. No foreign
-- keys: whoever is deleted has done it all the same. Rows older than a policy can look back are dropped.
CREATE TABLE account_hand (
    principal_id    uuid NOT NULL,
    hand_id         uuid NOT NULL,
    act             text NOT NULL CHECK (act IN ('made', 'reset', 'linked', 'grouped', 'held')),
    group_id        uuid,
    at              timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((act = 'grouped') = (group_id IS NOT NULL))
);
CREATE INDEX account_hand_of ON account_hand (hand_id, at);
CREATE INDEX account_hand_on ON account_hand (principal_id);
CREATE INDEX account_hand_age ON account_hand (at);

-- Backups: what was made, by whom it was asked for, and what became of it. A waiting row is work for the leader.
CREATE TABLE backup_run (
    id              uuid PRIMARY KEY,
    target          text COLLATE "C" NOT NULL,                                -- of the configuration; '' for a file on the server's machine
    reason          text NOT NULL CHECK (reason IN ('asked', 'schedule', 'local')),
    state           text NOT NULL CHECK (state IN ('waiting', 'running', 'succeeded', 'failed')),
    file            text NOT NULL DEFAULT '',
    size            bigint,                                                   -- bytes of the file
    rows            bigint,                                                   -- of all tables
    log_size        bigint,                                                   -- audit rows that were sealed when it was made
    error           text NOT NULL DEFAULT '',                                 -- the code of what went wrong
    asked_by        uuid REFERENCES principal ON DELETE SET NULL,
    asked_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at      timestamptz,
    finished_at     timestamptz,
    removed_at      timestamptz,                                              -- its file went as the target's retention says
    incarnation     integer NOT NULL DEFAULT 1,                               -- of the log that made it: no other removes its file
    CHECK ((state IN ('succeeded', 'failed')) = (finished_at IS NOT NULL))
);
CREATE INDEX backup_run_asked ON backup_run (asked_at);
-- One at a time for each target.
CREATE UNIQUE INDEX backup_run_open ON backup_run (target) WHERE state IN ('waiting', 'running');

-- Incarnations that follow the schedules of backups: the first does; a restored or copied instance when somebody has said so.
CREATE TABLE backup_resumption (
    incarnation     integer PRIMARY KEY,
    at              timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What one import made: names and versions, never a value. No foreign keys into the store: what was imported may be deleted or
-- moved, and the record says so by comparing. app, environment and node are the scope's names at that time.
CREATE TABLE secret_import (
    id                  uuid PRIMARY KEY,
    origin              text NOT NULL,
    app_id              uuid,
    environment_id      uuid,
    node_id             uuid,
    app                 text COLLATE "C",
    environment         text COLLATE "C",
    node                text COLLATE "C",
    created_by          uuid REFERENCES principal ON DELETE SET NULL,
    created_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    undone_at           timestamptz
);

-- former_version: the active one before; NULL: the import made the secret. revision: the secret's own, right after the import.
CREATE TABLE secret_import_item (
    import_id           uuid NOT NULL REFERENCES secret_import ON DELETE CASCADE,
    secret_id           uuid NOT NULL,
    name                text COLLATE "C" NOT NULL,
    version             integer NOT NULL,
    former_version      integer,
    revision            bigint NOT NULL,
    -- When the secret that the import made is deleted by itself; NULL: never (or it was, already).
    erase_at            timestamptz,
    PRIMARY KEY (import_id, secret_id)
);
CREATE INDEX secret_import_item_erase ON secret_import_item (erase_at) WHERE erase_at IS NOT NULL;
