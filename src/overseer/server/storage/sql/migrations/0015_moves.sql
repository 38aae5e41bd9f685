-- Moving apps between instances: who made a version there, as text; NULL for a version that was made here.
ALTER TABLE secret_version ADD COLUMN creator text;
