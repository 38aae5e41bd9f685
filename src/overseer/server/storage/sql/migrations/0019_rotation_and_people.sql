-- Rotation and people.

-- The call that a run is making at the source, '' between calls: meanwhile nobody makes a version the active one. touched: a call was
-- begun at some time, so that the source may know the new credential. Of runs that are on their way already nobody knows.
ALTER TABLE secret_rotation_run
    ADD COLUMN at_source text NOT NULL DEFAULT '' CHECK (at_source IN ('', 'apply', 'revert', 'retire')),
    ADD COLUMN touched boolean NOT NULL DEFAULT false;
UPDATE secret_rotation_run SET touched = true WHERE finished_at IS NULL;

-- How many days before a request its maker may not have had their hands on who approves it; a request keeps the number that it was
-- made with.
ALTER TABLE approval_policy ADD COLUMN distance_days smallint NOT NULL DEFAULT 0 CHECK (distance_days BETWEEN 0 AND 365);
ALTER TABLE approval ADD COLUMN distance_days smallint NOT NULL DEFAULT 0 CHECK (distance_days BETWEEN 0 AND 365);

-- Who changed what a role gives, the last time.
ALTER TABLE role ADD COLUMN changed_by uuid, ADD COLUMN changed_at timestamptz;

-- Who made a principal, a token or a binding stays written when they are deleted: they have done it all the same.
ALTER TABLE principal DROP CONSTRAINT principal_created_by_fkey;
ALTER TABLE token DROP CONSTRAINT token_created_by_fkey;
ALTER TABLE binding DROP CONSTRAINT binding_created_by_fkey;
CREATE INDEX principal_made_by ON principal (created_by) WHERE created_by IS NOT NULL;
CREATE INDEX token_made_by ON token (created_by) WHERE created_by IS NOT NULL;

-- Who has had their hands on an account or on what it may do: made it, opened a way to sign in as it, put it into a group; held: could
-- act as a machine, until it was deleted. No foreign keys, for the same reason. Rows older than a policy can look back are dropped.
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
INSERT INTO account_hand (principal_id, hand_id, act, at)
SELECT id, created_by, 'made', created_at FROM principal WHERE created_by IS NOT NULL AND kind <> 'node';
