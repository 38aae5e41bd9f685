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

-- What the leader does by itself asks again whether whoever set it up still may. policy_by is whoever set the present policy, NULL
-- whoever made the secret; no foreign key, for one who was deleted stands for nothing and must not become the maker. stopped: the
-- word why it did not go on the last time.
ALTER TABLE secret_rotation ADD COLUMN policy_by uuid, ADD COLUMN stopped text NOT NULL DEFAULT '';
ALTER TABLE secret_source ADD COLUMN stopped text NOT NULL DEFAULT '';
