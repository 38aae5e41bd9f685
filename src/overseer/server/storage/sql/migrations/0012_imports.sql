-- Imports and their undo.

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
    PRIMARY KEY (import_id, secret_id)
);
