-- People and limits.

-- A session of somebody who has to set up a second factor first, and may do nothing else.
ALTER TABLE token ADD COLUMN enrolling boolean NOT NULL DEFAULT false;

-- The newest term of the keyring is compared with the log at each start: its few rows are found without reading the log.
CREATE INDEX audit_key_rotations ON audit (version) WHERE action = 'key:rotate' AND outcome = 'allowed';
