-- The transparency log: tiles, signing keys, checkpoints.
SELECT 1;
