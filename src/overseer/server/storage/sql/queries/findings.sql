-- What `overseer doctor` asks of the database beyond what a server asks at its start.

-- name: database_facts
SELECT current_setting('server_version') AS version_text,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('idle_in_transaction_session_timeout') AS idle_transaction_limit,
       current_setting('idle_session_timeout') AS idle_session_limit,
       (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()) AS prepared,
       current_setting('max_prepared_transactions')::integer AS max_prepared,
       current_setting('fsync')::boolean AND current_setting('full_page_writes')::boolean AS durable,
       current_setting('data_checksums')::boolean AS checksums,
       current_user::text AS role,
       (SELECT rolsuper FROM pg_roles WHERE rolname = session_user) AS superuser,
       COALESCE((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS tls,
       inet_server_addr() IS NULL OR host(inet_server_addr()) IN ('127.0.0.1', '::1') AS here,
       clock_timestamp() AS now;
