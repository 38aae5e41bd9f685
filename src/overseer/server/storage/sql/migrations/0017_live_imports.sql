-- Imports from living stores.
SELECT 1;
