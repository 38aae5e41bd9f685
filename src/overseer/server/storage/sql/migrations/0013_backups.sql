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
    CHECK ((state IN ('succeeded', 'failed')) = (finished_at IS NOT NULL))
);
CREATE INDEX backup_run_asked ON backup_run (asked_at);
-- One at a time for each target.
CREATE UNIQUE INDEX backup_run_open ON backup_run (target) WHERE state IN ('waiting', 'running');
