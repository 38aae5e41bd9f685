-- Imports and their undo.
SELECT 1;
