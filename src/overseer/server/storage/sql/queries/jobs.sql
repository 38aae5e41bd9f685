The leader among all workers of all replicas: a session advisory lock on a connection of its own. Nothing is stored: the lock
goes with the connection, so there is nothing to clean up after a kill.

-- name: leader_try
SELECT pg_try_advisory_lock(8102661214773306991);

-- name: leader_check
SELECT true;
