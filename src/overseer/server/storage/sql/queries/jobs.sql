The leader among all workers of all replicas: a session advisory lock on a connection of its own. Nothing is stored: the lock
goes with the connection, so there is nothing to clean up after a kill.

-- name: leader_try
SELECT pg_try_advisory_lock(8102661214773306991);

-- name: leader_check
SELECT true;

-- name: leader_holder
-- Who holds the leader's lock; ours: a login that may take the servers' role. No row where nobody does.
SELECT a.pid, pg_has_role(a.usesysid, current_user, 'MEMBER') AS ours
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND a.datname = current_database()
  AND (l.classid::bigint << 32) + l.objid::bigint = 8102661214773306991
LIMIT 1;
