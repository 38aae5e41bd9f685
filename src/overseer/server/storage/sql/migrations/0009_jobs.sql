-- Jobs of the leader.
SELECT 1;
