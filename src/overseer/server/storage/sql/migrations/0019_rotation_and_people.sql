-- Rotation and people.

-- The call that a run is making at the source, '' between calls: meanwhile nobody makes a version the active one. touched: a call was
-- begun at some time, so that the source may know the new credential. Of runs that are on their way already nobody knows.
ALTER TABLE secret_rotation_run
    ADD COLUMN at_source text NOT NULL DEFAULT '' CHECK (at_source IN ('', 'apply', 'revert', 'retire')),
    ADD COLUMN touched boolean NOT NULL DEFAULT false;
UPDATE secret_rotation_run SET touched = true WHERE finished_at IS NULL;
