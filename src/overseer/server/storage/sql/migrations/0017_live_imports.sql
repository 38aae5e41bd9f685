-- Imports from living stores, and what an import makes for a time only.

-- When the secret that the import made is deleted by itself; NULL: never (or it was, already).
ALTER TABLE secret_import_item ADD COLUMN erase_at timestamptz;
CREATE INDEX secret_import_item_erase ON secret_import_item (erase_at) WHERE erase_at IS NOT NULL;
