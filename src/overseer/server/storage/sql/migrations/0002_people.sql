-- People: users' credentials, sessions, invitations, external identities; tokens of CI jobs that were exchanged.

-- A session is a token that also ends when it is not used for a while: one path for revocation, networks, expiry and audit.
ALTER TABLE token
    ADD COLUMN kind text NOT NULL DEFAULT 'token' CHECK (kind IN ('token', 'session')),
    ADD COLUMN idle_seconds integer CHECK (idle_seconds > 0),
    ADD CHECK ((kind = 'session') = (idle_seconds IS NOT NULL));

-- Users are told apart without regard to case, so that nobody is taken for another; names are ASCII.
CREATE UNIQUE INDEX principal_user_name ON principal (lower(name)) WHERE kind = 'user';

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
