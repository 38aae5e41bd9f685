-- Backups: what a signed manifest needs.
SELECT 1;
