-- Access: groups and roles that change (revision is the ETag), and bindings for an emergency.

ALTER TABLE principal ADD COLUMN revision bigint NOT NULL DEFAULT 1;
ALTER TABLE principal_group ADD COLUMN revision bigint NOT NULL DEFAULT 1;
ALTER TABLE role ADD COLUMN description text NOT NULL DEFAULT '', ADD COLUMN revision bigint NOT NULL DEFAULT 1;

-- An emergency binding is one that has expired until its holder activates it: whatever decides looks at expires_at alone, so
-- nothing that decides can forget to ask whether it is active.
ALTER TABLE binding
    ADD COLUMN active_seconds integer,
    ADD COLUMN available_until timestamptz,
    ADD CONSTRAINT binding_emergency CHECK (CASE WHEN active_seconds IS NULL THEN available_until IS NULL
                                                 ELSE active_seconds > 0 AND expires_at IS NOT NULL END);
CREATE INDEX binding_role ON binding (role_id);
