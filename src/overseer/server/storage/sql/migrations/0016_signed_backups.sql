-- Backups belong to the incarnation of the log that made them: an instance that was restored or copied leaves the files of the one
-- before alone, and follows no schedule until somebody says that it takes the other's place.
ALTER TABLE backup_run ADD COLUMN incarnation integer NOT NULL DEFAULT 1;
UPDATE backup_run SET incarnation = COALESCE(
    (SELECT max(i.incarnation) FROM audit_incarnation i WHERE i.at <= backup_run.asked_at), 1);

CREATE TABLE backup_resumption (
    incarnation     integer PRIMARY KEY,
    at              timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- What follows its schedules today goes on.
INSERT INTO backup_resumption (incarnation) SELECT max(incarnation) FROM audit_incarnation HAVING max(incarnation) > 1;
