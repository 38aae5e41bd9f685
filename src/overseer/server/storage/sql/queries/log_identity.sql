-- Which physical log this is: a restored or copied cluster has another identity, and its transaction ids do not continue ours.

-- name: log_identity
-- Also what the session was really set to: a pooler in between may have dropped the settings of the start-up packet.
SELECT control.system_identifier::text AS system_identifier,
       (SELECT oid FROM pg_database WHERE datname = current_database())::bigint AS database_oid,
       to_regclass('audit')::oid::bigint AS table_oid,
       recorded.incarnation,
       recorded.system_identifier AS recorded_system_identifier,
       recorded.database_oid::bigint AS recorded_database_oid,
       recorded.table_oid::bigint AS recorded_table_oid,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('idle_in_transaction_session_timeout') AS idle_limit,
       current_user::text AS role
FROM pg_control_system() AS control
LEFT JOIN (SELECT * FROM audit_incarnation ORDER BY incarnation DESC LIMIT 1) AS recorded ON true;

-- name: log_is_empty
SELECT NOT EXISTS (SELECT FROM audit);

-- name: incarnation_begin
-- Under a lock on the log, so that no row of the old incarnation is committed after the new one began.
LOCK TABLE audit IN ACCESS EXCLUSIVE MODE;
INSERT INTO audit_incarnation (incarnation, system_identifier, database_oid, table_oid, timeline, first_xact)
SELECT COALESCE((SELECT max(incarnation) FROM audit_incarnation), 0) + 1,
       control.system_identifier::text,
       (SELECT oid FROM pg_database WHERE datname = current_database()),
       'audit'::regclass::oid,
       point.timeline_id,
       pg_current_xact_id()
FROM pg_control_system() AS control, pg_control_checkpoint() AS point;
DO $$
BEGIN
    EXECUTE format('ALTER TABLE audit ALTER COLUMN incarnation SET DEFAULT %s', (SELECT max(incarnation) FROM audit_incarnation));
END $$;
