-- The transparency log: a checkpoint names the key that signed it; leaf hashes and the tree above them lie in tiles.

-- Keys that sign checkpoints; a later one is introduced by a statement that the one before it has signed, too.
CREATE TABLE audit_log_key (
    term            integer PRIMARY KEY CHECK (term >= 1),
    public_key      bytea NOT NULL CHECK (octet_length(public_key) = 32),
    since_size      bigint NOT NULL CHECK (since_size >= 0),
    statement       text CHECK ((statement IS NULL) = (term = 1)),
    at              timestamptz NOT NULL DEFAULT clock_timestamp()
);

ALTER TABLE audit_checkpoint ADD COLUMN key_term integer NOT NULL REFERENCES audit_log_key ON DELETE RESTRICT;
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
