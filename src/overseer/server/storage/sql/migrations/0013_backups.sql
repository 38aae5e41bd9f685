-- Backups: runs and schedules.
SELECT 1;
