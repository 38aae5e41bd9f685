-- The role that the server works under. It owns nothing, makes nothing, and can only append to the audit log.
-- Roles belong to the whole cluster, so another database may make or grant it at the same moment: the migrator tries again then.

-- name: service_role_create
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'overseer_service') THEN
        CREATE ROLE overseer_service NOLOGIN;
    END IF;
END $$;

-- name: service_role_join
GRANT overseer_service TO CURRENT_USER;

-- name: service_role_exists
SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'overseer_service');

-- name: service_role_enter
SET ROLE overseer_service;

-- name: service_role_enter_locally
SET LOCAL ROLE overseer_service;

-- name: service_role_strangers
-- Other logins of the cluster that may take the role: each can read this database when it may connect to it.
SELECT count(*) FROM pg_auth_members AS m JOIN pg_roles AS r ON r.oid = m.roleid JOIN pg_roles AS g ON g.oid = m.member
WHERE r.rolname = 'overseer_service' AND g.rolname <> session_user AND g.rolcanlogin AND NOT g.rolsuper;

-- name: service_role_grants
-- Every table is named: a new one is out of reach until it is written down here. Applied anew by each migration run.
-- Whoever may connect can take our advisory locks and send our notices, whatever else they may not: PUBLIC may not. Whom the
-- operator grants it to may; where the database is not ours to say so, it stays as it is.
DO $$
BEGIN
    IF (SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database()) THEN
        EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', current_database());
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO overseer_service', current_database());
    END IF;
END $$;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO overseer_service;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM overseer_service;

GRANT SELECT, INSERT, UPDATE, DELETE ON
    principal, principal_group, group_member, role, app, environment, node, node_key, enrolment_token, node_assertion, binding,
    token, scope, secret, bundle, deployment, deployment_group, deployment_secret, plan, rollout, rollout_node,
    idempotency_key, keyring_key, secret_batch
TO overseer_service;

GRANT SELECT, INSERT, UPDATE, DELETE ON
    user_password, user_totp, recovery_code, invitation, sign_in_try, external_identity, spent_credential
TO overseer_service;

GRANT SELECT, INSERT, UPDATE, DELETE ON approval_policy, approval, approval_decision TO overseer_service;
GRANT SELECT, INSERT, DELETE ON account_hand TO overseer_service;
GRANT SELECT, INSERT, UPDATE ON backup_run TO overseer_service;
GRANT SELECT, INSERT ON backup_resumption TO overseer_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON backend, secret_source TO overseer_service;

GRANT SELECT, INSERT, UPDATE, DELETE ON secret_rotation, secret_rotation_run TO overseer_service;

GRANT SELECT, INSERT, UPDATE ON secret_import TO overseer_service;
GRANT SELECT, INSERT, UPDATE (erase_at) ON secret_import_item TO overseer_service;

-- A version is immutable but for its wrap and its grace period.
GRANT SELECT, INSERT, DELETE, UPDATE (kek_term, wrapped_dek, readable_until) ON secret_version TO overseer_service;
GRANT SELECT, INSERT, UPDATE ON instance, key_rotation TO overseer_service;
GRANT SELECT ON current_deployment, schema_migration, audit_incarnation TO overseer_service;
GRANT SELECT, INSERT ON audit_checkpoint, audit_log_key, audit_tile, audit_retention TO overseer_service;
GRANT SELECT, INSERT, UPDATE ON audit_self_check, audit_reader, audit_seen TO overseer_service;

-- incarnation, xact, id and at are the database's alone: no row can be forged into the past.
GRANT SELECT ON audit TO overseer_service;
GRANT INSERT (request_id, actor_id, actor_name, actor_kind, on_behalf_of, token_id, action, outcome, code, resource_kind,
              resource_id, resource_name, app, environment, node, version, peer, client, repeats, text_id, text_commitment)
    ON audit TO overseer_service;
GRANT SELECT, INSERT, DELETE ON audit_text TO overseer_service;
-- The one way that rows leave: the oldest, with a statement, none of the last 30 days.
GRANT EXECUTE ON FUNCTION audit_forget (bigint) TO overseer_service;

-- name: service_role_excess
-- What the role can do to the log beyond appending, by whatever way it got there.
SELECT concat_ws(', ',
    CASE WHEN has_table_privilege('overseer_service', 'audit', 'UPDATE') THEN 'UPDATE' END,
    CASE WHEN has_table_privilege('overseer_service', 'audit', 'DELETE') THEN 'DELETE' END,
    CASE WHEN has_table_privilege('overseer_service', 'audit', 'TRUNCATE') THEN 'TRUNCATE' END,
    CASE WHEN has_column_privilege('overseer_service', 'audit', 'xact', 'INSERT') THEN 'INSERT (xact)' END,
    CASE WHEN has_column_privilege('overseer_service', 'audit_incarnation', 'first_xact', 'INSERT') THEN 'INSERT into audit_incarnation' END,
    CASE WHEN has_schema_privilege('overseer_service', 'public', 'CREATE') THEN 'CREATE' END);
