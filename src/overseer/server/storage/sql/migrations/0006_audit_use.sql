-- Using the audit log: indexes, retention, sinks.
SELECT 1;
