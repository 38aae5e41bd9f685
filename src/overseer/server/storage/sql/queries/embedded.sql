-- What the embedded server holds before its first start. One statement a line: PostgreSQL's single-user mode reads them so.

-- name: embedded_database
CREATE ROLE overseer LOGIN;
CREATE ROLE overseer_service NOLOGIN;
GRANT overseer_service TO overseer;
GRANT pg_read_all_stats TO overseer_service;
CREATE DATABASE overseer OWNER overseer;
